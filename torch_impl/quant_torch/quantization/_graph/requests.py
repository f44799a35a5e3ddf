"""Which tensors of a graph are to be quantized, and by whose wish (PLACE-1 to PLACE-5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import fx

from quant_torch.quantization._eager._placement import with_default_axis
from quant_torch.quantization._eager.supported_ops_registry import BUILT_IN, weight_kinds
from quant_torch.quantization._graph.boundaries import ENTERS, LEAVES
from quant_torch.quantization._graph.configs import GraphConfig, Rank, warn
from quant_torch.quantization._graph.functionalize import MUTATED
from quant_torch.quantization._graph.matching import Region
from quant_torch.quantization._graph.ops import (
    argument_name,
    is_float,
    is_random,
    is_state,
    op_type,
    shape_of,
)
from quant_torch.quantization._graph.patterns import WEIGHTED
from quant_torch.quantization.config import OpQuantizerConfig, QATSchedule
from quant_torch.quantization.config._fields import names, spec_for
from quant_torch.quantization.spec.spec import QuantizationSpec

Edge = tuple[fx.Node, fx.Node]
"""(tensor, operation that reads it)."""

_STATE_PLACES = {**dict.fromkeys(WEIGHTED, (1, 2)), "embedding": (0,)}
"""Where a layer takes its weight and its bias."""


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
    """

    outputs: dict[fx.Node, Request] = field(default_factory=dict)
    edges: dict[Edge, Request] = field(default_factory=dict)
    states: dict[Edge, Request] = field(default_factory=dict)


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
    for region in regions:
        choice = config.of_operation(region.anchor)
        if choice.config is not None:
            _ask_region(region, choice.config, choice.rank, choice.schedule, place, requests)
    for node in graph.nodes:
        _ask_boundaries(node, config, place[node], requests)
        if is_state(node):
            _ask_module_states(node, config, place, requests)
    return requests


def _ask_region(
    region: Region,
    config: OpQuantizerConfig,
    rank: Rank,
    schedule: QATSchedule | None,
    place: dict[fx.Node, int],
    requests: Requests,
) -> None:
    anchor, output = region.anchor, region.output
    computed = computed_states(anchor)
    for index, source in enumerate(anchor.all_input_nodes):
        if not is_float(source):
            continue
        argument = argument_name(anchor, source)
        if is_state(source) or source in computed:
            name = source.target.rpartition(".")[2] if is_state(source) else argument
            spec = spec_for(config.op_state_spec, name)
            if spec is not None:
                spec = with_axis(spec, anchor, source)
                requests.states[source, anchor] = Request(
                    spec, rank, "consumer", place[anchor], anchor.name, schedule
                )
            if rank[2:] > (0, 0) and index in config.op_input_spec:
                warn(
                    f"op_input_spec[{index}] of {anchor.name} has no effect: that input is the "
                    f"state {name!r}, which op_state_spec configures"
                )
            continue
        spec = spec_for(config.op_input_spec, index, argument, f"input_{index}")
        if spec is not None:
            requests.edges[source, anchor] = Request(
                spec, rank, "consumer", place[anchor], anchor.name, schedule
            )
    spec = spec_for(config.op_output_spec, 0, "output_0")
    if spec is not None:
        requests.outputs[output] = Request(
            spec, rank, "producer", place[output], output.name, schedule
        )


def _ask_boundaries(node: fx.Node, config: GraphConfig, place: int, requests: Requests) -> None:
    """Let module boundaries replace what operations ask for, None included (PLACE-10)."""
    for crossing in node.meta.get(ENTERS, ()):
        boundary = config.of_module(crossing.module).boundary
        keys = (crossing.index, crossing.name)
        if boundary is None or not names(boundary.module_input_spec, *keys):
            continue
        edge = (crossing.source, node)
        spec = spec_for(boundary.module_input_spec, *keys)
        requests.edges.pop(edge, None)
        if spec is not None and is_float(crossing.source) and not is_state(crossing.source):
            requests.edges[edge] = Request(
                spec, config.boundary_rank(crossing.module), "consumer", place,
                f"input of {crossing.module}", boundary.qat_schedule,
            )  # fmt: skip
    for crossing in node.meta.get(LEAVES, ()):
        boundary = config.of_module(crossing.module).boundary
        if boundary is None or not names(boundary.module_output_spec, crossing.index):
            continue
        spec = spec_for(boundary.module_output_spec, crossing.index)
        requests.outputs.pop(node, None)
        if spec is not None and is_float(node):
            requests.outputs[node] = Request(
                spec, config.boundary_rank(crossing.module), "producer", place,
                f"output of {crossing.module}", boundary.qat_schedule,
            )  # fmt: skip


def _ask_module_states(
    node: fx.Node, config: GraphConfig, place: dict[fx.Node, int], requests: Requests
) -> None:
    owner, _, name = node.target.rpartition(".")
    boundary = config.of_module(owner).boundary
    if boundary is None or not names(boundary.module_state_spec, name) or not is_float(node):
        return
    spec = spec_for(boundary.module_state_spec, name)
    for user in node.users:
        requests.states.pop((node, user), None)
        if spec is not None:
            requests.states[node, user] = Request(
                with_axis(spec, user, node), config.boundary_rank(owner), "consumer", place[user],
                f"state of {owner}", boundary.qat_schedule,
            )  # fmt: skip


def computed_states(anchor: fx.Node) -> set[fx.Node]:
    """The weight and bias of a layer that are computed from states alone (PLACE-5).

    As weight_norm does, or as pieces of a larger parameter.
    """
    places = _STATE_PLACES.get(op_type(anchor), ())
    given = [anchor.args[place] for place in places if place < len(anchor.args)]
    given += [anchor.kwargs.get(name) for name in ("weight", "bias")]
    return {a for a in given if isinstance(a, fx.Node) and _comes_from_states(a)}


def _comes_from_states(node: fx.Node) -> bool:
    waiting, seen = [node], set()
    while waiting:
        current = waiting.pop()
        if current.op == "placeholder" or (not is_state(current) and not current.all_input_nodes):
            return False
        if current.meta.get(MUTATED) or is_random(current):
            return False  # another value in the next run
        if current not in seen:
            seen.add(current)
            waiting += current.all_input_nodes
    return True


def with_axis(spec: QuantizationSpec, reader: fx.Node, state: fx.Node) -> QuantizationSpec:
    """A spec whose granularity has its axis filled in from the layer that reads it (GRAN-7)."""
    if spec.granularity.needs_axis and len(shape_of(state)) == 1:
        return spec.model_copy(update={"granularity": spec.granularity.with_axis(0)})
    kind = op_type(reader)
    return with_default_axis(spec, weight_kinds(BUILT_IN.get(kind)) or [kind])
