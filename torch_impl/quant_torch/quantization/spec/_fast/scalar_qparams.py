"""The qparams of one float32 range, in Python numbers.

A per-tensor observer works on two numbers, and a tensor operation costs some microseconds where
the arithmetic costs nothing. This is the same arithmetic as in ``formulas`` and in the observers,
for one block of a float32 tensor; the tests hold both to the same vectors and to one another.

Sums, products and quotients of two float32 numbers are formed in double precision and then rounded
to float32. That rounds twice but never differently: 53 bits are more than 2 * 24 + 2 (Figueroa,
"When is double rounding innocuous?", 1995).
"""

from __future__ import annotations

import ctypes
import math

from quant_torch.quantization.spec._qparams import QuantRange
from quant_torch.quantization.spec.formulas import SCALE_EPS
from quant_torch.quantization.spec.qscheme import QuantizationScheme


def round_float32(value: float) -> float:
    """The nearest float32, ties to even; infinity beyond its range."""
    return ctypes.c_float(value).value


def average(new: float, running: float, take: float) -> float:
    """``take * new + (1 - take) * running``, each operation rounded (OBS-2).

    Args:
        new: Bound of the new batch, a float32 number.
        running: Running bound, a float32 number.
        take: The averaging constant; it and its complement enter as float32.
    """
    taken = round_float32(round_float32(take) * new)
    kept = round_float32(round_float32(1.0 - take) * running)
    return round_float32(taken + kept)


def least(a: float, b: float) -> float:
    """The smaller number, or NaN if one is NaN."""
    return a if a < b or math.isnan(a) else b


def greatest(a: float, b: float) -> float:
    """The greater number, or NaN if one is NaN."""
    return a if a > b or math.isnan(a) else b


def compute_qparams(lo: float, hi: float, codes: QuantRange) -> tuple[float, int, float]:
    """Scale, zero point and minval of a range (QP-1 to QP-5, QP-8); no e8m0 scales.

    Args:
        lo: ``lo <= 0`` or NaN, a float32 number.
        hi: ``hi >= 0`` or NaN, a float32 number.
        codes: Format and scheme; the latter two results mean nothing for a float format.
    """
    levels = codes.quant_max - codes.quant_min
    if codes.qscheme is QuantizationScheme.ASYMMETRIC:
        scale = greatest(round_float32(round_float32(hi - lo) / levels), SCALE_EPS)
        if not math.isfinite(scale):
            return scale, codes.zero_code, lo
        zero_point = codes.quant_min - round(round_float32(lo / scale))
        return scale, int(min(max(zero_point, codes.quant_min), codes.quant_max)), lo
    max_abs = greatest(-lo, hi)
    divisor = levels / 2 if codes.fmt.is_integer else codes.quant_max
    scale = greatest(round_float32(max_abs / divisor), SCALE_EPS)
    return scale, codes.zero_code, -max_abs
