"""Averages and maxima of integer tensors (INT-11, INT-12)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_reference.admissible.pooling import avg_pool, max_pool
from quant_reference.errors import InputError
from quant_reference.integer.codes import Array, Int64
from quant_reference.integer.elementwise import ONE, coded, in_int32, moved, requantization
from quant_reference.integer.requantize import requantize
from quant_reference.integer.rules import Rule
from quant_reference.integer.tensors import IntegerLayer, IntegerTensor

POOL_RULES = ("average_half_away", "average_reciprocal")
"""Rules of averages alone (INT-11)."""


def averaged(layer: IntegerLayer, rule: Rule | str) -> Array:
    """Average pool or mean under a rule, or one of :data:`POOL_RULES` (INT-11)."""
    (x,) = layer.operands
    codes = np.asarray(x.codes, np.int64)
    total, count = _sums(layer, codes)
    zeros, _ = _sums(layer, np.broadcast_to(np.int64(x.zero_point.reshape(())), codes.shape))
    differences = total - zeros
    params = requantization(layer, x.scale, ONE)
    params.check()
    if rule == "average_half_away":
        _same(x, layer)
        # Padding that is counted has the zero point's code, as everywhere.
        whole = differences + count * np.int64(x.zero_point.reshape(()))
        half = count // 2
        found = np.sign(whole) * ((np.abs(whole) + half) // count)
        return coded(found - params.zero_point, params)
    if rule == "average_reciprocal":
        _same(x, layer)
        multiplier, shift = _reciprocal(count)
        found = (differences * multiplier + (np.int64(1) << (shift - 1))) >> shift
        return coded(found, params)
    result = np.empty(total.shape, params.format.dtype)
    for n in np.unique(count):
        of_count = count == n
        of_n = requantization(layer, x.scale, np.asarray(np.float32(1) / np.float32(n)))
        result[of_count] = requantize(in_int32(differences[of_count], "INT-11"), of_n, rule)
    return result


def _reciprocal(count: Int64) -> tuple[Int64, Int64]:
    """TOSA's multiplier and shift for a division by so many (INT-11)."""
    bits = np.array([int(n - 1).bit_length() for n in count.ravel()], np.int64).reshape(count.shape)
    return ((np.int64(2**30 + 1) << bits) // count), 30 + bits


def _sums(layer: IntegerLayer, codes: Int64) -> tuple[Int64, Int64]:
    """Sums over windows or axes, padding being 0, and how many elements each one counts."""
    attributes = dict(layer.attributes)
    if layer.op == "mean":
        axes = attributes.get("dim", tuple(range(codes.ndim)))
        axes = (axes,) if isinstance(axes, int) else tuple(axes)
        keep = bool(attributes.get("keepdim", False))
        total = codes.sum(axis=axes, keepdims=keep)
        number = codes.size // total.size if total.size else 1
        return total, np.full(total.shape, number, np.int64)
    values = codes.astype(np.float64)
    attributes["divisor_override"] = 1
    axes_count = int(layer.op[-2])
    total = avg_pool(values, axes=axes_count, **attributes).value
    # An average of ones, in which padding counts or does not, says how many were counted.
    return np.rint(total).astype(np.int64), _counted(values, attributes, axes_count)


def _counted(values: Any, attributes: dict[str, Any], axes: int) -> Int64:
    ones = np.ones_like(values)
    inside = avg_pool(ones, axes=axes, **attributes).value
    plain = {**attributes, "divisor_override": None}
    share = avg_pool(ones, axes=axes, **plain).value
    return np.rint(inside / share).astype(np.int64)


def _same(x: IntegerTensor, layer: IntegerLayer) -> None:
    """Refuse a rescaling pool under a rule that has no multiplier (INT-11)."""
    same = (
        x.dtype == layer.output_dtype
        and np.array_equal(x.scale.reshape(()), np.float32(layer.output_scale).reshape(()))
        and int(x.zero_point.reshape(())) == layer.output_zero_point
    )
    if not same:
        raise InputError(
            "average under a rule without a multiplier",
            given="another scale, zero point or format of the result",
            allowed="those of the input",
            clause="INT-11",
        )


def greatest(layer: IntegerLayer, rule: Rule) -> Array:
    """Max pool: the greatest codes, in the scale of the result (INT-12)."""
    (x,) = layer.operands
    axes = int(layer.op[-2])
    found = max_pool(np.asarray(x.codes, np.float64), axes=axes, **layer.attributes).value
    codes = IntegerTensor(found.astype(x.codes.dtype), x.scale, x.zero_point, x.dtype)
    return moved(codes, layer, rule)
