"""Elementwise operations and activations, with the bounds of ADM-4, ADM-5 and ADM-7."""

from __future__ import annotations

from collections.abc import Callable
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
    times,
    unit,
)
from quant_reference.oracle.number import number, power, round_to

Formula = Callable[[Real], Real]
Error = Callable[[Machine, Real, Real, Real], Real]
"""From machine, greatest magnitude of the result, and the ends of x to the error."""


def constant(m: Machine, given: float) -> Ball:
    """A number in a program: exact if the dtype of values holds it, else off by γ_1 (ADM-1)."""
    value = Fraction(given)
    if round_to(number(value), m.values).exact == value:
        return Ball(value)
    off = rounding(1, abs(value), m.values)
    return Ball(value, off, off)


def scaled_sum(m: Machine, a: Ball, b: Ball, alpha: float = 1) -> Ball:
    """The sum a + alpha·b (ADM-4)."""
    factor = Fraction(alpha)
    value = a.value + factor * b.value
    spreads, errors = [], []
    for ra, rb in zip(a.radii, b.radii, strict=True):
        spread = ra + abs(factor) * rb
        error = rounding(1, abs(value) + spread, m.values)
        if abs(factor) != 1:
            error += rounding(3, abs(factor) * (abs(b.value) + rb), m.values)
        spreads.append(spread)
        errors.append(error)
    return finished(value, spreads, errors, m)


def multiplied(m: Machine, a: Ball, b: Ball) -> Ball:
    """The product a · b (ADM-4)."""
    value = a.value * b.value
    spreads = [
        times(abs(a.value), rb) + times(abs(b.value), ra) + times(ra, rb)
        for ra, rb in zip(a.radii, b.radii, strict=True)
    ]
    errors = [rounding(1, abs(value) + spread, m.values) for spread in spreads]
    return finished(value, spreads, errors, m)


def divided(m: Machine, a: Ball, b: Ball) -> Ball:
    """The quotient a / b (ADM-5)."""
    if b.value == 0:
        return Ball(INFINITY, INFINITY, INFINITY)
    value = a.value / b.value
    spreads = []
    for ra, rb in zip(a.radii, b.radii, strict=True):
        nearest = abs(b.value) - rb
        spreads.append((ra + abs(value) * rb) / nearest if nearest > 0 else INFINITY)
    errors = [rounding(5, abs(value) + spread, m.values) for spread in spreads]
    return finished(value, spreads, errors, m)


def negated(m: Machine, x: Ball) -> Ball:
    """Minus x: exact."""
    return Ball(-x.value, *x.radii)


def rounded(m: Machine, x: Ball, dtype: str) -> Ball:
    """A number in another dtype (ADM-4)."""
    target = Machine.named(dtype, dtype)
    held = round_to(number(x.value), target.values)
    errors = [
        ZERO
        if r == 0 and held.kind == "finite" and held.exact == x.value
        else rounding(1, abs(x.value) + r, target.values)
        for r in x.radii
    ]
    return finished(x.value, x.radii, errors, target)


def monotone(m: Machine, x: Ball, formula: Formula, error: Error) -> Ball:
    """A function that never falls; the spread is taken at the ends (ADM-5)."""
    value = formula(x.value)
    spreads, errors = [], []
    for radius in x.radii:
        low, high = ends(x, radius)
        spread = max(formula(high) - value, value - formula(low)) if radius else ZERO
        spread = INFINITY if infinite(radius) else spread
        spreads.append(spread)
        errors.append(error(m, abs(value) + spread, low, high))
    return finished(value, spreads, errors, m)


def sloped(m: Machine, x: Ball, formula: Formula, error: Error, slope: Fraction) -> Ball:
    """A function with a steepest slope (ADM-7)."""
    value = formula(x.value)
    spreads = [slope * radius for radius in x.radii]
    errors = [
        error(m, abs(value) + spread, *ends(x, radius))
        for radius, spread in zip(x.radii, spreads, strict=True)
    ]
    return finished(value, spreads, errors, m)


def none(m: Machine, size: Real, low: Real, high: Real) -> Real:
    """No rounding."""
    return ZERO


def units(count: int, of_x: int = 0, absolute: int | Fraction = 0, least: bool = False) -> Error:
    """γ_count of the result, γ_of_x of |x|, ``absolute`` u, and the least normal number if told."""

    def error(m: Machine, size: Real, low: Real, high: Real) -> Real:
        total = rounding(count, size, m.values) + absolute * unit(m.values)
        if of_x:
            total += rounding(of_x, max(abs(low), abs(high)), m.values)
        return total + (power(m.values.emin) if least else ZERO)

    return error


def clamped(m: Machine, x: Ball, low: float | None, high: float | None) -> Ball:
    """min(max(x, low), high): exact but for the constants (ADM-1, ADM-5)."""
    bounds = [None if b is None else constant(m, b) for b in (low, high)]

    def formula(v: Real) -> Real:
        v = v if bounds[0] is None else max(v, bounds[0].value)
        return v if bounds[1] is None else min(v, bounds[1].value)

    value = formula(x.value)
    radii = []
    for radius in x.radii:
        below, above = ends(x, radius)
        moved = max(formula(above) - value, value - formula(below))
        moved = INFINITY if infinite(radius) else moved
        for bound in bounds:
            if bound is not None and abs(value - bound.value) <= moved + bound.rigorous:
                moved += bound.rigorous
        radii.append(moved)
    return Ball(value, radii[0], radii[1])


def raised(m: Machine, x: Ball, exponent: float) -> Ball:
    """A power with a constant exponent (ADM-5)."""
    p = Fraction(exponent)
    value = reals.power(x.value, p)
    spreads = []
    for radius in x.radii:
        low, high = ends(x, radius)
        both = low < 0 < high
        if radius and ((both and p < 0) or (low < 0 and p.denominator != 1)):
            spreads.append(INFINITY)
            continue
        at = [reals.power(end, p) for end in (low, high)]
        if both and p % 2 == 0:
            at.append(ZERO)
        spreads.append(max(abs(a - value) for a in at) if radius else ZERO)
    errors = [rounding(32, abs(value) + spread, m.values) for spread in spreads]
    return finished(value, spreads, errors, m)


def inverse_root(m: Machine, x: Ball) -> Ball:
    """1/√x, falling (ADM-5)."""
    value = 1 / reals.sqrt(x.value)
    spreads = []
    for radius in x.radii:
        low, high = ends(x, radius)
        nearest = 1 / reals.sqrt(low) - value if low > 0 else INFINITY
        spreads.append(max(nearest, value - 1 / reals.sqrt(high)) if radius else ZERO)
    errors = [rounding(12, abs(value) + spread, m.values) for spread in spreads]
    return finished(value, spreads, errors, m)
