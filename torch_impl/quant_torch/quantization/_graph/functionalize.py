"""In-place operations of a captured graph, turned into operations with a result.

A quantizer between an operation and its readers changes what the readers see. With ``x.add_(1)``
the readers of ``x`` are not connected to the addition, so the operation becomes ``add`` and the
later readers read its result. Where a view of the tensor is read afterwards that cannot be done
locally: the operation stays, and its tensors are quantized only where they are read.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from quant_torch._torch_internals import OpOverload
from quant_torch.quantization._graph.boundaries import ENTERS, Crossing
from quant_torch.quantization._graph.ops import op_type, op_types

MUTATED = "quant_mutated"
"""Key in ``node.meta`` of a tensor that an operation writes to later."""


def functionalize(graph: fx.Graph) -> None:
    """Rewrite the in-place operations of a graph where their effect can be followed."""
    order = {node: place for place, node in enumerate(graph.nodes)}
    bases: dict[fx.Node, fx.Node] = {}
    families: dict[fx.Node, list[fx.Node]] = {}
    for node in list(graph.nodes):
        viewed = _viewed(node)
        bases[node] = node if viewed is None else bases[viewed]
        families.setdefault(bases[node], []).append(node)
        if _writes_to_first(node):
            _rewrite(graph, node, bases, families, order)


def _rewrite(
    graph: fx.Graph,
    node: fx.Node,
    bases: dict[fx.Node, fx.Node],
    families: dict[fx.Node, list[fx.Node]],
    order: dict[fx.Node, int],
) -> None:
    written = node.args[0]
    if not isinstance(written, fx.Node):
        return
    base = bases[written]
    functional = _functional(node)
    others = [n for n in families[base] if n is not written and n is not node]
    seen_elsewhere = any(order[user] > order[node] for other in others for user in other.users)
    if functional is None or base.op == "get_attr" or seen_elsewhere:
        for member in (*families[base], node):
            member.meta[MUTATED] = True
        return
    op_types(node)  # keeps its name while the target changes
    node.target = functional
    # The result is a tensor of its own from here on.
    bases[node] = node
    families[node] = [node]
    for user in list(written.users):
        if order[user] > order[node]:
            user.replace_input_with(written, node)
            user.meta[ENTERS] = [
                Crossing(c.module, c.index, c.name, node) if c.source is written else c
                for c in user.meta.get(ENTERS, ())
            ]
    if base.op == "placeholder":
        # The caller's tensor is written to, as before.
        output = next(iter(reversed(graph.nodes)))
        with graph.inserting_before(output):
            copied = graph.call_function(torch.ops.aten.copy_.default, (written, node))
        copied.meta["val"] = written.meta.get("val")
        copied.meta[MUTATED] = True
        order[copied] = order[output]


def _functional(node: fx.Node) -> Any:
    """The overload with a result that corresponds to an in-place one, or None."""
    packet = getattr(torch.ops.aten, op_type(node), None)
    return getattr(packet, node.target._overloadname, None)


def _writes_to_first(node: fx.Node) -> bool:
    if not isinstance(node.target, OpOverload) or not node.args:
        return False
    arguments = node.target._schema.arguments
    info = arguments[0].alias_info if arguments else None
    return info is not None and info.is_write


def _viewed(node: fx.Node) -> fx.Node | None:
    """The tensor whose memory a node's value may share."""
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        if node.op == "call_function" and node.args and isinstance(node.args[0], fx.Node):
            return node.args[0]  # an element of a tuple of views
        return None
    schema = node.target._schema
    shares = any(returned.alias_info is not None for returned in schema.returns)
    # In evaluation mode a dropout returns its input, which its schema does not say.
    if not shares and op_type(node) not in ("dropout", "feature_dropout"):
        return None
    first = node.args[0] if node.args else None
    return first if isinstance(first, fx.Node) else None
