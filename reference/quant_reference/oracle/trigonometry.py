"""Trigonometric, hyperbolic and other functions of the table of ADM-5."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import product

from quant_reference.oracle import reals
from quant_reference.oracle.balls import (
    INFINITY,
    ZERO,
    Ball,
    Machine,
    Real,
    ends,
    finished,
    infinite,
    rounding,
)

Formula = Callable[[Real], Real]
HALF = Fraction(1, 2)
LOG2 = reals.log(Fraction(2))
LOG10 = reals.log(Fraction(10))


def _asin(v: Real) -> Real:
    return reals.atan(v / reals.sqrt(1 - v * v))


def _asinh(v: Real) -> Real:
    size = reals.log(abs(v) + reals.sqrt(v * v + 1))
    return size if v >= 0 else -size


def _cosh(v: Real) -> Real:
    return (reals.exp(v) + reals.exp(-v)) / 2


FORMULAS: Mapping[str, tuple[int, Formula]] = {
    "asin": (4, _asin),
    "acos": (4, lambda v: reals.pi() / 2 - _asin(v)),
    "atan": (5, reals.atan),
    "sinh": (4, lambda v: (reals.exp(v) - reals.exp(-v)) / 2),
    "asinh": (4, _asinh),
    "acosh": (4, lambda v: reals.log(v + reals.sqrt(v * v - 1))),
    "atanh": (5, lambda v: HALF * reals.log((1 + v) / (1 - v))),
    "exp2": (3, lambda v: reals.exp(v * LOG2)),
    "expm1": (3, lambda v: reals.exp(v) - 1),
    "log1p": (2, lambda v: reals.log(1 + v)),
    "log2": (3, lambda v: reals.log(v) / LOG2),
    "log10": (3, lambda v: reals.log(v) / LOG10),
}
"""Function -> its ulp and its formula; monotone wherever it is defined."""


def _at_the_ends(ulps: int, formula: Formula) -> Callable[[Machine, Ball], Ball]:
    def image(m: Machine, x: Ball) -> Ball:
        value = formula(x.value)
        spreads = []
        for radius in x.radii:
            if infinite(radius):
                spreads.append(INFINITY)
            elif radius:
                spreads.append(max(abs(formula(end) - value) for end in ends(x, radius)))
            else:
                spreads.append(ZERO)
        errors = [rounding(2 * ulps, abs(value) + spread, m.values) for spread in spreads]
        return finished(value, spreads, errors, m)

    return image


def _cosine_of_a_hyperbola(m: Machine, x: Ball) -> Ball:
    return _at_the_ends(4, _cosh)(m, Ball(abs(x.value), *x.radii))


def _wave(formula: Formula) -> Callable[[Machine, Ball], Ball]:
    def image(m: Machine, x: Ball) -> Ball:
        value = formula(x.value)
        spreads = [INFINITY if infinite(radius) else min(radius, Fraction(2)) for radius in x.radii]
        errors = [
            rounding(8, min(abs(value) + spread, Fraction(1)), m.values) for spread in spreads
        ]
        return finished(value, spreads, errors, m)

    return image


def _tangent(m: Machine, x: Ball) -> Ball:
    """Between two poles it grows; a pole is at each odd multiple of π/2."""

    def formula(v: Real) -> Real:
        return reals.sin(v) / reals.cos(v)

    def branch(v: Real) -> int:
        return math.floor(v / reals.pi() + HALF)

    value = formula(x.value)
    spreads: list[Real] = []
    for radius in x.radii:
        low, high = ends(x, radius) if not infinite(radius) else (ZERO, ZERO)
        if infinite(radius) or branch(low) != branch(high):
            spreads.append(INFINITY)
        else:
            spreads.append(max(abs(formula(end) - value) for end in (low, high)))
    errors = [rounding(10, abs(value) + spread, m.values) for spread in spreads]
    return finished(value, spreads, errors, m)


def _angle(y: Real, x: Real) -> Real:
    """Of the point (x, y), from −π to π."""
    if x > 0:
        return reals.atan(y / x)
    if x == 0:
        return (reals.pi() / 2) * ((y > 0) - (y < 0))
    return reals.atan(y / x) + (reals.pi() if y >= 0 else -reals.pi())


def angle(m: Machine, y: Ball, x: Ball) -> Ball:
    """atan2: at the corners, unless the origin or the cut is among what y and x may be."""
    value = _angle(y.value, x.value)
    spreads: list[Real] = []
    for which in (0, 1):
        ry, rx = y.radii[which], x.radii[which]
        if infinite(ry) or infinite(rx):
            spreads.append(INFINITY)
        elif ry == 0 and rx == 0:
            spreads.append(ZERO)
        elif abs(y.value) <= ry and x.value <= rx:
            spreads.append(abs(value) + reals.pi())
        else:
            corners = product(ends(y, ry), ends(x, rx))
            spreads.append(max(abs(_angle(b, a) - value) for b, a in corners))
    errors = [rounding(12, min(abs(value) + s, reals.pi()), m.values) for s in spreads]
    return finished(value, spreads, errors, m)


UNARY: Mapping[str, Callable[..., Ball]] = {
    **{name: _at_the_ends(ulps, formula) for name, (ulps, formula) in FORMULAS.items()},
    "cosh": _cosine_of_a_hyperbola,
    "tan": _tangent,
    "sin": _wave(reals.sin),
    "cos": _wave(reals.cos),
}
"""Operation of one operand -> its ball."""
