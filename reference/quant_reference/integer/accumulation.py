"""Accumulators of integer layers, and their biases (INT-1, INT-2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quant_reference.admissible.bounds import Bounds
from quant_reference.admissible.contractions import linear, matmul
from quant_reference.admissible.convolutions import conv, conv_transpose
from quant_reference.errors import InputError, SpecError
from quant_reference.integer.codes import (
    CODE_FORMATS,
    INT32_MAX,
    INT32_MIN,
    Array,
    Int64,
    scales,
)
from quant_reference.integer.rounding import FLOAT_ROUNDINGS

Overflow = Literal["refuse", "wrap", "saturate"]

SUMS: Mapping[str, Callable[..., Bounds]] = MappingProxyType(
    {
        "linear": linear,
        "matmul": matmul,
        **{f"conv{n}d": conv for n in (1, 2, 3)},
        **{f"conv_transpose{n}d": conv_transpose for n in (1, 2, 3)},
    }
)
"""Operations that accumulate products of codes (INT-1)."""

EXACT = 2**53
"""Sums of integers in float64 are exact, in any order, while their magnitudes stay below it."""

BIAS_RULES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"float32_even": ("float32", "even"), "float64_away": ("float64", "away")}
)
"""Name -> dtype of the product and the quotient, and rounding (INT-2)."""


def accumulate(
    op: str,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    x_zero_point: int = 0,
    weight_zero_point: int | Array = 0,
    bits: int = 32,
    overflow: Overflow = "refuse",
    **attributes: Any,
) -> Array:
    """Accumulators Σ (x − z_x)(weight − z_w) + bias (INT-1).

    Args:
        op: A key of :data:`SUMS`: linear, matmul, a convolution or a transposed one.
        x: Codes, int8, uint8 or int16, shaped as torch's function takes them.
        weight: Codes; the second factor of a matmul.
        bias: int32 or int64, one for each output channel, or None.
        x_zero_point: Of x; padding has this code.
        weight_zero_point: Of weight: one, or one for each output channel (on the last axis of a
            matmul's second factor, on the first one otherwise).
        bits: Width of the accumulator, 32 or 64.
        overflow: What becomes of a sum that does not fit: refused, wrapped or saturated.
        **attributes: stride, padding, dilation, groups and output_padding, as torch names them.

    Returns:
        int32 or int64, in the shape of the operation's result.

    Raises:
        InputError: Operands that do not fit, or a sum beyond the accumulator.
        SpecError: An unknown operation, width or way to overflow.
    """
    _check_choices(op, bits, overflow)
    left = codes_of("x", x) - np.int64(x_zero_point)
    right = codes_of("weight", weight) - _weight_zero_point(op, weight, weight_zero_point)
    if isinstance(attributes.get("padding"), str) and op.startswith("conv_transpose"):
        raise InputError("padding", given=attributes["padding"], allowed="ints", clause="INT-1")
    depth = right.shape[-1] if op == "linear" else prod(right.shape)
    depth = left.shape[-1] if op == "matmul" else depth
    if _greatest(left) * _greatest(right) * depth >= EXACT:
        raise InputError("operands", given="too many", allowed="sums below 2^53", clause="INT-1")
    total = SUMS[op](left.astype(np.float64), right.astype(np.float64), **attributes).value
    sums = np.rint(total).astype(np.int64)
    if bias is not None:
        sums += _bias_of(op, bias, sums)
    return _fitted(sums, bits, overflow)


def quantize_bias(
    bias: NDArray[np.float32], input_scale: object, weight_scale: object, rule: str = "float64_away"
) -> NDArray[np.int32]:
    """Biases in units of s_a·s_w, int32 (INT-2).

    Args:
        bias: float32, one for each output channel.
        input_scale: float32, one value.
        weight_scale: float32, one value or one for each output channel.
        rule: A key of :data:`BIAS_RULES`.

    Raises:
        InputError: Another dtype or shape, a bias that is not finite, or scales that INT-3 refuses.
        SpecError: An unknown rule.
    """
    if rule not in BIAS_RULES:
        raise SpecError("bias rule", given=rule, allowed=", ".join(BIAS_RULES), clause="INT-2")
    dtype, rounding = BIAS_RULES[rule]
    values = np.asarray(bias)
    if values.dtype != np.float32 or values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(
            "bias",
            given=f"{values.dtype} of shape {values.shape}",
            allowed="finite float32 of rank 1",
            clause="INT-2",
        )
    a = scales(input_scale, "input scale", "INT-2")
    w = scales(weight_scale, "weight scale", "INT-2")
    if a.size != 1 or w.size not in (1, values.size):
        raise InputError(
            "scales of a bias",
            given=f"{a.size} and {w.size} for {values.size} biases",
            allowed="one, and one or one for each bias",
            clause="INT-2",
        )
    with np.errstate(over="ignore", under="ignore"):
        unit = a.astype(dtype) * w.astype(dtype)
        quotient = values.astype(dtype) / unit
        scales((unit).astype(np.float32), "scale of the bias", "INT-2")
    # 2^31 is no int32, and the greatest float32 below it is smaller than the greatest int32.
    wide = np.clip(quotient.astype(np.float64), INT32_MIN, INT32_MAX)
    return FLOAT_ROUNDINGS[rounding](wide).astype(np.int32)


def codes_of(name: str, codes: object) -> Int64:
    """Codes as int64.

    Raises:
        InputError: A dtype that no format of INT-1 is stored in.
    """
    array = np.asarray(codes)
    allowed = sorted({fmt.dtype.name for fmt in CODE_FORMATS.values()})
    if array.dtype.name not in allowed:
        raise InputError(
            f"codes of {name}", given=array.dtype, allowed=", ".join(allowed), clause="INT-1"
        )
    return array.astype(np.int64)


def _check_choices(op: str, bits: int, overflow: str) -> None:
    choices = (
        ("operation", op, tuple(SUMS)),
        ("bits of the accumulator", bits, (32, 64)),
        ("overflow of the accumulator", overflow, ("refuse", "wrap", "saturate")),
    )
    for what, given, allowed in choices:
        if given not in allowed:
            words = ", ".join(map(str, allowed))
            raise SpecError(what, given=given, allowed=words, clause="INT-1")


def _weight_zero_point(op: str, weight: Array, zero_point: int | Array) -> Int64:
    points = np.asarray(zero_point, np.int64)
    if points.ndim == 0:
        return points
    axis = weight.ndim - 1 if op == "matmul" else 0
    if points.ndim != 1 or op.startswith("conv_transpose") or len(points) != weight.shape[axis]:
        raise InputError(
            "zero points of the weight",
            given=points.shape,
            allowed="one, or one for each output channel (of a transposed convolution: one)",
            clause="INT-1",
        )
    shape = [1] * weight.ndim
    shape[axis] = len(points)
    return points.reshape(shape)


def channel_axis(op: str, rank: int) -> int:
    """Axis of an accumulator that has the output channels (INT-1)."""
    return rank - 1 if op in ("linear", "matmul") else rank - 1 - int(op[-2])


def _bias_of(op: str, bias: Array, sums: Int64) -> Int64:
    values = np.asarray(bias)
    axis = channel_axis(op, sums.ndim)
    if values.dtype not in (np.int32, np.int64) or values.shape != sums.shape[axis : axis + 1]:
        raise InputError(
            "bias",
            given=f"{values.dtype} of shape {values.shape}",
            allowed=f"int32 or int64 of shape {sums.shape[axis : axis + 1]}",
            clause="INT-1",
        )
    return values.astype(np.int64).reshape(-1, *(1,) * (sums.ndim - axis - 1))


def _greatest(values: Int64) -> int:
    return int(np.abs(values).max()) if values.size else 0


def _fitted(sums: Int64, bits: int, overflow: Overflow) -> Array:
    if bits == 64:
        return sums
    if overflow == "wrap":
        return sums.astype(np.int32)
    if overflow == "refuse" and sums.size and (sums.min() < INT32_MIN or sums.max() > INT32_MAX):
        beyond = sums.max() if sums.max() > INT32_MAX else sums.min()
        raise InputError("accumulator", given=beyond, allowed="int32", clause="INT-1")
    return np.clip(sums, INT32_MIN, INT32_MAX).astype(np.int32)
