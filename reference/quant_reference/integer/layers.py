"""Integer layers: what each operation computes under a rule (INT-9 to INT-12)."""

from __future__ import annotations

from typing import Final

import numpy as np

from quant_reference.errors import InputError, QuantError, UnknownOperationError
from quant_reference.integer.accumulation import SUMS, accumulate, channel_axis
from quant_reference.integer.codes import Array
from quant_reference.integer.elementwise import added, joined, moved, multiplied, requantization
from quant_reference.integer.pooling import POOL_RULES, averaged, greatest
from quant_reference.integer.requantize import requantize
from quant_reference.integer.rules import Rule, get_rule
from quant_reference.integer.tensors import IntegerLayer

AVERAGES: Final = ("avg_pool1d", "avg_pool2d", "avg_pool3d", "mean")
MAXIMA: Final = ("max_pool1d", "max_pool2d", "max_pool3d")
LAYER_OPERATIONS: Final = (*SUMS, "add", "sub", "mul", *AVERAGES, *MAXIMA, "cat", "pad", "relu")
"""Every operation of an integer layer (INT-9 to INT-12)."""


def accumulators_of(layer: IntegerLayer) -> Array:
    """Accumulators of a layer that sums products (INT-1, INT-9)."""
    x, weight = layer.operands
    points = weight.zero_point
    wide = "int16" in (x.dtype, weight.dtype)
    return accumulate(
        layer.op,
        x.codes,
        weight.codes,
        layer.bias,
        x_zero_point=int(x.zero_point.reshape(())),
        weight_zero_point=int(points.reshape(())) if points.size == 1 else points,
        bits=64 if wide else 32,
        **layer.attributes,
    )


def requantized(layer: IntegerLayer, acc: Array, rule: str | Rule) -> Array:
    """Codes of the accumulators of a layer that sums products (INT-9)."""
    x, weight = layer.operands
    axis = channel_axis(layer.op, acc.ndim)
    return requantize(acc, requantization(layer, x.scale, weight.scale, axis), rule)


def integer_layer(layer: IntegerLayer, rule: str | Rule = "float32_division") -> Array:
    """Codes of a layer's result under a rule (INT-9 to INT-12).

    Args:
        layer: The operation, its operands and what its result is requantized to.
        rule: A rule of INT-5 to INT-7 or its name; for averages also one of ``POOL_RULES``.

    Returns:
        Codes in the shape of the result.

    Raises:
        UnknownOperationError: No such operation.
        InputError: Operands or attributes that do not fit, or that the rule does not take.
        SpecError: An unknown rule.
    """
    if layer.op not in LAYER_OPERATIONS:
        raise UnknownOperationError(
            "operation of an integer layer",
            given=layer.op,
            allowed=", ".join(LAYER_OPERATIONS),
            clause="INT-9",
        )
    wanted = 2 if layer.op in (*SUMS, "add", "sub", "mul") else 1
    if len(layer.operands) != wanted and not (layer.op == "cat" and layer.operands):
        raise InputError(
            f"operands of {layer.op}", given=len(layer.operands), allowed=str(wanted),
            clause="INT-9",
        )  # fmt: skip
    try:
        if layer.op in AVERAGES:
            return averaged(layer, rule if rule in POOL_RULES else get_rule(rule))
        return _under(layer, get_rule(rule))
    except QuantError:
        raise
    except (TypeError, ValueError, IndexError) as error:  # numpy's words for what does not fit
        raise InputError(
            f"{layer.op} refuses its operands or attributes: {error}",
            given=dict(layer.attributes),
            allowed="what the operation takes",
            clause="INT-9",
        ) from error


def _under(layer: IntegerLayer, rule: Rule) -> Array:
    if layer.op in SUMS:
        return requantized(layer, accumulators_of(layer), rule)
    if layer.op in ("add", "sub"):
        return added(layer, rule)
    if layer.op == "mul":
        return multiplied(layer, rule)
    if layer.op in MAXIMA:
        return greatest(layer, rule)
    if layer.op == "cat":
        return joined(layer, rule)
    return _moved(layer, rule)


def _moved(layer: IntegerLayer, rule: Rule) -> Array:
    """Pad and relu: codes that are padded with the zero point, or not below it (INT-12)."""
    (x,) = layer.operands
    zero = x.zero_point.reshape(()).astype(x.codes.dtype)
    if layer.op == "relu":
        codes = np.maximum(x.codes, zero)
    else:
        pads = list(layer.attributes["pad"])
        width = [(0, 0)] * (x.codes.ndim - len(pads) // 2)
        width += [(pads[i], pads[i + 1]) for i in range(len(pads) - 2, -1, -2)]
        codes = np.pad(x.codes, width, constant_values=zero)
    return moved(type(x)(codes, x.scale, x.zero_point, x.dtype), layer, rule)
