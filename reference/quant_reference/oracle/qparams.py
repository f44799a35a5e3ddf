"""Range, qparams and observers of one block (RANGE-1 to RANGE-4, QP-1 to QP-9, OBS-1 to OBS-5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from quant_reference.oracle.arithmetic import (
    add,
    clamp,
    divide,
    greatest,
    least,
    multiply,
    subtract,
)
from quant_reference.oracle.number import (
    DTYPES,
    FLOAT32,
    FLOAT64,
    NAN,
    ZERO,
    Number,
    floor_log2,
    number,
    power,
    rint,
    round_to,
)
from quant_reference.spec import QuantizationSpec

EPS = number(power(-23))
NonfiniteRange = Literal["nan_scale", "exponent_field"]


@dataclass(frozen=True)
class BlockRange:
    """lo and hi of a block and the name of their dtype (RANGE-3)."""

    lo: Number
    hi: Number
    dtype: str


@dataclass(frozen=True)
class BlockQParams:
    """Qparams of a block; an entry that the spec does not have is None."""

    scale: Number
    zero_point: int | None = None
    minval: Number | None = None


def value_range(block: Sequence[Number], spec: QuantizationSpec, dtype: str) -> BlockRange:
    """Range of the elements of one block (RANGE-1 to RANGE-4).

    Args:
        block: Its elements, at least one (RANGE-5).
        spec: Gives the fixed bounds.
        dtype: Name of the tensor's dtype.
    """
    fixed = [
        None if bound is None else round_to(number(float(bound)), FLOAT32)
        for bound in spec.float_range
    ]
    fixed_lo, fixed_hi = fixed
    if fixed_lo is not None and fixed_hi is not None:
        return BlockRange(fixed_lo, fixed_hi, "float32")
    lo = hi = ZERO
    for element in block:
        lo, hi = least(lo, element), greatest(hi, element)
    if fixed_lo is not None:
        lo = round_to(fixed_lo, DTYPES[dtype])
    if fixed_hi is not None:
        hi = round_to(fixed_hi, DTYPES[dtype])
    return BlockRange(lo, hi, dtype)


def compute_qparams(
    bounds: BlockRange,
    spec: QuantizationSpec,
    *,
    nonfinite_range: NonfiniteRange = "nan_scale",
) -> BlockQParams:
    """Qparams of a range (QP-1 to QP-9).

    Args:
        bounds: The range; its dtype is that of the arithmetic (QP-9).
        spec: Decides the formulas.
        nonfinite_range: Policy `e8m0_nonfinite_range` of QP-8.
    """
    max_abs = greatest(-bounds.lo, bounds.hi)
    if spec.scale_dtype is not None:
        return BlockQParams(_e8m0_scale(max_abs, spec.format.max_pow2, nonfinite_range))
    if spec.format.kind == "float":
        return BlockQParams(_least_scale(_divided(max_abs, spec.quant_max, bounds)))

    steps = spec.quant_max - spec.quant_min
    zero_code = 0 if spec.format.kind == "int" else 2 ** (spec.format.bits - 1)
    if spec.qscheme != "asymmetric":
        scale = _least_scale(_divided(max_abs, steps / 2, bounds))
        return BlockQParams(scale, zero_code, -max_abs)

    width = _rounded(subtract(bounds.hi, bounds.lo, FLOAT32), bounds)
    scale = _least_scale(_divided(width, steps, bounds))
    zero_point = zero_code if scale.kind != "finite" else _zero_point(bounds, scale, spec)
    return BlockQParams(scale, zero_point, bounds.lo)


def _zero_point(bounds: BlockRange, scale: Number, spec: QuantizationSpec) -> int:
    """QP-4, asymmetric."""
    lowest, highest = number(spec.quant_min), number(spec.quant_max)
    of_lo = rint(_rounded(divide(bounds.lo, scale, FLOAT32), bounds))
    unclamped = _rounded(subtract(lowest, of_lo, FLOAT32), bounds)
    return int(clamp(unclamped, lowest, highest).exact)


def _e8m0_scale(max_abs: Number, max_pow2: int, nonfinite_range: NonfiniteRange) -> Number:
    """QP-7 and, for what is not finite, QP-8."""
    if max_abs.kind != "finite":
        if nonfinite_range == "nan_scale":
            return NAN
        field = 255
    elif max_abs.magnitude < power(-126):
        field = 0
    else:
        field = floor_log2(max_abs.magnitude) + 127
    return number(max(power(field - 127 - max_pow2), power(-126)))


def _divided(value: Number, constant: float, bounds: BlockRange) -> Number:
    """One division by a constant, as QP-9 wants it."""
    return _rounded(divide(value, round_to(number(float(constant)), FLOAT32), FLOAT32), bounds)


def _rounded(value: Number, bounds: BlockRange) -> Number:
    return round_to(value, DTYPES[bounds.dtype])


def _least_scale(scale: Number) -> Number:
    """QP-1."""
    return greatest(scale, EPS)


def observe(
    kind: str,
    batches: Sequence[BlockRange],
    spec: QuantizationSpec,
    averaging_constant: float = 0.01,
) -> BlockRange:
    """Running range of a block after the last batch (OBS-1 to OBS-5).

    Args:
        kind: ``"static"``, ``"moving_average"``, ``"global_minmax"`` or ``"dynamic"``.
        batches: The block's range in each batch, at least one, of one dtype (OBS-6).
        spec: With two fixed bounds there is nothing to average (OBS-2).
        averaging_constant: c of OBS-2.
    """
    running = batches[0]
    fixed = None not in spec.float_range
    for batch in batches[1:]:
        if kind == "global_minmax":
            lo, hi = least(running.lo, batch.lo), greatest(running.hi, batch.hi)
        elif kind == "moving_average" and not fixed:
            lo = _average(running.lo, batch.lo, averaging_constant, batch.dtype)
            hi = _average(running.hi, batch.hi, averaging_constant, batch.dtype)
        else:
            lo, hi = batch.lo, batch.hi
        running = BlockRange(lo, hi, batch.dtype)
    return running


def _average(old: Number, new: Number, averaging_constant: float, dtype: str) -> Number:
    """OBS-2: c · new + (1 - c) · old, every step in float32 and then in the dtype."""
    binary = DTYPES[dtype]
    exact_c = number(float(averaging_constant))
    c = round_to(exact_c, FLOAT32)
    rest = round_to(subtract(number(1), exact_c, FLOAT64), FLOAT32)
    of_new = round_to(multiply(c, new, FLOAT32), binary)
    of_old = round_to(multiply(rest, old, FLOAT32), binary)
    return round_to(add(of_new, of_old, FLOAT32), binary)
