"""Library functions with a stated error in units in the last place (ADM-5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from quant_reference.admissible.arithmetic import FLOAT32, ULP, Arithmetic
from quant_reference.admissible.bounds import (
    Bounds,
    Float64,
    Operand,
    bounds_of,
    monotone,
    result,
    rounding,
)
from quant_reference.admissible.elementwise import KINDS, function, ulps
from quant_reference.errors import InputError

# math.erf is the C library's, within one ulp of float64; numpy has none of its own.
_erf = np.frompyfunc(math.erf, 1, 1)


def exp(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """e^x (ADM-5)."""
    return function(x, "exp", np.exp, arithmetic)


def log(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Natural logarithm; nothing is claimed where the operand may be negative (ADM-5)."""
    return function(x, "log", np.log, arithmetic)


def tanh(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Hyperbolic tangent (ADM-5)."""
    return function(x, "tanh", np.tanh, arithmetic)


def erf(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Error function (ADM-5)."""
    return function(x, "erf", lambda v: np.asarray(_erf(v), np.float64), arithmetic)


def of_table(name: str, form: Callable[[Float64], Any]) -> Callable[..., Bounds]:
    """A function that grows, or falls, wherever it is defined (ADM-5)."""

    def monotone_function(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
        return function(x, name, form, arithmetic)

    return monotone_function


asin = of_table("asin", np.arcsin)
acos = of_table("acos", np.arccos)
atan = of_table("atan", np.arctan)
sinh = of_table("sinh", np.sinh)
asinh = of_table("asinh", np.arcsinh)
acosh = of_table("acosh", np.arccosh)
atanh = of_table("atanh", np.arctanh)
exp2 = of_table("exp2", np.exp2)
expm1 = of_table("expm1", np.expm1)
log1p = of_table("log1p", np.log1p)
log2 = of_table("log2", np.log2)
log10 = of_table("log10", np.log10)


def cosh(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Hyperbolic cosine, of ``|x|`` (ADM-5)."""
    x = bounds_of(x, arithmetic)
    size = Bounds(np.abs(x.value), x.rigorous, x.probable)
    return function(size, "cosh", np.cosh, arithmetic)


def wave(name: str, form: Callable[[Float64], Any]) -> Callable[..., Bounds]:
    """Sine or cosine: moved by no more than the operand is, and by 2 (ADM-5)."""

    def bounded(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
        x = bounds_of(x, arithmetic)
        with np.errstate(invalid="ignore"):
            value = np.asarray(form(x.value), np.float64)
        spread = []
        for kind in KINDS:
            radius = getattr(x, kind)
            spread.append(np.where(np.isinf(radius), np.inf, np.minimum(radius, 2.0)))
        errors = [ulps(np.minimum(np.abs(value) + s, 1.0), ULP[name], arithmetic) for s in spread]
        return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)

    return bounded


sin = wave("sin", np.sin)
cos = wave("cos", np.cos)


def tan(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Tangent: grows between two poles; nothing is known where a pole may be met (ADM-5)."""
    x = bounds_of(x, arithmetic)
    value, spread = monotone(x, np.tan)
    moved = []
    for kind, own in zip(KINDS, spread, strict=True):
        with np.errstate(invalid="ignore"):
            low, high = (np.floor(end / math.pi + 0.5) for end in x.ends(kind))
            moved.append(np.where(low == high, own, np.inf))
    with np.errstate(invalid="ignore"):
        errors = [ulps(np.abs(value) + each, ULP["tan"], arithmetic) for each in moved]
    return result(value, (moved[0], moved[1]), (errors[0], errors[1]), arithmetic)


def atan2(y: Operand, x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Angle of the point (x, y) (ADM-5).

    Where neither the origin nor the cut, y = 0 beside x < 0, lies in what the two may be, the
    greatest and the least angle are at corners; else it may be any angle.
    """
    y, x = bounds_of(y, arithmetic), bounds_of(x, arithmetic)
    value = np.arctan2(y.value, x.value)
    spread, errors = [], []
    for kind in KINDS:
        ends = y.ends(kind), x.ends(kind)
        corners = np.stack(
            np.broadcast_arrays(*(np.arctan2(b, a) for b in ends[0] for a in ends[1]))
        )
        moved = np.abs(corners - value).max(axis=0)
        (below, above), (left, _) = ends
        turned = (below <= 0) & (above >= 0) & (left <= 0)
        moved = np.where(turned, np.abs(value) + math.pi, moved)
        exact = (getattr(y, kind) == 0) & (getattr(x, kind) == 0)
        unknown = np.isinf(getattr(y, kind)) | np.isinf(getattr(x, kind))
        moved = np.where(exact, 0.0, np.where(unknown, np.inf, moved))
        spread.append(moved)
        errors.append(ulps(np.minimum(np.abs(value) + moved, math.pi), ULP["atan2"], arithmetic))
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def sqrt(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Square root; nothing is claimed where the operand may be negative (ADM-5)."""
    return function(x, "sqrt", np.sqrt, arithmetic)


def rsqrt(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """1/√x, or a division by a square root, γ_12: the 6u of √ and the 5u of / (ADM-5)."""
    operand = bounds_of(x, arithmetic)
    value, spread = monotone(operand, lambda v: 1 / np.sqrt(v))
    with np.errstate(invalid="ignore"):
        first, second = (rounding(np.abs(value) + moved, arithmetic, 12) for moved in spread)
    return result(value, spread, (first, second), arithmetic)


def pow(x: Operand, exponent: float, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Power with a constant exponent (ADM-5).

    Monotone in |x|. Where x may have either sign, an even power takes its least value in between,
    an odd positive one is monotone, and nothing is claimed of others.
    """
    operand = bounds_of(x, arithmetic)
    power = float(exponent)
    if not math.isfinite(power):
        raise InputError("exponent", given=exponent, allowed="a finite number", clause="ADM-5")
    with np.errstate(all="ignore"):
        value = np.power(operand.value, power)
        spread = []
        for kind in KINDS:
            low, high = operand.ends(kind)
            ends = np.stack([np.power(low, power), np.power(high, power)])
            least, most = ends.min(axis=0), ends.max(axis=0)
            both = (low < 0) & (high > 0)
            if power < 0 or not power.is_integer():
                most = np.where(both, np.nan, most)
            elif power % 2 == 0 and power > 0:
                least = np.where(both, 0.0, least)
            moved = np.maximum(np.abs(most - value), np.abs(value - least))
            spread.append(np.where(getattr(operand, kind) == 0, 0.0, moved))
        errors = [ulps(np.abs(value) + moved, ULP["pow"], arithmetic) for moved in spread]
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)
