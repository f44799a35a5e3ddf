"""Activations with the bounds of ADM-7, and the tables of elementwise operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from quant_reference.oracle import reals, selections, trigonometry
from quant_reference.oracle.balls import (
    ZERO,
    Ball,
    Machine,
    Real,
    Tensor,
    ends,
    finished,
    rounding,
    tensor,
    unit,
)
from quant_reference.oracle.functions import (
    Error,
    clamped,
    divided,
    inverse_root,
    monotone,
    multiplied,
    negated,
    raised,
    rounded,
    scaled_sum,
    sloped,
    units,
)

SELU_ALPHA = Fraction(1.6732632423543772848170429916717)
SELU_SCALE = Fraction(1.0507009873554804934193349852946)


def bent(below: int, of_alpha: int, alpha: Fraction, above: int = 0) -> Error:
    """The elu family: γ_below·|f| + γ_of_alpha·α where x may be negative, else γ_above·|f|."""

    def error(m: Machine, size: Real, low: Real, high: Real) -> Real:
        if low < 0:
            return rounding(below, size, m.values) + rounding(of_alpha, alpha, m.values)
        return rounding(above, SELU_SCALE * abs(high), m.values) if above else ZERO

    return error


def half_sigmoid(x: Real) -> Real:
    """min(max(x + 3, 0), 6)/6."""
    return min(max(x + 3, ZERO), Fraction(6)) / 6


def hardsigmoid_error(m: Machine, size: Real, low: Real, high: Real) -> Real:
    """γ_8·f, and 3u where |x| < 3."""
    inside = low < 3 and high > -3
    return rounding(8, size, m.values) + (3 * unit(m.values) if inside else ZERO)


def hardswish(m: Machine, x: Ball) -> Ball:
    """x·hardsigmoid(x) (ADM-7)."""
    value = x.value * half_sigmoid(x.value)
    spreads, errors = [], []
    for radius in x.radii:
        low, high = ends(x, radius)
        spread = ZERO if high <= -3 else Fraction(3, 2) * radius
        error = rounding(9, abs(value) + spread, m.values)
        if low < 3 and high > -3:
            reach = min(max(abs(low), abs(high)), Fraction(3))
            error += rounding(3, reach, m.values)
        spreads.append(spread)
        errors.append(ZERO if high <= -3 else error)
    return finished(value, spreads, errors, m)


def gelu(m: Machine, x: Ball, approximate: str = "none") -> Ball:
    """Both forms (ADM-7)."""
    root = reals.sqrt(Fraction(2))

    def by_erf(v: Real) -> Real:
        return v / 2 * (1 + reals.erf(v / root))

    def by_tanh(v: Real) -> Real:
        inner = reals.sqrt(2 / reals.pi()) * (v + Fraction(0.044715) * v**3)
        return v / 2 * (1 + reals.tanh(inner))

    formula = by_tanh if approximate == "tanh" else by_erf
    return sloped(m, x, formula, units(3, 19), Fraction(113, 100))


def softplus(m: Machine, x: Ball, beta: float = 1.0, threshold: float = 20.0) -> Ball:
    """log(1 + e^(βx))/β (ADM-7)."""
    b = Fraction(beta)
    return monotone(m, x, lambda v: reals.softplus(b * v) / b, units(14, absolute=9 / b))


def elu(m: Machine, x: Ball, alpha: float = 1.0) -> Ball:
    """x, or α(e^x − 1) (ADM-7)."""
    a = Fraction(alpha)
    return monotone(m, x, lambda v: v if v > 0 else a * (reals.exp(v) - 1), bent(9, 8, a))


def celu(m: Machine, x: Ball, alpha: float = 1.0) -> Ball:
    """x, or α(e^(x/α) − 1) (ADM-7)."""
    a = Fraction(alpha)
    return monotone(m, x, lambda v: v if v > 0 else a * (reals.exp(v / a) - 1), bent(9, 10, a))


def selu(m: Machine, x: Ball) -> Ball:
    """λx, or λα(e^x − 1) (ADM-7)."""
    a, scale = SELU_ALPHA, SELU_SCALE
    return monotone(
        m,
        x,
        lambda v: scale * (v if v > 0 else a * (reals.exp(v) - 1)),
        bent(11, 8, scale * a, 3),
    )


def leaky_relu(m: Machine, x: Ball, negative_slope: float = 0.01) -> Ball:
    """x, or slope·x (ADM-7)."""
    slope = Fraction(negative_slope)

    def error(m: Machine, size: Real, low: Real, high: Real) -> Real:
        return rounding(3, slope * abs(low), m.values) if low < 0 else ZERO

    return monotone(m, x, lambda v: v if v > 0 else slope * v, error)


def silu(v: Real) -> Real:
    """x·σ(x)."""
    return v * reals.sigmoid(v)


def mish(v: Real) -> Real:
    """x·tanh(log(1 + e^x))."""
    return v * reals.tanh(reals.softplus(v))


UNARY: Mapping[str, Callable[..., Ball]] = {
    "neg": negated,
    "round_to": rounded,
    "relu": lambda m, x: clamped(m, x, 0, None),
    "relu6": lambda m, x: clamped(m, x, 0, 6),
    "clamp": lambda m, x, min=None, max=None: clamped(m, x, min, max),
    "hardtanh": lambda m, x, min_val=-1.0, max_val=1.0: clamped(m, x, min_val, max_val),
    "leaky_relu": leaky_relu,
    "exp": lambda m, x: monotone(m, x, reals.exp, units(6)),
    "log": lambda m, x: monotone(m, x, reals.log, units(6)),
    "sqrt": lambda m, x: monotone(m, x, reals.sqrt, units(6)),
    "tanh": lambda m, x: monotone(m, x, reals.tanh, units(10)),
    "erf": lambda m, x: monotone(m, x, reals.erf, units(32)),
    "rsqrt": inverse_root,
    **trigonometry.UNARY,
    "pow": raised,
    "sigmoid": lambda m, x: monotone(m, x, reals.sigmoid, units(13, absolute=6, least=True)),
    "silu": lambda m, x: sloped(m, x, silu, units(14, 6), Fraction(11, 10)),
    "softplus": softplus,
    "logsigmoid": lambda m, x: negated(m, softplus(m, negated(m, x))),
    "mish": lambda m, x: sloped(m, x, mish, units(3, 25), Fraction(109, 100)),
    "gelu": gelu,
    "hardsigmoid": lambda m, x: monotone(m, x, half_sigmoid, hardsigmoid_error),
    "hardswish": hardswish,
    "elu": elu,
    "celu": celu,
    "selu": selu,
    **selections.UNARY,
}
"""Operation of one operand -> its ball from machine, ball and attributes."""

BINARY: Mapping[str, Callable[..., Ball]] = {
    "add": scaled_sum,
    "sub": lambda m, a, b, alpha=1: scaled_sum(m, a, negated(m, b), alpha),
    "mul": multiplied,
    "div": divided,
    "atan2": trigonometry.angle,
    **selections.BINARY,
}
"""Operation of two operands, broadcast against each other."""


def elementwise(m: Machine, op: str, x: Tensor, attributes: Mapping[str, Any]) -> Tensor:
    """An operation of one operand on a tensor."""
    return tensor(x.shape, lambda place: UNARY[op](m, x.at(place), **attributes))


def binary(m: Machine, op: str, a: Tensor, b: Tensor, attributes: Mapping[str, Any]) -> Tensor:
    """An operation of two tensors that are broadcast against each other."""
    rank = max(len(a.shape), len(b.shape))
    pair = [t.reshaped((1,) * (rank - len(t.shape)) + t.shape) for t in (a, b)]
    shape = [max(n) for n in zip(pair[0].shape, pair[1].shape, strict=True)]

    def item(place: tuple[int, ...]) -> Ball:
        own = [
            t.at([0 if n == 1 else i for i, n in zip(place, t.shape, strict=True)]) for t in pair
        ]
        return BINARY[op](m, own[0], own[1], **attributes)

    return tensor(shape, item)
