"""Arithmetic and order of :class:`Number`: exact, then rounded once (CONV-2).

Results follow IEEE 754: zeros carry the sign it gives them, invalid operations give NaN. A NaN
operand is passed on with its sign, the first one if there are two; a NaN that an operation creates
is positive.
"""

from __future__ import annotations

import math
from fractions import Fraction

from quant_reference.oracle.number import (
    INFINITY,
    NAN,
    Binary,
    Number,
    floor_log2,
    number,
    power,
    round_to,
)


def add(a: Number, b: Number, binary: Binary) -> Number:
    """Sum a + b, rounded once to ``binary``."""
    if a.is_nan or b.is_nan:
        return a if a.is_nan else b
    if a.is_infinite or b.is_infinite:
        if a.is_infinite and b.is_infinite and a.negative != b.negative:
            return NAN
        return a if a.is_infinite else b
    total = a.exact + b.exact
    if total == 0:  # +0, unless both were negative
        return Number(a.negative and b.negative, Fraction(0))
    return round_to(number(total), binary)


def subtract(a: Number, b: Number, binary: Binary) -> Number:
    """Difference a - b, rounded once to ``binary``."""
    if a.is_nan or b.is_nan:
        return a if a.is_nan else b
    return add(a, -b, binary)


def multiply(a: Number, b: Number, binary: Binary) -> Number:
    """Product a · b, rounded once to ``binary``."""
    if a.is_nan or b.is_nan:
        return a if a.is_nan else b
    negative = a.negative != b.negative
    if a.is_infinite or b.is_infinite:
        if is_zero(a) or is_zero(b):
            return NAN
        return Number(negative, Fraction(0), "infinity")
    return round_to(Number(negative, a.magnitude * b.magnitude), binary)


def divide(a: Number, b: Number, binary: Binary) -> Number:
    """Quotient a / b, rounded once to ``binary``."""
    if a.is_nan or b.is_nan:
        return a if a.is_nan else b
    negative = a.negative != b.negative
    if (a.is_infinite and b.is_infinite) or (is_zero(a) and is_zero(b)):
        return NAN
    if a.is_infinite or is_zero(b):
        return Number(negative, Fraction(0), "infinity")
    if b.is_infinite:
        return Number(negative, Fraction(0))
    return round_to(Number(negative, a.magnitude / b.magnitude), binary)


def square_root(a: Number, binary: Binary) -> Number:
    """The square root, rounded once to ``binary``; a zero keeps its sign, others have none."""
    if a.is_nan or is_zero(a):
        return a
    if a.negative:
        return NAN
    if a.is_infinite:
        return a
    # The integer root of a · 4^shift has more bits than the format. Where it is not exact, the
    # true root lies strictly between it and the next integer: any value between rounds alike.
    shift = binary.precision + abs(floor_log2(a.magnitude)) + 2
    scaled = a.magnitude * power(2 * shift)
    root = math.isqrt(math.floor(scaled))
    between = root if root * root == scaled else root + Fraction(1, 2)
    return round_to(Number(False, between / power(shift)), binary)


def is_zero(a: Number) -> bool:
    """Whether this is a zero of either sign."""
    return a.kind == "finite" and a.magnitude == 0


def less(a: Number, b: Number) -> bool:
    """Whether a < b; never with a NaN, and the two zeros are equal."""
    if a.is_nan or b.is_nan:
        return False
    if a.is_infinite or b.is_infinite:
        return a != b and (a == -INFINITY or b == INFINITY)
    return a.exact < b.exact


def least(a: Number, b: Number) -> Number:
    """The lesser one, or NaN if either is NaN."""
    if a.is_nan or b.is_nan:
        return NAN
    return b if less(b, a) else a


def greatest(a: Number, b: Number) -> Number:
    """The greater one, or NaN if either is NaN."""
    if a.is_nan or b.is_nan:
        return NAN
    return b if less(a, b) else a


def clamp(a: Number, low: Number, high: Number) -> Number:
    """min(max(a, low), high); a NaN stays the NaN it is, sign included (CONV-3)."""
    return a if a.is_nan else least(greatest(a, low), high)


def inside(a: Number, low: Number, high: Number) -> bool:
    """Whether low <= a <= high; never for a NaN."""
    return not (a.is_nan or less(a, low) or less(high, a))
