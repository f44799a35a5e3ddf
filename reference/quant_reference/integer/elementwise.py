"""Sums, products and moves of integer tensors (INT-10, INT-12)."""

from __future__ import annotations

import numpy as np

from quant_reference.errors import InputError
from quant_reference.integer.codes import INT32_MAX, INT32_MIN, Array, Int64
from quant_reference.integer.fixed_point import fixed_point
from quant_reference.integer.requantize import Requantization, requantize, scaled
from quant_reference.integer.rounding import FLOAT_ROUNDINGS
from quant_reference.integer.rules import Rule
from quant_reference.integer.tensors import IntegerLayer, IntegerTensor

ONE = np.ones((), np.float32)


def requantization(
    layer: IntegerLayer, input_scale: Array, weight_scale: Array, axis: int = -1
) -> Requantization:
    """What the result of a layer becomes, for accumulators of these scales (INT-9)."""
    return Requantization(
        input_scale,
        weight_scale,
        layer.output_scale,
        layer.output_zero_point,
        layer.output_dtype,
        layer.quant_min,
        layer.quant_max,
        axis,
    )


def added(layer: IntegerLayer, rule: Rule) -> Array:
    """Sum or difference of two tensors under a rule (INT-10)."""
    first, second = layer.operands
    a, b = np.broadcast_arrays(first.differences, second.differences)
    params = requantization(layer, first.scale, second.scale)
    params.check()
    if rule.kind in ("division", "float"):
        real = _real_sum(a, b, first, second, layer, rule)
        return _coded_real(real, params, rule)
    return coded(_fixed_sum(a, b, first, second, layer, rule), params)


def _real_sum(
    a: Int64, b: Int64, first: IntegerTensor, second: IntegerTensor, layer: IntegerLayer, rule: Rule
) -> Array:
    """The sum in units of the output, each operation rounded to the rule's dtype."""
    dtype = np.dtype(rule.dtype).type
    left, right = dtype(first.scale.reshape(())), dtype(second.scale.reshape(()))
    out = dtype(np.float32(layer.output_scale).reshape(()))
    if layer.op == "sub":  # exact: a sum with a negated number is the difference
        b = -b
    if rule.kind == "division":
        return np.asarray((a.astype(dtype) * left + b.astype(dtype) * right) / out)
    return np.asarray(a.astype(dtype) * (left / out) + b.astype(dtype) * (right / out))


def _fixed_sum(
    a: Int64, b: Int64, first: IntegerTensor, second: IntegerTensor, layer: IntegerLayer, rule: Rule
) -> Int64:
    left = 15 if "int16" in (first.dtype, second.dtype) else 20
    scales = [float(one.scale.reshape(())) for one in (first, second)]
    twice = 2 * max(scales)
    parts = []
    for values, scale in zip((a, b), scales, strict=True):
        part = fixed_point(np.array(scale / twice), rule.form)
        parts.append(scaled(values << left, part.multiplier, part.shift, rule))
    total = parts[0] - parts[1] if layer.op == "sub" else parts[0] + parts[1]
    out = float(np.float32(layer.output_scale).reshape(()))
    whole = fixed_point(np.array(twice / (2**left * out)), rule.form)
    return scaled(total, whole.multiplier, whole.shift, rule)


def _coded_real(real: Array, params: Requantization, rule: Rule) -> Array:
    zero = real.dtype.type(params.zero_point)
    rounded = FLOAT_ROUNDINGS[rule.rounding]
    if rule.zero_point_first:
        codes = rounded(np.clip(real + zero, params.least, params.greatest))
    else:
        low, high = params.least - params.zero_point, params.greatest - params.zero_point
        codes = rounded(np.clip(real, low, high)) + zero
    return codes.astype(params.format.dtype)


def coded(rounded: Int64, params: Requantization) -> Array:
    """Whole numbers with the zero point added, clamped to the bounds (INT-8)."""
    codes = np.clip(rounded + params.zero_point, params.least, params.greatest)
    return codes.astype(params.format.dtype)


def multiplied(layer: IntegerLayer, rule: Rule) -> Array:
    """Product of two tensors under a rule (INT-10)."""
    first, second = layer.operands
    product = in_int32(first.differences * second.differences, "INT-10")
    return requantize(product, requantization(layer, first.scale, second.scale), rule)


def in_int32(values: Int64, clause: str) -> Array:
    """Whole numbers as int32 accumulators.

    Raises:
        InputError: One that int32 does not hold.
    """
    if values.size and (values.min() < INT32_MIN or values.max() > INT32_MAX):
        beyond = values.max() if values.max() > INT32_MAX else values.min()
        raise InputError("accumulator", given=beyond, allowed="int32", clause=clause)
    return values.astype(np.int32)


def moved(tensor: IntegerTensor, layer: IntegerLayer, rule: Rule) -> Array:
    """A tensor in the scale and zero point of the result (INT-12)."""
    values = tensor.differences.astype(np.int32)
    return requantize(values, requantization(layer, tensor.scale, ONE), rule)


def joined(layer: IntegerLayer, rule: Rule) -> Array:
    """Tensors in the scale of the result, one behind the other (INT-12)."""
    axis = layer.attributes.get("dim", 0)
    parts = [moved(one, layer, rule) for one in layer.operands]
    rank = parts[0].ndim
    if isinstance(axis, bool) or not isinstance(axis, int) or not -rank <= axis < rank:
        raise InputError("dim", given=axis, allowed=f"{-rank} to {rank - 1}", clause="INT-12")
    return np.concatenate(parts, axis=axis)
