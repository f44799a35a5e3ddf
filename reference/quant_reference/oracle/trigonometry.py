"""Trigonometric, hyperbolic and other functions of the table of ADM-5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

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


UNARY: Mapping[str, Callable[..., Ball]] = {
    **{name: _at_the_ends(ulps, formula) for name, (ulps, formula) in FORMULAS.items()},
    "cosh": _cosine_of_a_hyperbola,
    "sin": _wave(reals.sin),
    "cos": _wave(reals.cos),
}
"""Operation of one operand -> its ball."""
