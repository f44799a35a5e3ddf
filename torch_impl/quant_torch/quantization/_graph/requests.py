"""Which tensors of a graph are to be quantized, and by whose wish (PLACE-1 to PLACE-5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import fx

from quant_torch._stand_in import standing_in
from quant_torch.quantization._graph.boundaries import ENTERS, LEAVES, Crossing
from quant_torch.quantization._graph.configs import GraphConfig, warn
from quant_torch.quantization._graph.matching import Region
from quant_torch.quantization._graph.ops import (
    argument_name,
    is_float,
    is_state,
    op_type,
    shape_of,
)
from quant_torch.quantization._graph.states import (
    completed,
    computed_states,
    computing,
    is_parameter,
    recurrent_layers,
)
from quant_torch.quantization._graph.whole_numbers import Masks, WholeNumbers
from quant_torch.quantization._module_configs import Rank
from quant_torch.quantization._spec_keys import SpecKeys
from quant_torch.quantization._states import is_addend, role_of
from quant_torch.quantization._whole_numbers import leaves_alone
from quant_torch.quantization.config import (
    ModuleQuantizerConfig,
    OpQuantizerConfig,
    QATSchedule,
)
from quant_torch.quantization.config._fields import names, spec_for
from quant_torch.quantization.spec.spec import QuantizationSpec

Edge = tuple[fx.Node, fx.Node]
"""(tensor, operation that reads it)."""


@dataclass(frozen=True)
class Request:
    """A wish for one tensor.

    Attributes:
        spec: How it is to be quantized.
        rank: How specific the config that says so is.
        role: Whether the operation that asks reads or makes the tensor.
        place: Place of that operation in the graph.
        who: Its name, or that of the module.
        schedule: Its QAT schedule.
    """

    spec: QuantizationSpec
    rank: Rank
    role: Literal["consumer", "producer"]
    place: int
    who: str
    schedule: QATSchedule | None = None

    @property
    def precedence(self) -> tuple[Rank, bool, int]:
        """The greatest one decides: more specific, then a reader, then the first (PLACE-9)."""
        return (self.rank, self.role == "consumer", -self.place)


@dataclass
class Requests:
    """Every wish in a graph.

    Attributes:
        outputs: By the node whose value is to be quantized for all its readers.
        edges: By (tensor, reader).
        states: By (parameter or derived weight, reader).
        keys: What the keys of the spec dicts could name.
    """

    outputs: dict[fx.Node, Request] = field(default_factory=dict)
    edges: dict[Edge, Request] = field(default_factory=dict)
    states: dict[Edge, Request] = field(default_factory=dict)
    keys: SpecKeys = field(default_factory=SpecKeys)


def boundary_outputs(graph: fx.Graph, config: GraphConfig) -> frozenset[fx.Node]:
    """Tensors whose quantization as a module's output a config asks for."""
    found = set()
    for node in graph.nodes:
        for crossing in node.meta.get(LEAVES, ()):
            boundary = config.of_module(crossing.module).boundary
            if boundary is not None and spec_for(boundary.module_output_spec, crossing.index):
                found.add(node)
    return frozenset(found)


def collect_requests(graph: fx.Graph, regions: list[Region], config: GraphConfig) -> Requests:
    """Ask the config about every region, state and module boundary of a graph."""
    place = {node: number for number, node in enumerate(graph.nodes)}
    requests = Requests()
    whole = WholeNumbers(graph)
    masks = Masks(graph, whole)
    for region in regions:
        choice = config.of_operation(region.anchor)
        if choice.config is not None:
            _offer_keys(region.anchor, choice.config, config, requests.keys)
            alone = leaves_alone(choice.module, region.anchor.name)
            if alone and (whole.only(region) or masks.joined(region)):
                continue
            _ask_region(
                region, choice.config, choice.rank, choice.schedule, place, config, requests
            )
            if alone and whole.becomes(region.output):
                requests.outputs.pop(region.output, None)
    for node in recurrent_layers(graph):
        choice = config.of_operation(node)
        if choice.config is not None:
            _offer_keys(node, choice.config, config, requests.keys)
            _ask_states(node, choice.config, choice.rank, choice.schedule, place, config, requests)
    for node in graph.nodes:
        _ask_boundaries(node, config, place[node], requests)
        if is_state(node):
            _ask_module_states(node, config, place, requests)
    _leave_computing(requests)
    for name in config.whole_modules():
        whole = config.of_module(name).boundary
        if whole is not None:
            requests.keys.offer(
                "module_state_spec", whole.module_state_spec, *config.states_of(name)
            )
    requests.keys.warn_about_unknown(warn)
    return requests


def _leave_computing(requests: Requests) -> None:
    """Let what only computes a weight from states ask for nothing: the weight is stored (PLACE-5).

    A state that others read, too, keeps its quantizer.
    """
    weights = {state for state, _ in requests.states if not is_state(state)}
    inside = computing(weights)
    kept = {state for state, reader in requests.states if reader not in inside}
    for state, reader in list(requests.states):
        if reader in inside and state not in kept:
            del requests.states[state, reader]
    for tensor, reader in list(requests.edges):
        if reader in inside:
            del requests.edges[tensor, reader]
    for node in [n for n in requests.outputs if n in inside or n in weights]:
        taken = {reader for state, reader in requests.states if state is node}
        if all(user in inside or user in taken for user in node.users):
            del requests.outputs[node]


def _offer_keys(
    anchor: fx.Node, config: OpQuantizerConfig, names_of: GraphConfig, keys: SpecKeys
) -> None:
    """Note the tensors that the config of an operation can name."""
    for index, source in enumerate(anchor.all_input_nodes):
        argument = argument_name(anchor, source)
        keys.offer("op_input_spec", config.op_input_spec, index, argument, f"input_{index}")
        keys.offer("op_state_spec", config.op_state_spec)
        if is_state(source):
            names = [name for _, name in names_of.names_of_state(source.target)]
            keys.offer("op_state_spec", config.op_state_spec, *names)
    keys.offer("op_output_spec", config.op_output_spec, 0, "output_0")


def _ask_region(
    region: Region,
    config: OpQuantizerConfig,
    rank: Rank,
    schedule: QATSchedule | None,
    place: dict[fx.Node, int],
    names_of: GraphConfig,
    requests: Requests,
) -> None:
    anchor, output = region.anchor, region.output
    states = _ask_states(anchor, config, rank, schedule, place, names_of, requests)
    for index, source in enumerate(anchor.all_input_nodes):
        if not is_float(source) or source in states:
            continue
        argument = argument_name(anchor, source)
        keys = (index, argument, f"input_{index}")
        if is_addend(op_type(anchor), argument) and not (set(keys) & set(config.op_input_spec)):
            continue  # added to the sums before they are rounded, as a bias is
        spec = spec_for(config.op_input_spec, *keys)
        if spec is not None:
            requests.edges[source, anchor] = Request(
                spec, rank, "consumer", place[anchor], anchor.name, schedule
            )
    spec = spec_for(config.op_output_spec, 0, "output_0")
    if spec is not None:
        requests.outputs[output] = Request(
            spec, rank, "producer", place[output], output.name, schedule
        )


def _ask_states(
    anchor: fx.Node,
    config: OpQuantizerConfig,
    rank: Rank,
    schedule: QATSchedule | None,
    place: dict[fx.Node, int],
    names_of: GraphConfig,
    requests: Requests,
) -> set[fx.Node]:
    """Ask for what an operation reads of states, and return it."""
    computed = computed_states(anchor)
    states = set()
    for index, source in enumerate(anchor.all_input_nodes):
        if not is_float(source) or not (is_state(source) or source in computed):
            continue
        states.add(source)
        argument = argument_name(anchor, source)
        held = names_of.names_of_state(source.target) if is_state(source) else []
        role = role_of(op_type(anchor), argument, len(shape_of(source)))
        name, *others = [attribute for _, attribute in held] or [role or argument]
        if role is not None and is_parameter(source) and not standing_in():
            others.append(role)
        spec = completed(spec_for(config.op_state_spec, name, *others), anchor, source)
        if spec is not None:
            requests.states[source, anchor] = Request(
                spec, rank, "consumer", place[anchor], anchor.name, schedule
            )
        if rank[2:] > (0, 0) and index in config.op_input_spec:
            warn(
                f"op_input_spec[{index}] of {anchor.name} has no effect: that input is the "
                f"state {name!r}, which op_state_spec configures"
            )
    return states


def _ask_boundaries(node: fx.Node, config: GraphConfig, place: int, requests: Requests) -> None:
    """Let module boundaries replace what operations ask for, None included (PLACE-10)."""
    entering: dict[fx.Node, list[tuple[Crossing, ModuleQuantizerConfig]]] = {}
    for crossing in node.meta.get(ENTERS, ()):
        boundary, keys = config.of_module(crossing.module).boundary, _keys(crossing)
        if boundary is None:
            continue
        requests.keys.offer("module_input_spec", boundary.module_input_spec, *keys)
        if names(boundary.module_input_spec, *keys):
            entering.setdefault(crossing.source, []).append((crossing, boundary))
    for source, asked in entering.items():
        crossing, boundary = _highest(asked, config)
        spec = spec_for(boundary.module_input_spec, *_keys(crossing))
        requests.edges.pop((source, node), None)
        if spec is not None and is_float(source) and not is_state(source):
            requests.edges[source, node] = Request(
                spec, config.boundary_rank(crossing.module), "consumer", place,
                f"input of {crossing.module}", boundary.qat_schedule,
            )  # fmt: skip
    leaving = []
    for crossing in node.meta.get(LEAVES, ()):
        boundary = config.of_module(crossing.module).boundary
        if boundary is None:
            continue
        requests.keys.offer("module_output_spec", boundary.module_output_spec, crossing.index)
        if names(boundary.module_output_spec, crossing.index):
            leaving.append((crossing, boundary))
    if leaving:
        crossing, boundary = _highest(leaving, config)
        spec = spec_for(boundary.module_output_spec, crossing.index)
        requests.outputs.pop(node, None)
        if spec is not None and is_float(node):
            requests.outputs[node] = Request(
                spec, config.boundary_rank(crossing.module), "producer", place,
                f"output of {crossing.module}", boundary.qat_schedule,
            )  # fmt: skip


def _keys(crossing: Crossing) -> tuple[int, str]:
    return (crossing.index, crossing.name)


def _highest(
    asked: list[tuple[Crossing, ModuleQuantizerConfig]], config: GraphConfig
) -> tuple[Crossing, ModuleQuantizerConfig]:
    """Of nested modules the one whose entry ranks higher; of equal ones the inner, listed first."""
    return max(asked, key=lambda one: config.boundary_rank(one[0].module))


def _ask_module_states(
    node: fx.Node, config: GraphConfig, place: dict[fx.Node, int], requests: Requests
) -> None:
    """Let the module_state_spec of any module that holds a state decide about it (PLACE-10)."""
    if not is_float(node):
        return
    asked = []
    for owner, name in config.names_of_state(node.target):
        boundary = config.of_module(owner).boundary
        if boundary is not None and names(boundary.module_state_spec, name):
            asked.append((config.boundary_rank(owner), owner, name, boundary))
    if not asked:
        return
    rank, owner, name, boundary = max(asked, key=lambda one: one[0])
    spec = spec_for(boundary.module_state_spec, name)
    for user in node.users:
        requests.states.pop((node, user), None)
        whole = completed(spec, user, node)
        if whole is not None:
            requests.states[node, user] = Request(
                whole, rank, "consumer", place[user],
                f"state of {owner}", boundary.qat_schedule,
            )  # fmt: skip
