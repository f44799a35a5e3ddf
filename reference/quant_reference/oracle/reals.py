"""Real functions of fractions to a hundred digits: the oracle's only numbers that are not exact."""

from __future__ import annotations

import decimal
import functools
from decimal import Decimal
from fractions import Fraction

DIGITS = 120
_CONTEXT = decimal.Context(prec=DIGITS)

GREATEST_EXPONENT = 10**5
"""Beyond it e^x is taken at this exponent: far beyond every format in either direction."""


def shortened(value: Fraction) -> Fraction:
    """The value to 300 bits, so that fractions do not grow from step to step."""
    if value == 0:
        return value
    excess = 300 - value.numerator.bit_length() + value.denominator.bit_length()
    unit = Fraction(2) ** -excess
    return round(value / unit) * unit


def exp(x: Fraction) -> Fraction:
    """The exponential function."""
    return _of(_decimal(_limited(x)).exp(_CONTEXT))


def log(x: Fraction) -> Fraction:
    """The natural logarithm of a positive number."""
    return _of(_decimal(x).ln(_CONTEXT))


def sqrt(x: Fraction) -> Fraction:
    """The square root of a number that is not negative."""
    return _of(_decimal(x).sqrt(_CONTEXT))


def power(x: Fraction, exponent: Fraction) -> Fraction:
    """Powers: of any number if the exponent is whole, else of a positive one or 0."""
    if exponent.denominator == 1:
        return shortened(x**exponent.numerator)
    return exp(exponent * log(x)) if x else Fraction(0)


def tanh(x: Fraction) -> Fraction:
    """The hyperbolic tangent."""
    fading = exp(-2 * abs(x))
    size = (1 - fading) / (1 + fading)
    return shortened(size if x >= 0 else -size)


def sigmoid(x: Fraction) -> Fraction:
    """1/(1 + e^-x)."""
    fading = exp(-abs(x))
    return shortened((1 if x >= 0 else fading) / (1 + fading))


def softplus(x: Fraction) -> Fraction:
    """log(1 + e^x)."""
    return shortened(max(x, Fraction(0)) + log(1 + exp(-abs(x))))


def erf(x: Fraction) -> Fraction:
    """The error function: 2/√π · e^(−x²) · Σ 2^k x^(2k+1) / (2k+1)!!, all terms of one sign."""
    if abs(x) > 14:  # within 1e-86 of ±1
        return Fraction(1 if x > 0 else -1)
    size = _decimal(abs(x))
    with decimal.localcontext(_CONTEXT):
        term, total, k = size, Decimal(0), 0
        while term > total * Decimal(10) ** -DIGITS:
            total += term
            k += 1
            term = term * 2 * size * size / (2 * k + 1)
        found = 2 / _pi().sqrt() * (-size * size).exp() * total
    return _of(found) if x >= 0 else -_of(found)


def sin(x: Fraction) -> Fraction:
    """The sine: its series, at a place within a turn of 0."""
    turns = round(x / (2 * pi()))
    place = x - turns * 2 * pi()
    with decimal.localcontext(_CONTEXT):
        size = _decimal(place)
        term, total, k = size, Decimal(0), 1
        while abs(term) > Decimal(10) ** -DIGITS:
            total += term
            term = -term * size * size / ((k + 1) * (k + 2))
            k += 2
    return _of(total)


def cos(x: Fraction) -> Fraction:
    """The cosine."""
    return sin(x + pi() / 2)


def atan(x: Fraction) -> Fraction:
    """The arctangent: its series, of an angle that is halved until it is small."""
    halvings = 0
    while abs(x) > Fraction(1, 8):
        x = shortened(x / (1 + sqrt(1 + x * x)))
        halvings += 1
    with decimal.localcontext(_CONTEXT):
        size = _decimal(x)
        term, total, k = size, Decimal(0), 1
        while abs(term) > Decimal(10) ** -DIGITS:
            total += term / k
            term = -term * size * size
            k += 2
    return _of(total) * Fraction(2) ** halvings


@functools.cache
def _pi() -> Decimal:
    """Machin's formula: 16·arctan(1/5) − 4·arctan(1/239)."""

    def arctan_inverse(n: int) -> Fraction:
        total, k = Fraction(0), 0
        while n ** (2 * k + 1) < 10 ** (DIGITS + 5):
            total += Fraction((-1) ** k, (2 * k + 1) * n ** (2 * k + 1))
            k += 1
        return total

    return _decimal(16 * arctan_inverse(5) - 4 * arctan_inverse(239))


def pi() -> Fraction:
    """The circle's ratio."""
    return _of(_pi())


def _limited(x: Fraction) -> Fraction:
    return max(Fraction(-GREATEST_EXPONENT), min(x, Fraction(GREATEST_EXPONENT)))


def _decimal(x: Fraction) -> Decimal:
    return _CONTEXT.divide(Decimal(x.numerator), Decimal(x.denominator))


def _of(x: Decimal) -> Fraction:
    return shortened(Fraction(x))
