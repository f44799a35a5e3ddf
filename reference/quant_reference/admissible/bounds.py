"""Bounds: an exact value and how far a computed one may be from it (ADM-1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant_reference._arrays import Array
from quant_reference.admissible.arithmetic import FLOAT64_UNIT, Arithmetic, gamma
from quant_reference.errors import InputError

Float64 = NDArray[np.float64]

# Radii are float64 sums of non-negative terms, so their own relative error is below n·2^-53 for n
# terms, less than this for n < 2^26. It also covers the rounding of an interval's ends: a radius
# that is not zero is at least one rounding of its value, and 2^-26·2^-24 > 2^-53.
SLACK = 1 + 2.0**-26

# float64's own error in an elementwise value: every formula here is evaluated in a form without
# cancellation, by at most eight operations and library functions of one ulp (two units) each.
OWN_ERROR = 16 * FLOAT64_UNIT


@dataclass(frozen=True, eq=False)
class Bounds:
    """Where the result of correct arithmetic may lie, element by element (ADM-1).

    Attributes:
        value: The exact value, as computed in float64.
        rigorous: ``|computed − value| <= rigorous`` for every order of operations; float64.
        probable: ``|computed − value| <= probable`` but with probability 1e-9 per operation and
            tensor; float64, never more than rigorous.
    """

    value: Float64
    rigorous: Float64
    probable: Float64

    @classmethod
    def exact(cls, array: object) -> Bounds:
        """Bounds of a tensor that is known to the bit, such as dequantized codes.

        Args:
            array: Any shape and numeric dtype.

        Raises:
            InputError: Not an array of numbers.
        """
        given = np.asarray(array)
        if given.dtype.kind in "OSUMmc":
            raise InputError(
                "operand", given=given.dtype, allowed="an array of real numbers", clause="ADM-1"
            )
        value = given.astype(np.float64)
        zeros = np.zeros_like(value)
        return cls(value, zeros, zeros)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.value.shape

    @property
    def is_exact(self) -> bool:
        """Whether every radius is zero."""
        return not self.rigorous.any()

    def map(self, function: Callable[[Float64], Array]) -> Bounds:
        """Apply a function that only moves elements: a reshape, a transpose, a slice, a gather."""
        return Bounds(function(self.value), function(self.rigorous), function(self.probable))

    def ends(self, kind: str) -> tuple[Float64, Float64]:
        """Least and greatest value under one bound, ``"rigorous"`` or ``"probable"``."""
        radius: Float64 = getattr(self, kind)
        with np.errstate(invalid="ignore"):
            low, high = self.value - radius, self.value + radius
        # An exact infinity less an infinite radius is a NaN: nothing is known there.
        return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


Operand = Bounds | Array | float
Pair = tuple[Float64, Float64]
"""Something once for the rigorous and once for the probable bound."""


def bounds_of(operand: object, arithmetic: Arithmetic) -> Bounds:
    """Bounds of an operand: as they are, exact for an array, a rounded constant for a number.

    A number in a program is a constant that the target holds in its own dtype or wider, so it may
    be off by a rounding (ADM-4) unless the dtype of values holds it.
    """
    if isinstance(operand, Bounds):
        return operand
    if isinstance(operand, int | float) and not isinstance(operand, bool):
        value = np.float64(operand)
        with np.errstate(over="ignore"):
            held = np.float64(arithmetic.value.dtype.type(operand))
        off = (
            0.0 if held == value or not np.isfinite(value) else rounding(np.abs(value), arithmetic)
        )
        return Bounds(np.asarray(value), np.asarray(off, float), np.asarray(off, float))
    return Bounds.exact(operand)


def rounding(magnitude: Float64, arithmetic: Arithmetic, units: float = 1) -> Float64:
    """Error of ``units`` roundings of results of at most this magnitude (ADM-4).

    γ_units, so that errors of errors are counted, and the tiny term of each underflow.
    """
    factor = gamma(units, arithmetic.value.unit)
    return np.asarray(factor * magnitude + units * arithmetic.value.tiny, np.float64)


def times(magnitude: Float64, radius: Float64) -> Float64:
    """Product with a radius; a radius of zero is zero even beside an infinity."""
    with np.errstate(invalid="ignore"):
        return np.where(radius == 0, 0.0, magnitude * radius)


def result(
    value: Array,
    spread: Pair,
    error: Pair | Float64,
    arithmetic: Arithmetic,
    *,
    rounded_once: bool = False,
) -> Bounds:
    """Assemble the bounds of an operation's result.

    Args:
        value: The exact value in float64; 16 units of float64 are added for its own error.
        spread: What the radii of the operands make of the result.
        error: What the operation's own roundings add; one array where both bounds have the same.
        arithmetic: Its range decides what overflows.
        rounded_once: Whether the operation rounds its exact result once, to the nearest value:
            then it overflows only where that result is half a step beyond the greatest value.

    Returns:
        Bounds in which nothing is claimed (an infinite radius) where the value is NaN, where a
        radius is NaN, or where a finite result may overflow (ADM-6). An infinite value is exact
        where it comes from operands that are finite or exact.
    """
    value = np.asarray(value, np.float64)
    errors = error if isinstance(error, tuple) else (error, error)
    radii = []
    for moved, made in zip(spread, errors, strict=True):
        with np.errstate(invalid="ignore", over="ignore"):
            radius = (moved + made) * SLACK + OWN_ERROR * np.abs(value)
        radius = np.where(np.isinf(value) & np.isfinite(moved), 0.0, radius)
        # A quarter of the unit is less than half a step at the greatest value.
        limit = arithmetic.value.greatest * (1 + rounded_once * arithmetic.value.unit / 4)
        reach = np.abs(value) + (moved if rounded_once else radius)
        lost = np.isnan(radius) | np.isnan(value)
        lost |= np.isfinite(value) & ~(reach <= limit)
        radii.append(np.broadcast_to(np.where(lost, np.inf, radius), value.shape))
    return Bounds(value, radii[0], np.minimum(radii[1], radii[0]))


def monotone(operand: Bounds, function: Callable[[Float64], Array]) -> tuple[Float64, Pair]:
    """Value of a monotone function and the spread that the operand's radii make of it.

    The function is evaluated at the ends of the interval; where it is not defined there, its NaN
    becomes an infinite radius in :func:`result`.
    """
    with np.errstate(all="ignore"):
        value = np.asarray(function(operand.value), np.float64)
        if operand.is_exact:
            return value, (np.zeros_like(value), np.zeros_like(value))
        spreads = []
        for kind in ("rigorous", "probable"):
            radius: Float64 = getattr(operand, kind)
            low, high = (np.asarray(function(end), np.float64) for end in operand.ends(kind))
            moved = np.maximum(np.abs(high - value), np.abs(value - low))
            moved = np.where((radius == 0) | (low == high), 0.0, moved)
            # What is not known may be a NaN, which no function bounds.
            spreads.append(np.where(np.isinf(radius), np.inf, moved))
    return value, (spreads[0], spreads[1])
