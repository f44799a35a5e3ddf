"""Operations that compare, choose, or round to whole numbers: exact (ADM-5).

Where operands have radii a comparison may have either outcome. Its result, 0 or 1, then has a
radius of 1, and what a selection makes of it holds both of the values that it may take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic
from quant_reference.admissible.bounds import Bounds, Float64, Operand, bounds_of
from quant_reference.admissible.elementwise import KINDS, chosen
from quant_reference.errors import InputError

Truth = NDArray[np.bool_]
Dims = int | Sequence[int] | None


def rounded_by(function: Callable[[Float64], Any]) -> Callable[..., Bounds]:
    """A monotone function that gives whole numbers: floor, ceil, trunc, round, sign."""

    def rounded(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
        return chosen(x, lambda v: np.asarray(function(v), np.float64), arithmetic)

    return rounded


floor = rounded_by(np.floor)
ceil = rounded_by(np.ceil)
trunc = rounded_by(np.trunc)
round_half_even = rounded_by(np.rint)
sign = rounded_by(np.sign)


def abs_(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``|x|``: exact, and moved by no more than x is."""
    x = bounds_of(x, arithmetic)
    return Bounds(np.abs(x.value), x.rigorous, x.probable)


def extreme_of(function: Callable[..., Any]) -> Callable[..., Bounds]:
    """The greater or the less of two: exact, and monotone in both."""

    def extreme(a: Operand, b: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
        pair = [bounds_of(x, arithmetic) for x in (a, b)]
        return _monotone(pair, lambda parts: function(*parts))

    return extreme


maximum = extreme_of(np.maximum)
minimum = extreme_of(np.minimum)


def extreme_along(function: Callable[..., Any]) -> Callable[..., Bounds]:
    """The greatest or the least along axes; all of them where none are given."""

    def extreme(
        x: Operand, dim: Dims = None, keepdim: bool = False, *, arithmetic: Arithmetic = FLOAT32
    ) -> Bounds:
        x = bounds_of(x, arithmetic)
        axes = _axes(x, dim)
        return _monotone([x], lambda parts: function(parts[0], axis=axes, keepdims=keepdim))

    return extreme


amax = extreme_along(np.max)
amin = extreme_along(np.min)


def comparison_of(
    holds: Callable[[Float64, Float64], Any], sure: Callable[[Bounds, Bounds, str], Truth]
) -> Callable[..., Bounds]:
    """1 where a relation holds, else 0; ``sure`` says where no radius can change the answer."""

    def compare(a: Operand, b: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
        a, b = bounds_of(a, arithmetic), bounds_of(b, arithmetic)
        with np.errstate(invalid="ignore"):
            value = np.asarray(holds(a.value, b.value), np.float64)
            radii = [np.where(sure(a, b, kind), 0.0, 1.0) for kind in KINDS]
        return Bounds(value, radii[0], radii[1])

    return compare


def _apart(a: Bounds, b: Bounds, kind: str) -> Truth:
    """Where the two intervals have no point in common, or both are points."""
    (low_a, high_a), (low_b, high_b) = a.ends(kind), b.ends(kind)
    points = (getattr(a, kind) == 0) & (getattr(b, kind) == 0)
    return np.asarray((high_a < low_b) | (high_b < low_a) | points)


def _apart_or_touching(below: bool) -> Callable[[Bounds, Bounds, str], Truth]:
    """As :func:`_apart`; that a touches b from below (or above) leaves the answer sure, too."""

    def sure(a: Bounds, b: Bounds, kind: str) -> Truth:
        (low_a, high_a), (low_b, high_b) = a.ends(kind), b.ends(kind)
        touching = high_a <= low_b if below else high_b <= low_a
        return np.asarray(_apart(a, b, kind) | touching)

    return sure


eq = comparison_of(np.equal, _apart)
ne = comparison_of(np.not_equal, _apart)
lt = comparison_of(np.less, _apart_or_touching(below=False))
le = comparison_of(np.less_equal, _apart_or_touching(below=True))
gt = comparison_of(np.greater, _apart_or_touching(below=True))
ge = comparison_of(np.greater_equal, _apart_or_touching(below=False))


def where(
    condition: Operand, a: Operand, b: Operand, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """A where the condition is not 0, else b; where that is not known, all that either may be."""
    condition, a, b = (bounds_of(x, arithmetic) for x in (condition, a, b))
    with np.errstate(invalid="ignore"):
        chosen_first = condition.value != 0
        value = np.where(chosen_first, a.value, b.value)
        gap = np.abs(a.value - b.value)
        gap = np.where(a.value == b.value, 0.0, gap)  # of two infinities of one sign, too
        radii = []
        for kind in KINDS:
            ra, rb = getattr(a, kind), getattr(b, kind)
            own, other = np.where(chosen_first, ra, rb), np.where(chosen_first, rb, ra)
            wide = np.maximum(own, gap + other)
            radius = np.where(_decided(condition, kind), own, wide)
            radii.append(np.where(np.isnan(radius), np.inf, radius))
    return Bounds(value, radii[0], radii[1])


def logical_of(function: Callable[..., Any]) -> Callable[..., Bounds]:
    """A function of truths, where what is not 0 is true: 1 or 0 (and, or, xor, not)."""

    def logical(*operands: Operand, arithmetic: Arithmetic = FLOAT32) -> Bounds:
        given = [bounds_of(x, arithmetic) for x in operands]
        value = np.asarray(function(*(x.value != 0 for x in given)), np.float64)
        radii = []
        for kind in KINDS:
            moved = np.zeros(value.shape, bool)
            # Every way in which what is not decided may come out.
            for picture in np.ndindex(*(2,) * len(given)):
                truths = [
                    np.where(_decided(x, kind), x.value != 0, bool(bit))
                    for x, bit in zip(given, picture, strict=True)
                ]
                moved |= np.asarray(function(*truths)) != (value != 0)
            radii.append(moved.astype(np.float64))
        return Bounds(value, radii[0], radii[1])

    return logical


logical_and = logical_of(np.logical_and)
logical_or = logical_of(np.logical_or)
logical_xor = logical_of(np.logical_xor)
logical_not = logical_of(np.logical_not)


def _decided(x: Bounds, kind: str) -> Truth:
    """Where it is known whether x is 0."""
    low, high = x.ends(kind)
    return np.asarray((getattr(x, kind) == 0) | (low > 0) | (high < 0))


def _axes(x: Bounds, dim: Dims) -> tuple[int, ...]:
    rank = x.value.ndim
    given = range(rank) if dim is None else ([dim] if isinstance(dim, int) else dim)
    axes = tuple(axis + rank if axis < 0 else axis for axis in given) or tuple(range(rank))
    if any(not 0 <= axis < rank for axis in axes):
        raise InputError("axis", given=dim, allowed=f"axes of {x.shape}", clause="ADM-5")
    return axes


def _monotone(operands: list[Bounds], function: Callable[[list[Float64]], Any]) -> Bounds:
    """Bounds of what grows with every operand and returns one of them."""
    value = np.asarray(function([x.value for x in operands]), np.float64)
    radii = []
    for kind in KINDS:
        ends = [x.ends(kind) for x in operands]
        low, high = (np.asarray(function([e[i] for e in ends]), np.float64) for i in (0, 1))
        with np.errstate(invalid="ignore"):
            radius = np.maximum(high - value, value - low)
        radius = np.where((low == value) & (high == value), 0.0, radius)
        # What is not known may be a NaN, which every extreme hands on.
        unknown = [np.where(np.isinf(getattr(x, kind)), 1.0, 0.0) for x in operands]
        lost = np.asarray(function_any(function, unknown, [x.value for x in operands]))
        radii.append(np.where(lost | np.isnan(radius), np.inf, radius))
    return Bounds(value, radii[0], radii[1])


def function_any(
    function: Callable[[list[Float64]], Any], marks: list[Float64], like: list[Float64]
) -> Truth:
    """Where a mark is among what an extreme looked at, for the least and the greatest."""
    shaped = [np.broadcast_to(m, v.shape) for m, v in zip(marks, like, strict=True)]
    least = np.asarray(function([-m for m in shaped]), np.float64)
    greatest = np.asarray(function(shaped), np.float64)
    return np.asarray((least < 0) | (greatest > 0))
