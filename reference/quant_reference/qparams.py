"""compute_qparams: from a range to scale, zero point and minval (SPEC.md, QP-1 to QP-9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference._arrays import Array, Float32, float_array, narrow, widen
from quant_reference.errors import InputError
from quant_reference.formats import Format, get_format
from quant_reference.spec import QuantizationSpec, check_spec

SCALE_EPS = np.float32(2.0**-23)
"""Least scale of every rule but e8m0 (QP-1)."""

E8M0_LEAST_SCALE = np.float32(2.0**-126)


@dataclass(frozen=True)
class QParams:
    """Quantization parameters: one entry per block, in the rank of the tensor.

    Attributes:
        scale: float32.
        zero_point: int32, or None for float formats.
        minval: float32, or None for float formats.
    """

    scale: Float32
    zero_point: NDArray[np.int32] | None = None
    minval: Float32 | None = None


def compute_qparams(lo: Array, hi: Array, spec: QuantizationSpec) -> QParams:
    """Qparams of a range.

    Clauses QP-1 (least scale), QP-2 and QP-3 (scale), QP-4 (zero point), QP-5 (minval), QP-6
    (FP8), QP-7 (e8m0), QP-8 (ranges that are not finite), QP-9 (dtype of the arithmetic).

    Args:
        lo: ``lo <= 0`` or NaN per block; float16, bfloat16 or float32.
        hi: ``hi >= 0`` or NaN per block; dtype and shape of lo.
        spec: Gives dtype, qscheme and scale_dtype.

    Returns:
        float32 scale, int32 zero_point and float32 minval in the shape of lo; the latter two
        None for float formats.

    Raises:
        InputError: dtypes or shapes that differ (QP-9), or a range without zero (RANGE-1).
    """
    check_spec(spec)
    lo, hi = float_array(lo, "lo", "QP-9"), float_array(hi, "hi", "QP-9")
    if (lo.dtype, lo.shape) != (hi.dtype, hi.shape):
        raise InputError(
            "lo and hi differ",
            given=f"{lo.dtype}{lo.shape} and {hi.dtype}{hi.shape}",
            allowed="one dtype and one shape",
            clause="QP-9",
        )
    fmt, dtype = get_format(spec.dtype), lo.dtype
    low, high = widen(lo), widen(hi)
    check_range(low, high)
    with np.errstate(all="ignore"):  # NaN and infinities are results here (QP-8)
        greatest = max_abs(low, high)
        if spec.scale_dtype is not None:
            scale = e8m0_scale(e8m0_exponent(greatest, fmt))
            return QParams(e8m0_nonfinite(scale, greatest))
        if not fmt.is_integer:
            return QParams(least_scale(float_scale(greatest, fmt, dtype)))
        if spec.qscheme != "asymmetric":
            scale = least_scale(symmetric_scale(greatest, spec, dtype))
            zero = np.full(scale.shape, zero_code(fmt))
            minval = -greatest + np.float32(0)  # QP-5; of zeros it is +0
            return integer_qparams(scale, zero, minval)
        scale = least_scale(asymmetric_scale(low, high, spec, dtype))
        zero = zero_point(low, high, scale, spec, dtype)
        zero = np.where(np.isfinite(scale), zero, zero_code_nonfinite(fmt))
        return integer_qparams(scale, zero, low)  # QP-5


def check_range(low: Float32, high: Float32) -> None:
    """Refuse a range without zero (RANGE-1)."""
    if (low > 0).any() or (high < 0).any():
        raise InputError(
            "range", given=(low, high), allowed="lo <= 0 <= hi, or NaN", clause="RANGE-1"
        )


def integer_qparams(scale: Float32, zero: Array, minval: Float32) -> QParams:
    """The qparams of an integer format in the dtypes that hold them."""
    return QParams(
        np.asarray(scale, np.float32), zero.astype(np.int32), np.array(minval, np.float32)
    )


def codes_in_use(spec: QuantizationSpec) -> tuple[float, float]:
    """Least and greatest code, or value of a float format (SPEC-6)."""
    return spec.quant_min, spec.quant_max


def levels(spec: QuantizationSpec) -> float:
    """Number of steps between the least and the greatest code (QP-2, QP-3)."""
    least, greatest = codes_in_use(spec)
    return greatest - least


def max_abs(low: Float32, high: Float32) -> Float32:
    """Greatest magnitude in the range; NaN stays (QP-2, QP-6, QP-7)."""
    return np.asarray(np.maximum(-low, high))


def symmetric_scale(greatest: Float32, spec: QuantizationSpec, dtype: np.dtype[Any]) -> Float32:
    """Half the range by half the levels (QP-2)."""
    return narrow(divide_range(greatest, np.float32(levels(spec) / 2)), dtype)


def asymmetric_scale(
    low: Float32, high: Float32, spec: QuantizationSpec, dtype: np.dtype[Any]
) -> Float32:
    """The range by the levels (QP-3)."""
    span = narrow(high - low, dtype)
    return narrow(divide_range(span, np.float32(levels(spec))), dtype)


def float_scale(greatest: Float32, fmt: Format, dtype: np.dtype[Any]) -> Float32:
    """The greatest magnitude by the greatest value of the format (QP-6)."""
    return narrow(divide_range(greatest, np.float32(fmt.quant_max)), dtype)


def divide_range(numerator: Float32, denominator: Float32 | np.float32) -> Float32:
    """True division in float32 (QP-9)."""
    return np.asarray(numerator / denominator)


def least_scale(scale: Float32) -> Float32:
    """At least eps, which is exact in every dtype of a range; NaN stays (QP-1)."""
    return np.asarray(np.maximum(scale, SCALE_EPS))


def zero_code(fmt: Format) -> int:
    """The code of zero in a symmetric scheme: 0, or the middle of an unsigned format (QP-4)."""
    return 0 if fmt.kind == "int" else 2 ** (fmt.bits - 1)


def zero_code_nonfinite(fmt: Format) -> int:
    """The zero point beside a scale that is not finite (QP-8)."""
    return zero_code(fmt)


def zero_point(
    low: Float32, high: Float32, scale: Float32, spec: QuantizationSpec, dtype: np.dtype[Any]
) -> Float32:
    """The zero point of an asymmetric scheme: the code of lo, less quant_min (QP-4)."""
    least, greatest = codes_in_use(spec)
    steps = round_zero_point(narrow(divide_range(low, scale), dtype))
    return clamp_zero_point(least - steps, least, greatest)


def round_zero_point(steps: Float32) -> Float32:
    """Ties to even (QP-4)."""
    return np.rint(steps)


def clamp_zero_point(zero: Float32, least: float, greatest: float) -> Float32:
    """Into the codes in use (QP-4)."""
    return np.asarray(np.clip(zero, least, greatest))


def e8m0_exponent(greatest: Float32, fmt: Format) -> Array:
    """Exponent field less the format's greatest power of two (QP-7).

    The field is read from the bits: exact, and -127 for zero and subnormals.
    """
    field = (np.asarray(greatest).view(np.int32) >> 23) & 0xFF
    return np.asarray(field - 127 - fmt.max_pow2)


def e8m0_scale(exponent: Array) -> Float32:
    """The power of two, at least 2**-126 (QP-7)."""
    return np.asarray(np.maximum(np.ldexp(np.float32(1), exponent), E8M0_LEAST_SCALE))


def e8m0_nonfinite(scale: Float32, greatest: Float32) -> Float32:
    """NaN where the range is not finite (QP-8)."""
    return np.where(np.isfinite(greatest), scale, np.float32(np.nan)).astype(np.float32)
