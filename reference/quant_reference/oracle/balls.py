"""Bounds one element at a time: a value, two radii, and the roundings that widen them (ADM-1)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from quant_reference.oracle import reals
from quant_reference.oracle.number import FLOAT16, FLOAT32, Binary, power

Real = Fraction

ZERO = Fraction(0)
INFINITY = Fraction(2) ** 4096
"""Stands for infinity, in a value or in a radius: what is as large says that nothing is known."""


def infinite(value: Real) -> bool:
    """Whether a value, or what came of one, is an infinity."""
    return abs(value) >= INFINITY / 2**1024


@dataclass(frozen=True)
class Machine:
    """The arithmetic of ADM-1: formats of values and of accumulation."""

    values: Binary = FLOAT32
    sums: Binary = FLOAT32

    @classmethod
    def named(cls, values: str, accumulate: str) -> Machine:
        """By the names of the two dtypes."""
        formats = {"float32": FLOAT32, "float16": FLOAT16}
        return cls(formats[values], formats[accumulate])


def unit(binary: Binary) -> Fraction:
    """Unit roundoff u."""
    return power(-binary.precision)


def tiny(binary: Binary) -> Fraction:
    """Half the distance of two subnormals, t of ADM-4."""
    return power(binary.emin - binary.precision)


def greatest(binary: Binary) -> Fraction:
    """Greatest finite number."""
    return (2 - power(1 - binary.precision)) * power(binary.emax)


def gamma(count: Fraction | int, binary: Binary) -> Real:
    """γ_n (ADM-2)."""
    total = count * unit(binary)
    return total / (1 - total) if total < 1 else INFINITY


@functools.cache
def gamma_probable(count: int, binary: Binary, elements: int) -> Real:
    """γ̃_n(λ) (ADM-3)."""
    u = unit(binary)
    events = Fraction(2 * count * elements) / Fraction(1, 10**9)
    likelihood = reals.sqrt(2 * reals.log(events)) / (1 - u)
    exponent = likelihood * reals.sqrt(Fraction(count)) * u + count * u * u / (1 - u)
    return min(reals.exp(exponent) - 1, gamma(count, binary))


@dataclass(frozen=True)
class Ball:
    """One element of bounds (ADM-1)."""

    value: Real
    rigorous: Real = ZERO
    probable: Real = ZERO

    @property
    def radii(self) -> tuple[Real, Real]:
        """Both radii."""
        return self.rigorous, self.probable


@dataclass(frozen=True)
class Tensor:
    """Balls in C order, and a shape."""

    shape: tuple[int, ...]
    items: tuple[Ball, ...]

    def at(self, place: Sequence[int]) -> Ball:
        """The element at a place; there is none outside."""
        flat = 0
        for index, extent in zip(place, self.shape, strict=True):
            flat = flat * extent + index
        return self.items[flat]

    def reshaped(self, shape: Sequence[int]) -> Tensor:
        """The same elements in another shape, in which one extent may be −1."""
        known = math.prod(n for n in shape if n != -1)
        return Tensor(tuple(len(self.items) // known if n == -1 else n for n in shape), self.items)


def tensor(shape: Sequence[int], item: Callable[[tuple[int, ...]], Ball]) -> Tensor:
    """A tensor from what is at each place."""
    return Tensor(tuple(shape), tuple(item(place) for place in places(shape)))


def places(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every place of a shape, in C order."""
    return product(*(range(n) for n in shape))


def times(size: Real, radius: Real) -> Real:
    """A product with a radius; of nothing is nothing."""
    return ZERO if radius == 0 or size == 0 else size * radius


def rounding(count: Fraction | int, magnitude: Real, binary: Binary) -> Real:
    """Error of some roundings (ADM-4)."""
    return times(magnitude, gamma(count, binary)) + count * tiny(binary)


def finished(value: Real, spread: Sequence[Real], error: Sequence[Real], machine: Machine) -> Ball:
    """A ball from what its operands and its roundings make of it (ADM-1, ADM-6)."""
    radii = []
    for moved, made in zip(spread, error, strict=True):
        radius = reals.shortened(moved + made)
        if infinite(value):
            radius = INFINITY if infinite(moved) else ZERO
        elif abs(value) + radius > greatest(machine.values):
            radius = INFINITY
        radii.append(radius)
    return Ball(reals.shortened(value), radii[0], min(radii))


def ends(x: Ball, radius: Real) -> tuple[Real, Real]:
    """Least and greatest value of a ball under one of its radii."""
    return x.value - radius, x.value + radius
