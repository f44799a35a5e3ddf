"""The numbers of the oracle: exact fractions, signed zeros, infinities, NaN, and one rounding.

Nothing here knows a machine float: a value is a sign and an exact magnitude, arithmetic is done on
``fractions.Fraction``, and :func:`round_to` alone decides what a binary format can hold.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

Kind = Literal["finite", "infinity", "nan"]


@dataclass(frozen=True)
class Number:
    """A real number, an infinity or a NaN, each with a sign; zero has one too (CONV-5).

    Attributes:
        negative: The sign.
        magnitude: Absolute value of a finite number, 0 for the others.
        kind: ``"finite"``, ``"infinity"`` or ``"nan"``.
    """

    negative: bool
    magnitude: Fraction
    kind: Kind = "finite"

    @property
    def is_nan(self) -> bool:
        """Whether this is a NaN, of either sign."""
        return self.kind == "nan"

    @property
    def is_infinite(self) -> bool:
        """Whether this is an infinity, of either sign."""
        return self.kind == "infinity"

    @property
    def exact(self) -> Fraction:
        """The value of a finite number; the two zeros are one here."""
        if self.kind != "finite":
            raise ArithmeticError(f"a {self.kind} has no fraction")
        return -self.magnitude if self.negative else self.magnitude

    def __neg__(self) -> Number:
        return Number(not self.negative, self.magnitude, self.kind)

    def __float__(self) -> float:
        """The same value as a Python float, for comparing and printing.

        Exact whenever the number is a value of binary64 or of something narrower.
        """
        size = float(self.magnitude) if self.kind == "finite" else float(self.kind)
        return math.copysign(size, -1.0 if self.negative else 1.0)


NAN = Number(False, Fraction(0), "nan")
INFINITY = Number(False, Fraction(0), "infinity")
ZERO = Number(False, Fraction(0))


def number(value: float | Fraction) -> Number:
    """The exact value of an int, a fraction, or a float (sign of zero and of NaN included)."""
    if isinstance(value, float):
        negative = math.copysign(1.0, value) < 0
        if math.isnan(value):
            return Number(negative, Fraction(0), "nan")
        if math.isinf(value):
            return Number(negative, Fraction(0), "infinity")
        return Number(negative, Fraction(abs(value)))
    return Number(value < 0, Fraction(abs(value)))


@dataclass(frozen=True)
class Binary:
    """A binary floating-point format with subnormals.

    Attributes:
        precision: Bits of the significand, the leading one included.
        emin: Exponent of the least normal value, 2^emin.
        emax: Exponent of the greatest values, 2^emax to just below 2^(emax + 1).
    """

    precision: int
    emin: int
    emax: int


FLOAT64 = Binary(53, -1022, 1023)
FLOAT32 = Binary(24, -126, 127)
BFLOAT16 = Binary(8, -126, 127)
FLOAT16 = Binary(11, -14, 15)

DTYPES: Mapping[str, Binary] = MappingProxyType(
    {"float32": FLOAT32, "bfloat16": BFLOAT16, "float16": FLOAT16}
)
"""The dtypes that a tensor may have, by their numpy names."""


@functools.cache
def power(exponent: int) -> Fraction:
    """Two to the exponent, exactly."""
    return Fraction(2) ** exponent


def floor_log2(magnitude: Fraction) -> int:
    """The exponent e with 2^e <= magnitude < 2^(e + 1); magnitude is positive."""
    guess = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    return guess if power(guess) <= magnitude else guess - 1


def nearest(magnitude: Fraction, precision: int, emin: int) -> Fraction:
    """Round to the nearest value of a binary format whose exponents have no upper end.

    ``round`` of a Fraction to an integer takes a tie to the even one, which is all that is needed:
    the significand in units of its last bit is such an integer, also below 2^emin.
    """
    if magnitude == 0:
        return magnitude
    unit = power(max(floor_log2(magnitude), emin) - precision + 1)
    return round(magnitude / unit) * unit


def round_to(value: Number, binary: Binary) -> Number:
    """Round to the nearest value of ``binary``, ties to even, overflow to infinity (CONV-1)."""
    if value.kind != "finite":
        return value
    rounded = nearest(value.magnitude, binary.precision, binary.emin)
    if rounded >= power(binary.emax + 1):
        return Number(value.negative, Fraction(0), "infinity")
    return Number(value.negative, rounded)


def rint(value: Number) -> Number:
    """Round to an integer, ties to the even one (CONV-3); a zero keeps the sign of the value."""
    if value.kind != "finite":
        return value
    return Number(value.negative, Fraction(round(value.magnitude)))
