"""Convolutions and transposed convolutions of one to three dimensions (ADM-2 to ADM-4)."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, prod

import numpy as np

from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic
from quant_reference.admissible.bounds import Bounds, Float64, Operand, bounds_of
from quant_reference.admissible.contractions import contraction
from quant_reference.admissible.windows import Extents, output_extents, padded, per_axis, taps
from quant_reference.errors import InputError


def conv(
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Extents = 1,
    padding: Extents | str = 0,
    dilation: Extents = 1,
    groups: int = 1,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Convolution (cross-correlation) with zero padding (ADM-2, ADM-3).

    Args:
        x: Shape (N, C, …) or (C, …), one to three trailing axes.
        weight: Shape (O, C/groups, …).
        bias: Shape (O,), or None.
        stride: Per trailing axis.
        padding: Per trailing axis, ``"valid"`` or ``"same"``.
        dilation: Per trailing axis.
        groups: Divides C and O.
        arithmetic: dtypes of values and sums.

    Raises:
        InputError: Shapes and attributes that do not fit.
    """
    x, weight, single = _operands(x, weight, arithmetic)
    axes = weight.value.ndim - 2
    outputs, inputs, *kernel = weight.shape
    if groups < 1 or x.shape[1] != inputs * groups or outputs % groups:
        raise InputError(
            "convolution: channels",
            given=f"{x.shape[1]} channels, weight {weight.shape}, {groups} groups",
            allowed="C = groups · weight.shape[1], and groups divides the outputs",
            clause="ADM-2",
        )
    step, spread = per_axis(stride, axes, "stride", 1), per_axis(dilation, axes, "dilation", 1)
    pads = _pads(padding, kernel, step, spread)
    out = output_extents(x.shape[2:], kernel, step, pads, spread)

    def contract(values: Float64, weights: Float64) -> Float64:
        wide = padded(values, kernel, step, pads, spread, out, 0.0)
        rows = weights.reshape(groups, outputs // groups, inputs, *kernel)
        total = np.zeros((len(values), groups, outputs // groups, prod(out)))
        for place, window in taps(kernel, step, spread, out):
            seen = wide[(slice(None), slice(None), *window)]
            seen = seen.reshape(len(values), groups, inputs, prod(out))
            of_tap = rows[(slice(None),) * 3 + place]
            # One input channel per group: a product is faster than many tiny matmuls.
            total += of_tap * seen if inputs == 1 else of_tap @ seen
        return total.reshape(len(values), outputs, *out)

    depth = inputs * prod(kernel)
    found = contraction(
        contract, x, weight, _per_channel(bias, outputs, axes, arithmetic), depth, arithmetic
    )
    return found.map(lambda a: a[0]) if single else found


def conv_transpose(
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Extents = 1,
    padding: Extents = 0,
    output_padding: Extents = 0,
    groups: int = 1,
    dilation: Extents = 1,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Transposed convolution (ADM-2, ADM-3).

    Args:
        x: Shape (N, C, …) or (C, …), one to three trailing axes.
        weight: Shape (C, O/groups, …).
        bias: Shape (O,), or None.
        stride: Per trailing axis.
        padding: Taken off both ends, per trailing axis.
        output_padding: Added behind the end, per trailing axis.
        groups: Divides C.
        dilation: Per trailing axis.
        arithmetic: dtypes of values and sums.

    Raises:
        InputError: Shapes and attributes that do not fit.
    """
    x, weight, single = _operands(x, weight, arithmetic)
    axes = weight.value.ndim - 2
    inputs, outputs, *kernel = weight.shape
    if groups < 1 or x.shape[1] != inputs or inputs % groups:
        raise InputError(
            "transposed convolution: channels",
            given=f"{x.shape[1]} channels, weight {weight.shape}, {groups} groups",
            allowed="C = weight.shape[0], and groups divides C",
            clause="ADM-2",
        )
    step, spread = per_axis(stride, axes, "stride", 1), per_axis(dilation, axes, "dilation", 1)
    cut = per_axis(padding, axes, "padding", 0)
    more = per_axis(output_padding, axes, "output_padding", 0)
    entries = x.shape[2:]
    full = [
        (n - 1) * s + d * (k - 1) + 1 + m
        for n, s, d, k, m in zip(entries, step, spread, kernel, more, strict=True)
    ]
    kept = tuple(slice(p, n - p) for p, n in zip(cut, full, strict=True))
    if any(n - 2 * p < 1 for p, n in zip(cut, full, strict=True)):
        raise InputError(
            "padding of a transposed convolution",
            given=padding,
            allowed="less than half the output",
            clause="ADM-2",
        )

    def contract(values: Float64, weights: Float64) -> Float64:
        seen = values.reshape(len(values), groups, inputs // groups, prod(entries))
        rows = weights.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
        total = np.zeros((len(values), groups * outputs, *full))
        for place, window in taps(kernel, step, spread, entries):
            of_tap = rows[(slice(None),) * 3 + place]
            made = of_tap * seen if inputs == groups else of_tap @ seen
            total[(slice(None), slice(None), *window)] += made.reshape(
                len(values), groups * outputs, *entries
            )
        return np.ascontiguousarray(total[(slice(None), slice(None), *kept)])

    # Of k taps, those that meet an input lie s/gcd(s, d) apart: that many add to one output.
    met = prod(-(-k // (s // gcd(s, d))) for k, s, d in zip(kernel, step, spread, strict=True))
    added = _per_channel(bias, groups * outputs, axes, arithmetic)
    found = contraction(contract, x, weight, added, inputs // groups * met, arithmetic)
    return found.map(lambda a: a[0]) if single else found


def _operands(x: Operand, weight: Operand, arithmetic: Arithmetic) -> tuple[Bounds, Bounds, bool]:
    """Operands as bounds, x with a batch axis, and whether that was added."""
    x, weight = bounds_of(x, arithmetic), bounds_of(weight, arithmetic)
    rank = weight.value.ndim
    if not 3 <= rank <= 5 or x.value.ndim not in (rank - 1, rank):
        raise InputError(
            "convolution: ranks",
            given=f"{x.shape} and {weight.shape}",
            allowed="a weight of rank 3 to 5 and an input of that rank, or one less without batch",
            clause="ADM-2",
        )
    single = x.value.ndim == rank - 1
    return (x.map(lambda a: a[None]) if single else x), weight, single


def _pads(
    padding: Extents | str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same" and all(s == 1 for s in stride):
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    if isinstance(padding, str):
        raise InputError(
            "padding", given=padding, allowed='ints, "valid", or "same" at stride 1', clause="ADM-2"
        )
    return tuple((p, p) for p in per_axis(padding, len(kernel), "padding", 0))


def _per_channel(
    bias: Operand | None, channels: int, axes: int, arithmetic: Arithmetic
) -> Bounds | None:
    if bias is None:
        return None
    found = bounds_of(bias, arithmetic)
    if found.shape != (channels,):
        raise InputError("bias: shape", given=found.shape, allowed=f"({channels},)", clause="ADM-2")
    return found.map(lambda a: a.reshape(1, channels, *(1,) * axes))
