"""Which operations give values of their inputs' range: by their arguments, not by name alone.

An average pool divides by whatever it is told, and a window of a dilated max pool can miss its
input altogether (PLACE-6, PLACE-8).
"""

from __future__ import annotations

import math
from typing import Any

from torch import fx

from quant_torch._torch_internals import OpOverload
from quant_torch.quantization._graph.matching import Region
from quant_torch.quantization._graph.ops import op_type
from quant_torch.quantization._graph.patterns import POOLS, SHAPE_ONLY

_AVERAGES = frozenset({"avg_pool2d", "avg_pool3d"})
_MAXIMA = frozenset({"max_pool1d", "max_pool2d", "max_pool3d"})
_INSIDE = SHAPE_ONLY | POOLS | {"mean", "flatten", "cat"}


def stays_inside(node: fx.Node) -> bool:
    """Whether all that an operation gives lies within the range of its inputs, zero included."""
    kind = op_type(node)
    if kind in _AVERAGES:
        return divisor_ratio(node) == 1
    return kind in _INSIDE and not (kind in _MAXIMA and _can_miss(node))


def shares(region: Region) -> bool:
    """Whether the inputs and the output of a region share; a user's own pattern is believed."""
    if region.pattern.kind != "value_preserving":
        return False
    return (
        len(region.nodes) > 1 or op_type(region.anchor) not in POOLS or stays_inside(region.anchor)
    )


def divisor_ratio(node: fx.Node) -> float:
    """The divisor of an average pool over the size of its window; 1 unless it is overridden."""
    arguments = _arguments(node)
    divisor = arguments.get("divisor_override")
    if divisor is None:
        return 1.0
    axes = int(op_type(node)[-2])
    window = _listed(arguments["kernel_size"])
    return float(divisor) / math.prod(window * axes if len(window) == 1 else window)


def is_average(node: fx.Node) -> bool:
    """Whether an operation is an average pool that can be told its divisor."""
    return op_type(node) in _AVERAGES


def _can_miss(node: fx.Node) -> bool:
    """Whether all places of a max pool's window can lie in the padding, which is -inf."""
    arguments = _arguments(node)
    dilated, padded = _listed(arguments["dilation"]), _listed(arguments["padding"])
    return any(d != 1 for d in dilated) and any(p != 0 for p in padded)


def _listed(extents: Any) -> list[Any]:
    return list(extents) if isinstance(extents, list | tuple) else [extents]


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments of an ATen operation by name, with the defaults of its schema."""
    if not isinstance(node.target, OpOverload):
        return dict(node.kwargs)
    schema = node.target._schema.arguments
    given = {a.name: value for a, value in zip(schema, node.args, strict=False)}
    defaults = {a.name: a.default_value for a in schema}
    return defaults | given | dict(node.kwargs)
