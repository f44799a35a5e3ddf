"""The clauses between values, ranges and codes, in torch (SPEC.md: RANGE, QP, Q, DQ, FQ, GRAD).

Range, scale, division, rounding, clamping and cast are one function each; :func:`fake_quantize`,
:func:`quantize` and :func:`dequantize` put them together. All arithmetic on codes is float32, one
rounding per operation. Codes are held relative to the code of zero, ``q - zero_point`` (or
``q - quant_min`` under minval): every operand is a small integer, so the difference is exact, and
clamping to ``[quant_min - zero, quant_max - zero]`` is the same as adding, clamping, subtracting.

What makes these fast is in ``_fast``, which calls the same steps: ``out`` is the memory for a
result, and nothing else depends on it.
"""

from __future__ import annotations

import torch

from quant_torch.quantization.spec import _float_codes
from quant_torch.quantization.spec._code_map import CodeMap
from quant_torch.quantization.spec._qparams import QParams, QuantRange
from quant_torch.quantization.spec.qscheme import QuantizationScheme

SCALE_EPS = 2.0**-23
"""Least scale of every rule but e8m0: the machine epsilon of float32 (QP-1)."""

E8M0_LEAST_SCALE = 2.0**-126

_ZERO = torch.zeros((), dtype=torch.float32, device="cpu")
"""Adding a tensor is faster than adding a Python number."""


# From a range to qparams. Every operation is rounded to the dtype of the range. A Python number
# next to a half-precision tensor enters in float32, which is torch's own rule.


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


# Between values and codes, in the view of the code map.


def relative_codes(x: torch.Tensor, to: CodeMap, out: torch.Tensor | None = None) -> torch.Tensor:
    """Codes before clamping: ``x / scale``, rounded half to even for integers (Q-1, Q-2, Q-4)."""
    x = x.float()
    if to.shift is None:
        real = torch.div(x, to.scale, out=out)
    else:
        real = torch.sub(x, to.shift, out=out).div_(to.scale)
    return real.round_() if to.codes.fmt.is_integer else real


def clamp(real: torch.Tensor, to: CodeMap, out: torch.Tensor | None = None) -> torch.Tensor:
    """Saturate at the least and greatest code, before any cast (Q-7); NaN stays."""
    if out is real:  # the same, and the shorter way into torch
        return real.clamp_(to.lower, to.upper)
    return torch.clamp(real, to.lower, to.upper, out=out)


def represented(clamped: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """What the codes of clamped numbers stand for before the scale; it overwrites integers.

    A code is an integer and has no sign of zero; rounding leaves -0 for small negatives (FQ-4).
    A float format keeps it, and rounds here (ENC-1 to ENC-4).
    """
    if to.codes.fmt.is_integer:
        return clamped.add_(_ZERO)
    return _float_codes.round_to_format(clamped, to.codes.fmt)


def scaled(relative: torch.Tensor, to: CodeMap, out: torch.Tensor | None = None) -> torch.Tensor:
    """float32 values of relative codes (DQ-1, DQ-2)."""
    product = torch.mul(relative, to.scale, out=out)
    # Added after the product is rounded: no FMA (DQ-2).
    return product if to.shift is None else product.add_(to.shift)


def cast(clamped: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Codes in int8 or uint8; bit codes in uint8 for float formats (Q-3, Q-5)."""
    fmt = to.codes.fmt
    if not fmt.is_integer:
        return _float_codes.encode(clamped, fmt)
    # NaN has no code: the code of zero is taken. Only then comes the cast.
    codes = clamped.nan_to_num(nan=0.0).add_(to.zero)
    return codes.to(torch.int8 if fmt.kind == "int" else torch.uint8)


def uncast(codes: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Relative codes of what :func:`cast` gave, in float32 (DQ-1, DEC-1)."""
    fmt = to.codes.fmt
    return codes.float().sub_(to.zero) if fmt.is_integer else _float_codes.decode(codes, fmt)


def gradient(grad: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """The gradient where the unclamped code was inside the range, else +0 (GRAD-1, GRAD-2)."""
    return torch.where(inside, grad, 0.0)


def fake_quantize(x: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Quantize and dequantize, in x's dtype (FQ-1 to FQ-4)."""
    return fake_quantize_with_inside(x, to)[0]


def fake_quantize_with_inside(x: torch.Tensor, to: CodeMap) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`fake_quantize`, and where the unclamped code was inside the range (GRAD-1).

    A NaN equals nothing, and is outside (GRAD-4).
    """
    real = relative_codes(x.reshape(to.view), to)
    clamped = clamp(real, to)
    inside = real == clamped
    values = scaled(represented(clamped, to), to)
    return values.reshape(x.shape).to(x.dtype), inside.reshape(x.shape)


def quantize(x: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Codes of values (Q-1 to Q-7)."""
    return cast(clamp(relative_codes(x.reshape(to.view), to), to), to).reshape(x.shape)


def dequantize(codes: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """float32 values of codes as :func:`quantize` gives them (DQ-1 to DQ-3)."""
    return scaled(uncast(codes.reshape(to.view), to), to).reshape(codes.shape)
