"""compute_qparams: from a range to scale, zero point and minval (SPEC.md, QP-1 to QP-9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant_reference._arrays import Array, Float32, float_array, round_to, to_float32
from quant_reference.errors import InputError
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


def zero_code(spec: QuantizationSpec) -> int:
    """The code of zero in a symmetric scheme: 0, or the middle of an unsigned format (QP-4)."""
    return 0 if spec.format.kind == "int" else 2 ** (spec.format.bits - 1)


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
    lo32, hi32 = to_float32(lo), to_float32(hi)
    if (lo32 > 0).any() or (hi32 < 0).any():
        raise InputError("range", given=(lo, hi), allowed="lo <= 0 <= hi, or NaN", clause="RANGE-1")
    with np.errstate(all="ignore"):  # NaN and infinities are results here (QP-8)
        max_abs = np.maximum(-lo32, hi32)
        if spec.scale_dtype is not None:
            return QParams(_e8m0_scale(max_abs, spec.format.max_pow2))
        levels = np.float32(spec.quant_max - spec.quant_min)
        if spec.qscheme == "asymmetric":
            span = round_to(hi32 - lo32, lo.dtype)
            scale = round_to(span / levels, lo.dtype)
        elif spec.format.is_integer:
            scale = round_to(max_abs / (levels * np.float32(0.5)), lo.dtype)
        else:
            scale = round_to(max_abs / np.float32(spec.quant_max), lo.dtype)
        scale = np.maximum(scale, SCALE_EPS)  # exact in float16 and bfloat16 too; keeps NaN
        if not spec.format.is_integer:
            return QParams(np.asarray(scale))
        if spec.qscheme == "asymmetric":
            steps = np.rint(round_to(lo32 / scale, lo.dtype))
            zero_point = np.asarray(np.clip(spec.quant_min - steps, spec.quant_min, spec.quant_max))
            zero_point = np.where(np.isfinite(scale), zero_point, zero_code(spec))
            minval = lo32
        else:
            zero_point = np.full(scale.shape, zero_code(spec))
            minval = -max_abs + np.float32(0)
    return QParams(np.asarray(scale), zero_point.astype(np.int32), np.array(minval, np.float32))


def _e8m0_scale(max_abs: Float32, max_pow2: int) -> Float32:
    # The exponent field, read from the bits: exact, and -127 for zero and subnormals (QP-7).
    field = (np.asarray(max_abs).view(np.int32) >> 23) & 0xFF
    scale = np.maximum(np.ldexp(np.float32(1), field - 127 - max_pow2), E8M0_LEAST_SCALE)
    return np.where(np.isfinite(max_abs), scale, np.float32(np.nan)).astype(np.float32)
