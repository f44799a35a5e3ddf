"""Nearly right formulas, used to search for inputs on which they differ from the right one.

A random tensor seldom tells division from multiplication by a reciprocal. So the generator draws
many candidates, evaluates the rival beside the reference, and keeps inputs where the two part.
The rivals decide which inputs are asked, never what the answer is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from quant_reference import QuantizationSpec

Array = NDArray[Any]
Rival = Callable[..., Array]

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def through(values: Array, dtype: Any) -> Array:
    """Round to a dtype and come back to float32."""
    with np.errstate(all="ignore"):
        return values.astype(dtype).astype(np.float32)


def f64(values: Any) -> Any:
    """Widen to float64."""
    return values.astype(np.float64)


def fma(a: Array, b: Array, c: Array) -> Array:
    """Multiply and add with one rounding; exact in float64 for products of short factors."""
    fused: Array = (f64(a) * f64(b) + f64(c)).astype(np.float32)
    return fused


# x/scale, not yet rounded to an integer; x, scale float32.
DIVISIONS: Mapping[str, tuple[Rival, str]] = MappingProxyType(
    {
        "reciprocal": (lambda x, s: x * (np.float32(1) / s), "ReciprocalMultiply"),
        "reciprocal-wide": (
            lambda x, s: (f64(x) * (1.0 / f64(s))).astype(np.float32),
            "ReciprocalMultiply",
        ),
        "reciprocal-rounded": (
            lambda x, s: x * through(np.float32(1) / s, np.float16),
            "ReciprocalMultiply",
        ),
        "float64": (lambda x, s: f64(x) / f64(s), "WiderIntermediate"),
        "float16-quotient": (lambda x, s: through(x / s, np.float16), "NarrowIntermediate"),
        "bfloat16-quotient": (lambda x, s: through(x / s, _BFLOAT16), "NarrowIntermediate"),
        "float16-scale": (lambda x, s: x / through(s, np.float16), "NarrowIntermediate"),
        "bfloat16-scale": (lambda x, s: x / through(s, _BFLOAT16), "NarrowIntermediate"),
    }
)
"""Name -> (the quotient of a wrong division, the flag that catches it)."""

# rint((x - minval) / scale); all float32.
OFFSETS: Mapping[str, tuple[Rival, str]] = MappingProxyType(
    {
        "float64": (lambda x, s, m: np.rint((f64(x) - f64(m)) / f64(s)), "WiderIntermediate"),
        "distributed": (lambda x, s, m: np.rint(x / s - m / s), "MinvalFormula"),
        "rounded-apart": (lambda x, s, m: np.rint(x / s) - np.rint(m / s), "MinvalFormula"),
        "reciprocal": (
            lambda x, s, m: np.rint((x - m) * (np.float32(1) / s)),
            "ReciprocalMultiply",
        ),
        "fused": (
            lambda x, s, m: np.rint(fma(x, np.float32(1) / s, -m / s)),
            "MinvalFormula",
        ),
    }
)
"""Name -> (the steps of a wrong minval formula, the flag that catches it)."""

# Dequantized values; q already lacks zero_point or quant_min, as float32.
PRODUCTS: Mapping[str, tuple[Rival, str]] = MappingProxyType(
    {
        "bfloat16-scale": (lambda q, s: q * through(s, _BFLOAT16), "NarrowIntermediate"),
        "float16-scale": (lambda q, s: q * through(s, np.float16), "NarrowIntermediate"),
        "bfloat16-result": (lambda q, s: through(q * s, _BFLOAT16), "NarrowIntermediate"),
        "float16-result": (lambda q, s: through(q * s, np.float16), "NarrowIntermediate"),
        "reciprocal": (lambda q, s: q / (np.float32(1) / s), "ReciprocalMultiply"),
    }
)
"""Name -> (the product of a wrong dequantize, the flag that catches it)."""


def asymmetric_rivals(spec: QuantizationSpec) -> Mapping[str, tuple[Rival, str]]:
    """Wrong scales and zero points of an asymmetric range: name -> (function of lo, hi; flag).

    Each function returns the scale and the zero point stacked, both as float64.
    """
    steps = np.float32(spec.quant_max - spec.quant_min)
    least, greatest = float(spec.quant_min), float(spec.quant_max)
    eps = np.float32(2.0**-23)

    def pair(scale: Array, zero_point: Array) -> Array:
        return np.stack([f64(scale), np.clip(f64(zero_point), least, greatest)])

    def right_scale(lo: Array, hi: Array) -> Array:
        return np.maximum((hi - lo) / steps, eps)

    def from_reciprocal(lo: Array, hi: Array) -> Array:
        scale = np.maximum((hi - lo) * (np.float32(1) / steps), eps)
        return pair(scale, least - np.rint(lo / scale))

    def from_float64(lo: Array, hi: Array) -> Array:
        wide = np.maximum((f64(hi) - f64(lo)) / f64(steps), float(eps))
        return pair(wide.astype(np.float32), least - np.rint(f64(lo) / wide))

    def from_apart(lo: Array, hi: Array) -> Array:
        scale = np.maximum(hi / steps - lo / steps, eps)
        return pair(scale, least - np.rint(lo / scale))

    def zero_from_hi(lo: Array, hi: Array) -> Array:
        scale = right_scale(lo, hi)
        return pair(scale, greatest - np.rint(hi / scale))

    def zero_rounded_after(lo: Array, hi: Array) -> Array:
        scale = right_scale(lo, hi)
        return pair(scale, np.rint(np.float32(least) - lo / scale))

    def zero_half_up(lo: Array, hi: Array) -> Array:
        scale = right_scale(lo, hi)
        return pair(scale, least + np.floor(f64(-lo / scale) + 0.5))

    def zero_from_steps(lo: Array, hi: Array) -> Array:
        scale = right_scale(lo, hi)
        return pair(scale, least - np.rint(lo * steps / (hi - lo)))

    def zero_from_reciprocal(lo: Array, hi: Array) -> Array:
        scale = right_scale(lo, hi)
        return pair(scale, least - np.rint(lo * (np.float32(1) / scale)))

    return {
        "scale-reciprocal": (from_reciprocal, "QParamsArithmetic"),
        "float64": (from_float64, "WiderIntermediate"),
        "scale-apart": (from_apart, "QParamsArithmetic"),
        "zero-from-hi": (zero_from_hi, "QParamsArithmetic"),
        "zero-rounded-after": (zero_rounded_after, "ZeroPointRounding"),
        "zero-half-up": (zero_half_up, "ZeroPointRounding"),
        "zero-from-steps": (zero_from_steps, "QParamsArithmetic"),
        "zero-from-reciprocal": (zero_from_reciprocal, "QParamsArithmetic"),
    }


def keep(differs: Array, limit: int) -> NDArray[np.int64]:
    """Return the indices of at most ``limit`` True entries, spread over the whole."""
    found = np.flatnonzero(differs)
    if found.size <= limit:
        return found
    spread: NDArray[np.int64] = found[(np.arange(limit) * found.size) // limit]
    return spread
