"""Comparisons, selections and whole numbers on balls: exact (ADM-5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

from quant_reference.oracle.balls import (
    INFINITY,
    ZERO,
    Ball,
    Machine,
    Real,
    Tensor,
    ends,
    infinite,
    tensor,
)

ONE = Fraction(1)


def truncated(v: Real) -> Real:
    """Without its fraction."""
    return Fraction(math.trunc(v))


def signum(v: Real) -> Real:
    """−1, 0 or 1."""
    return Fraction((v > 0) - (v < 0))


def whole(function: Callable[[Real], Real]) -> Callable[[Machine, Ball], Ball]:
    """A monotone function without a rounding error."""

    def image(m: Machine, x: Ball) -> Ball:
        value = function(x.value)
        return _around(value, [[function(e) for e in ends(x, r)] for r in x.radii], [x])

    return image


def magnitude(m: Machine, x: Ball) -> Ball:
    """|x|."""
    return Ball(abs(x.value), x.rigorous, x.probable)


UNARY: Mapping[str, Callable[..., Ball]] = {
    "floor": whole(lambda v: Fraction(math.floor(v))),
    "ceil": whole(lambda v: Fraction(math.ceil(v))),
    "trunc": whole(truncated),
    "round": whole(lambda v: Fraction(round(v))),
    "sign": whole(signum),
    "abs": magnitude,
    "logical_not": lambda m, x: _logical(lambda a: not a, x),
}
"""Operation of one operand -> its ball."""

RELATIONS: Mapping[str, Callable[[Real, Real], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}

CONNECTIVES: Mapping[str, Callable[..., bool]] = {
    "logical_and": lambda a, b: a and b,
    "logical_or": lambda a, b: a or b,
    "logical_xor": lambda a, b: a != b,
}


def _compared(relation: Callable[[Real, Real], bool]) -> Callable[..., Ball]:
    """A relation that can come out both ways somewhere in the two intervals has a radius of 1."""

    def compare(m: Machine, a: Ball, b: Ball) -> Ball:
        value = relation(a.value, b.value)
        radii = []
        for ra, rb in zip(a.radii, b.radii, strict=True):
            (low_a, high_a), (low_b, high_b) = ends(a, ra), ends(b, rb)
            points = [(x, y) for x in (low_a, high_a) for y in (low_b, high_b)]
            if max(low_a, low_b) <= min(high_a, high_b):  # equal in a point that both have
                shared = max(low_a, low_b)
                points.append((shared, shared))
            radii.append(ZERO if all(relation(*p) == value for p in points) else ONE)
        return Ball(Fraction(value), radii[0], radii[1])

    return compare


def _outcomes(x: Ball, radius: Real) -> set[bool]:
    """What x may be as a truth."""
    low, high = ends(x, radius)
    found = {x.value != 0}
    return found | {True, False} if low <= 0 <= high and radius else found


def _logical(connective: Callable[..., bool], *operands: Ball) -> Ball:
    value = connective(*(x.value != 0 for x in operands))
    radii = []
    for which in (0, 1):
        pictures = product(*(_outcomes(x, x.radii[which]) for x in operands))
        radii.append(ZERO if all(connective(*p) == value for p in pictures) else ONE)
    return Ball(Fraction(value), radii[0], radii[1])


def _extreme(function: Callable[..., Real]) -> Callable[..., Ball]:
    def extreme(m: Machine, *balls: Ball) -> Ball:
        value = function(x.value for x in balls)
        sides = []
        for which in (0, 1):
            pairs = [ends(x, x.radii[which]) for x in balls]
            sides.append([function(p[0] for p in pairs), function(p[1] for p in pairs)])
        return _around(value, sides, balls)

    return extreme


greatest, least = _extreme(max), _extreme(min)

BINARY: Mapping[str, Callable[..., Ball]] = {
    "maximum": greatest,
    "minimum": least,
    **{name: _compared(relation) for name, relation in RELATIONS.items()},
    **{
        name: (lambda m, a, b, word=word: _logical(word, a, b))
        for name, word in CONNECTIVES.items()
    },
}
"""Operation of two operands -> its ball."""


def along(
    extreme: Callable[..., Ball],
) -> Callable[..., Tensor]:
    """An extreme over axes."""

    def reduce(m: Machine, x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        rank = len(x.shape)
        given = list(range(rank)) if dim is None else ([dim] if isinstance(dim, int) else dim)
        axes = {axis % rank for axis in given}
        kept = [1 if axis in axes else n for axis, n in enumerate(x.shape)]

        def item(place: tuple[int, ...]) -> Ball:
            return extreme(m, *(x.at(p) for p in _beside(place, x.shape, axes)))

        found = tensor(kept, item)
        shape = [n for axis, n in enumerate(kept) if axis not in axes]
        return found if keepdim else found.reshaped(shape)

    return reduce


def _beside(
    place: Sequence[int], shape: Sequence[int], axes: set[int]
) -> Iterator[tuple[int, ...]]:
    """Every place that differs from one along some axes only."""
    return product(*(range(n) if axis in axes else (place[axis],) for axis, n in enumerate(shape)))


def where(m: Machine, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """One of two; both where it is not known which."""
    rank = max(len(t.shape) for t in (condition, a, b))
    trio = [t.reshaped((1,) * (rank - len(t.shape)) + t.shape) for t in (condition, a, b)]
    shape = [max(n) for n in zip(*(t.shape for t in trio), strict=True)]

    def item(place: tuple[int, ...]) -> Ball:
        own = [
            t.at([0 if n == 1 else i for i, n in zip(place, t.shape, strict=True)]) for t in trio
        ]
        told, first, second = own
        chosen, other = (first, second) if told.value != 0 else (second, first)
        radii = []
        for which in (0, 1):
            radius = chosen.radii[which]
            if len(_outcomes(told, told.radii[which])) > 1:
                radius = max(radius, abs(chosen.value - other.value) + other.radii[which])
            radii.append(radius)
        return Ball(chosen.value, radii[0], radii[1])

    return tensor(shape, item)


def _around(value: Real, sides: Sequence[Sequence[Real]], operands: Sequence[Ball]) -> Ball:
    """A ball that reaches from its value to either side; unknown beside what is unknown."""
    radii = []
    for which, (low, high) in enumerate(sides):
        lost = any(infinite(x.radii[which]) for x in operands)
        radii.append(INFINITY if lost else max(high - value, value - low))
    return Ball(value, radii[0], radii[1])
