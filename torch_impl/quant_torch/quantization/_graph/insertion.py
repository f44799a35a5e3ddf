"""Puts the fake-quantize modules into the graph."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx

from quant_torch.quantization._graph.configs import warn
from quant_torch.quantization._graph.folding import STATE_OF
from quant_torch.quantization._graph.functionalize import MUTATED
from quant_torch.quantization._graph.ops import is_state
from quant_torch.quantization._graph.requests import Request, Requests
from quant_torch.quantization._graph.sharing import Group, Site
from quant_torch.quantization._graph.train_mode import add_module
from quant_torch.quantization.spec.factory import QuantizationComponentFactory
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase


def insert_activations(module: fx.GraphModule, groups: Sequence[Group]) -> None:
    """Insert the quantizers of activations: one module per group, one call per tensor."""
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    for group in groups:
        first = group.sites[0].tensor
        quantizer = QuantizationComponentFactory.create_fake_quantizer(
            group.spec, "activation", str(first.target) if first.op == "placeholder" else first.name
        )
        quantizer.qat_schedule = group.schedule
        target = add_module(module, f"fake_quantize_{first.name}", quantizer)
        calls: dict[fx.Node, fx.Node] = {}
        for site in group.sites:
            if site.tensor in calls and not site.tensor.meta.get(MUTATED):
                _redirect(site, calls[site.tensor])
            else:
                calls[site.tensor] = _insert(module.graph, site, target, inputs)


def _insert(graph: fx.Graph, site: Site, target: str, inputs: list[fx.Node]) -> fx.Node:
    tensor = site.tensor
    if tensor.meta.get(MUTATED) and site.readers:
        # Something writes to it later: what counts is the value that the reader sees.
        point = graph.inserting_before(site.readers[0])
    else:
        point = graph.inserting_after(inputs[-1] if tensor.op == "placeholder" else tensor)
    with point:
        call = _call(graph, target, tensor, tensor.name)
    if tensor.op == "placeholder":
        inputs.append(call)  # the next one comes behind it
    _redirect(site, call)
    return call


def _call(graph: fx.Graph, target: str, tensor: fx.Node, name: str) -> fx.Node:
    call = graph.create_node("call_module", target, (tensor,), name=f"fake_quantize_{name}")
    call.meta["val"] = tensor.meta["val"]
    return call


def _redirect(site: Site, call: fx.Node) -> None:
    if site.readers is None:
        site.tensor.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)
    else:
        for reader in site.readers:
            reader.replace_input_with(site.tensor, call)


def insert_states(module: fx.GraphModule, requests: Requests) -> None:
    """Insert the quantizers of weights and other states; readers of one share it (PLACE-5)."""
    wishes: dict[fx.Node, list[tuple[fx.Node, Request]]] = {}
    for (state, reader), request in requests.states.items():
        stands_in = _stands_in(state, reader)
        if stands_in is None:
            warn(
                f"{state.target} is left unquantized: batch norm is folded into it, and it is "
                "not used while batch statistics are"
            )
            continue
        wishes.setdefault(stands_in, []).append((reader, request))
    for state, asked in wishes.items():
        _insert_state(module, state, asked)


def _stands_in(state: fx.Node, reader: fx.Node) -> fx.Node | None:
    """What a reader has in place of a state since batch norm was folded."""
    sources = reader.all_input_nodes
    if state in sources:
        return state
    return next((s for s in sources if s.meta.get(STATE_OF) is state), None)


def _insert_state(
    module: fx.GraphModule, state: fx.Node, asked: list[tuple[fx.Node, Request]]
) -> None:
    reader, winner = max(asked, key=lambda wish: wish[1].precedence)
    loser = next((r for _, r in asked if r.spec != winner.spec), None)
    name = _name_of(state)
    if loser is not None:
        warn(
            f"{winner.who} and {loser.who} ask for different quantization of {name}; "
            f"the spec of {winner.who} is used"
        )
    quantizer = QuantizationComponentFactory.create_fake_quantizer(winner.spec, "weight", name)
    quantizer.qat_schedule = next((r.schedule for _, r in asked if r.schedule is not None), None)
    label = name.replace(".", "_")
    target = add_module(module, f"fake_quantize_{label}", quantizer)
    with module.graph.inserting_after(state):
        call = _call(module.graph, target, state, label)
    for reader, _ in asked:
        reader.replace_input_with(state, call)


def _name_of(state: fx.Node) -> str:
    origin = state.meta.get(STATE_OF, state)
    return str(origin.target) if is_state(origin) else origin.name


def quantizers_of(module: fx.GraphModule) -> list[tuple[fx.Node, FakeQuantizeImplBase]]:
    """Every call of a fake-quantize module in a prepared graph, in graph order."""
    found = []
    for node in module.graph.nodes:
        if node.op == "call_module":
            child = module.get_submodule(node.target)
            if isinstance(child, FakeQuantizeImplBase):
                found.append((node, child))
    return found


def remove_disabled(module: fx.GraphModule) -> None:
    """Take out the quantizers whose blocks did not fit their tensor (GRAN-6)."""
    disabled = [(node, q) for node, q in quantizers_of(module) if q.disabled]
    for node, _ in disabled:
        node.replace_all_uses_with(node.args[0])
        module.graph.erase_node(node)
    for target in {str(node.target) for node, _ in disabled}:
        delattr(module, target)
    if disabled:
        module.recompile()
