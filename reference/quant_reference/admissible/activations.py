"""Activations made of library functions (ADM-7).

Every activation has usual formulas that differ in rounding; the error that ADM-7 allows is the
largest among those it names, derived beside each function. u is the unit roundoff of the dtype of
values. A radius of the operand counts by the steepest slope of the function, or by its ends where
it is monotone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic
from quant_reference.admissible.bounds import (
    Bounds,
    Float64,
    Operand,
    bounds_of,
    monotone,
    result,
    rounding,
)
from quant_reference.admissible.elementwise import KINDS, neg, settled
from quant_reference.errors import InputError

_erfc = np.frompyfunc(math.erfc, 1, 1)


def sigmoid(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """1/(1 + e^−x), e^x/(1 + e^x) or ½ + ½·tanh(x/2): γ_13·σ + 6u (ADM-7).

    The first two: 6u for the exponential (of which the quotient feels a part), u for the sum, 5u
    for the division: 12u·σ. The third: half of tanh's 10u, and u for the sum: 5u + u·σ. Where e^−x
    overflows the result is 0, and σ is below the least normal number, which is added.
    """
    return _function(x, _sigmoid, (13, 6), None, arithmetic, arithmetic.value.least_normal)


def silu(x: Operand, inplace: bool = False, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """x·σ(x) or x/(1 + e^−x): γ_14·|f| + γ_6·|x|; the steepest slope is 1.1 (ADM-7)."""
    return _of_x(x, lambda v: v * _sigmoid(v), (14, 6), 1.1, arithmetic)


def softplus(
    x: Operand, beta: float = 1.0, threshold: float = 20.0, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """log(1 + e^(βx))/β, by log, log1p, or max(x, 0) + log1p(e^−|x|): γ_14·f + 9u/β (ADM-7).

    In units, 13u·f + 8u/β: βx is rounded, which moves the logarithm by u·|βx|·σ(βx) <= u·f·β +
    0.3u; e^(βx) is off by 6u, which moves it by 6u at most, and 1 + e^(βx) by u, as much; then 6u·f
    for the logarithm and 5u·f for the division by β. Beyond the threshold, 20 or more, f is x, off
    by e^−20/β, a 28th of u.
    """
    if not beta > 0 or not threshold >= 20:
        raise InputError(
            "softplus",
            given=f"beta {beta}, threshold {threshold}",
            allowed="beta > 0, threshold >= 20",
            clause="ADM-7",
        )
    return _function(x, lambda v: _softplus(beta * v) / beta, (14, 9 / beta), None, arithmetic)


def logsigmoid(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """−log(1 + e^−x): as softplus of −x (ADM-7)."""
    return neg(softplus(neg(x, arithmetic=arithmetic), arithmetic=arithmetic))


def mish(x: Operand, inplace: bool = False, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """x·tanh(softplus(x)): γ_3·|f| + γ_25·|x|; the steepest slope is 1.09 (ADM-7).

    softplus s is off by 13u·s + 8u. The slope of tanh is 1 − tanh², s·(1 − tanh²(s)) < 0.45: so
    13u·0.45 + 8u < 14u, and tanh's own 10u. Or x·n/(n + 2) with n = e^x(e^x + 2), whose quotient is
    off by 14u for n, u and 5u.
    """
    return _of_x(x, lambda v: v * np.tanh(_softplus(v)), (3, 25), 1.09, arithmetic)


def elu(
    x: Operand, alpha: float = 1.0, inplace: bool = False, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """x, or α(e^x − 1) where x < 0, by exp or expm1: γ_9·|f| + γ_8·α there (ADM-7).

    e^x <= 1 is off by 6u at most and the difference by u, times α, whose rounding and product add
    2u·|f|; expm1 instead is off by 6u·|f|.
    """
    return _exponential(x, alpha, 1.0, 1.0, (9, 8), 0, arithmetic)


def celu(
    x: Operand, alpha: float = 1.0, inplace: bool = False, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """x, or α(e^(x/α) − 1) where x < 0: γ_9·|f| + γ_10·α there (ADM-7).

    Besides elu's: x/α is off by 6u (division and constant), which moves e^(x/α) by
    6u·|x/α|·e^(x/α) <= 2.3u.
    """
    return _exponential(x, alpha, 1.0, 1 / alpha, (9, 10), 0, arithmetic)


SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946
"""Klambauer et al. (2017), the constants of selu."""


def selu(x: Operand, inplace: bool = False, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """λx, or λα(e^x − 1) where x < 0: γ_3·|f|, or γ_11·|f| + γ_8·λα there (ADM-7)."""
    return _exponential(x, SELU_ALPHA, SELU_SCALE, 1.0, (11, 8), 3, arithmetic)


def hardsigmoid(x: Operand, inplace: bool = False, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """min(max(x + 3, 0), 6)/6, or min(max(x/6 + ½, 0), 1): γ_8·f + 3u (ADM-7).

    The first: u for the sum, 5u for the division, or 2u for a product with 1/6. The second, where
    |x| <= 3: 5u·½ for x/6, and u·f.
    """
    return _function(x, lambda v: np.clip(v + 3, 0, 6) / 6, (8, 3), None, arithmetic, within=3)


def hardswish(x: Operand, inplace: bool = False, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """x·hardsigmoid(x): γ_9·|f| + γ_3·min(|x|, 3); the steepest slope is 1.5 (ADM-7)."""
    operand = bounds_of(x, arithmetic)
    with np.errstate(invalid="ignore"):
        value = operand.value * (np.clip(operand.value + 3, 0, 6) / 6)
    errors, spread = [], []
    for kind in KINDS:
        radius = getattr(operand, kind)
        low, high = operand.ends(kind)
        size = np.maximum(np.abs(low), np.abs(high))
        moved = np.where(high <= -3, 0.0, 1.5 * radius)
        error = rounding(np.abs(value) + moved, arithmetic, 9)
        inside = (low < 3) & (high > -3)
        error = error + np.where(inside, rounding(np.minimum(size, 3), arithmetic, 3), 0.0)
        spread.append(moved)
        errors.append(np.where(high <= -3, 0.0, error))
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def gelu(x: Operand, approximate: str = "none", *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """½x(1 + erf(x/√2)), or with ``approximate="tanh"`` its tanh form: γ_3·|f| + γ_19·|x| (ADM-7).

    erf: the argument z is off by 2u, which moves erf by 2u·|z|·2/√π·e^−z² < u; erf by 16 ulp, 32u;
    the sum by 2u: 35u, times |x|/2. tanh: the argument √(2/π)(x + 0.044715x³) is off by 8u, which
    moves tanh by 8u·0.45 < 4u; tanh by 10u, the sum by 2u: 16u, times |x|/2; or x·σ of twice the
    argument: 13u·|f| and 2u·|x|. The steepest slope is 1.13.
    """
    forms: dict[str, Callable[[Float64], Float64]] = {"none": _gelu, "tanh": _gelu_tanh}
    if approximate not in forms:
        raise InputError("approximate", given=approximate, allowed="none, tanh", clause="ADM-7")
    return _of_x(x, forms[approximate], (3, 19), 1.13, arithmetic)


def _sigmoid(v: Float64) -> Float64:
    small = np.exp(-np.abs(v))  # at most 1: neither overflow nor cancellation
    return np.asarray(np.where(v >= 0, 1.0, small) / (1 + small), np.float64)


def _softplus(v: Float64) -> Float64:
    return np.asarray(np.logaddexp(0, v), np.float64)


def _gelu(v: Float64) -> Float64:
    # erfc keeps the digits of 1 + erf(z) that cancel for negative z.
    return 0.5 * v * np.asarray(_erfc(-v / math.sqrt(2)), np.float64)


def _gelu_tanh(v: Float64) -> Float64:
    # 1 + tanh(z) = 2σ(2z), without the cancellation.
    return v * _sigmoid(2 * math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))


def _function(
    x: Operand,
    form: Callable[[Float64], Any],
    units: tuple[float, float],
    slope: None,
    arithmetic: Arithmetic,
    floor: float = 0.0,
    within: float = math.inf,
) -> Bounds:
    """A monotone activation: γ_units[0] of the result, units[1]·u where |x| < within, a floor."""
    operand = bounds_of(x, arithmetic)
    value, spread = monotone(operand, form)
    errors = []
    for kind, moved in zip(KINDS, spread, strict=True):
        low, high = operand.ends(kind)
        error = rounding(np.abs(value) + moved, arithmetic, units[0]) + floor
        inside = (low < within) & (high > -within)
        errors.append(error + np.where(inside, units[1] * arithmetic.value.unit, 0.0))
    return result(value, spread, (errors[0], errors[1]), arithmetic)


def _of_x(
    x: Operand,
    form: Callable[[Float64], Float64],
    units: tuple[float, float],
    slope: float,
    arithmetic: Arithmetic,
) -> Bounds:
    """An activation x·g(x) with its steepest slope: γ_units[0]·|f| + γ_units[1]·|x|."""
    operand = bounds_of(x, arithmetic)
    with np.errstate(all="ignore"):
        value = form(operand.value)
    errors, spread = [], []
    for kind in KINDS:
        radius = getattr(operand, kind)
        moved = slope * radius
        size = np.abs(operand.value) + radius
        error = rounding(np.abs(value) + moved, arithmetic, units[0])
        spread.append(moved)
        errors.append(error + rounding(size, arithmetic, units[1]))
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def _exponential(
    x: Operand,
    alpha: float,
    scale: float,
    inner: float,
    units: tuple[float, float],
    above: float,
    arithmetic: Arithmetic,
) -> Bounds:
    """The elu family, monotone: ``above`` units for positive x, ``units`` where x may be less."""
    if not alpha > 0:
        raise InputError("alpha", given=alpha, allowed="a positive number", clause="ADM-7")
    operand = bounds_of(x, arithmetic)

    def form(v: Float64) -> Float64:
        return scale * np.where(v > 0, v, alpha * np.expm1(np.minimum(v, 0) * inner))

    value, spread = monotone(operand, form)
    errors = []
    for kind, moved in zip(KINDS, spread, strict=True):
        low, high = operand.ends(kind)
        bend = rounding(np.abs(value) + moved, arithmetic, units[0])
        bend = bend + rounding(np.asarray(scale * alpha), arithmetic, units[1])
        straight = rounding(scale * np.abs(high), arithmetic, above) if above else 0.0
        errors.append(np.where(low < 0, bend, straight))
    return settled(operand, result(value, spread, (errors[0], errors[1]), arithmetic), errors)
