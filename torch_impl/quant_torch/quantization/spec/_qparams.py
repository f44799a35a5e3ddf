"""From a range to scale, zero point and minval, in torch (SPEC.md, RANGE and QP clauses).

Every operation is rounded to the dtype of the range. A Python number next to a half-precision
tensor enters in float32, which is torch's own rule.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from quant_reference.formats import Format
from quant_torch.quantization.spec.qscheme import QuantizationScheme

SCALE_EPS = 2.0**-23
"""Least scale of every rule but e8m0: the machine epsilon of float32 (QP-1)."""

E8M0_LEAST_SCALE = 2.0**-126


class QParams(NamedTuple):
    """Quantization parameters, one entry per block, in the rank of the tensor.

    Attributes:
        scale: float32.
        zero_point: int32, or None for float formats.
        minval: float32, or None for float formats.
    """

    scale: torch.Tensor
    zero_point: torch.Tensor | None = None
    minval: torch.Tensor | None = None


class QuantRange(NamedTuple):
    """What the codes of a spec are: everything the formulas need besides the qparams.

    Attributes:
        fmt: The element format.
        qscheme: The scheme.
        quant_min: Least code (integers) or value (floats).
        quant_max: Greatest code or value.
        scale_dtype: None or ``torch.float8_e8m0fnu``.
    """

    fmt: Format
    qscheme: QuantizationScheme
    quant_min: float
    quant_max: float
    scale_dtype: torch.dtype | None = None

    @property
    def zero_code(self) -> int:
        """Code of zero in a symmetric scheme (QP-4)."""
        return 0 if self.fmt.kind == "int" else 2 ** (self.fmt.bits - 1)


def widen_to_zero(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Make a range contain zero (RANGE-1); NaN stays."""
    return low.clamp(max=0.0), high.clamp(min=0.0)


def compute_qparams(lo: torch.Tensor, hi: torch.Tensor, codes: QuantRange) -> QParams:
    """Qparams of a range.

    Clauses QP-1 (least scale), QP-2 and QP-3 (scale), QP-4 (zero point), QP-5 (minval), QP-6
    (FP8), QP-7 (e8m0), QP-8 (ranges that are not finite), QP-9 (dtype of the arithmetic).

    Args:
        lo: ``lo <= 0`` or NaN per block; float16, bfloat16 or float32.
        hi: ``hi >= 0`` or NaN per block; dtype and shape of lo.
        codes: The format and scheme.

    Returns:
        float32 scale, int32 zero_point and float32 minval in the shape of lo; the latter two
        None for float formats.
    """
    max_abs = torch.maximum(-lo, hi)
    if codes.scale_dtype is not None:
        return QParams(_e8m0_scale(max_abs.float(), codes.fmt.max_pow2))
    if not codes.fmt.is_integer:
        return QParams((max_abs / codes.quant_max).clamp(min=SCALE_EPS).float())
    levels = codes.quant_max - codes.quant_min
    if codes.qscheme is QuantizationScheme.ASYMMETRIC:
        scale = ((hi - lo) / levels).clamp(min=SCALE_EPS)
        steps = (lo / scale).round().float()
        zero_point = (codes.quant_min - steps).clamp(codes.quant_min, codes.quant_max)
        scale = scale.float()
        # Only a range that is not finite leaves no zero point; it gets the scheme's zero (QP-8).
        zero_point = torch.where(scale.isfinite(), zero_point, float(codes.zero_code))
        return QParams(scale, zero_point.to(torch.int32), lo.to(torch.float32, copy=True))
    scale = (max_abs / (levels / 2)).clamp(min=SCALE_EPS).float()
    zero_point = torch.full_like(scale, codes.zero_code, dtype=torch.int32)
    return QParams(scale, zero_point, (-max_abs).float())


def _e8m0_scale(max_abs: torch.Tensor, max_pow2: int) -> torch.Tensor:
    """Power of two from the exponent field of max_abs (QP-7); NaN where it is not finite."""
    field = (max_abs.view(torch.int32) >> 23) & 0xFF
    exponent = (field - 127 - max_pow2).clamp(-127, 127)
    scale = torch.ldexp(torch.ones_like(max_abs), exponent).clamp(min=E8M0_LEAST_SCALE)
    return torch.where(max_abs.isfinite(), scale, float("nan"))
