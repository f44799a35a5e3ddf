"""The parameters, buffers and constants of a graph: who reads them, and as what (PLACE-5)."""

from __future__ import annotations

from torch import fx, nn

from quant_torch.quantization._graph.configs import warn
from quant_torch.quantization._graph.functionalize import MUTATED
from quant_torch.quantization._graph.ops import (
    argument_name,
    is_float,
    is_random,
    is_state,
    op_type,
    shape_of,
)
from quant_torch.quantization._states import (
    LAYERS,
    RECURRENT,
    is_factor,
    no_axis,
    role_of,
    with_axis,
)
from quant_torch.quantization.spec.spec import QuantizationSpec


def is_parameter(node: fx.Node) -> bool:
    """Whether a node is a parameter of the captured model."""
    module = node.graph.owning_module
    if not is_state(node) or module is None:
        return False
    owner, _, name = str(node.target).rpartition(".")
    return isinstance(getattr(module.get_submodule(owner), name, None), nn.Parameter)


def computed_states(anchor: fx.Node) -> set[fx.Node]:
    """The weight and bias of a layer or product that are computed from states alone (PLACE-5).

    As weight_norm does, or as pieces of a larger parameter. Only what a parameter is in is a
    factor with a role, not tables of constants.
    """
    kind = op_type(anchor)
    return {
        source
        for source in anchor.all_input_nodes
        if not is_state(source)
        and is_float(source)
        and role_of(kind, argument_name(anchor, source), len(shape_of(source))) is not None
        and _comes_from_states(source)
        and (kind in LAYERS or any(is_parameter(s) for s in _states_behind(source)))
    }


def recurrent_layers(graph: fx.Graph) -> list[fx.Node]:
    """Operations that run a recurrent layer or a step of one; their weights are states (PLACE-13).

    They give several tensors and round inside, so nothing else of them is quantized.
    """
    return [node for node in graph.nodes if op_type(node) in RECURRENT]


def computing(weights: set[fx.Node]) -> set[fx.Node]:
    """The operations that compute weights, the states that these begin with left out."""
    found: set[fx.Node] = set()
    waiting = list(weights)
    while waiting:
        node = waiting.pop()
        if not is_state(node) and node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def is_weighted(anchor: fx.Node) -> bool:
    """Whether a factor of a matrix product is a parameter, or computed from some (PLACE-13)."""
    kind = op_type(anchor)
    factors = {
        source
        for source in anchor.all_input_nodes
        if is_factor(kind, argument_name(anchor, source))
    }
    direct = any(is_parameter(f) for f in factors)
    return direct or not factors.isdisjoint(computed_states(anchor))


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


def _states_behind(node: fx.Node) -> set[fx.Node]:
    waiting, seen = [node], {node}
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return {one for one in seen if is_state(one)}


def completed(
    spec: QuantizationSpec | None, reader: fx.Node, state: fx.Node
) -> QuantizationSpec | None:
    """A spec with the axis that the reader gives; None, with a warning, where it gives none."""
    if spec is None:
        return None
    shape, kind = tuple(shape_of(state)), op_type(reader)
    whole = with_axis(spec, kind, argument_name(reader, state), len(shape))
    if whole is None:
        name = str(state.target) if is_state(state) else state.name
        warn(no_axis(name, shape, kind, spec))
    return whole
