"""How far answers are off, as rows of bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quant_conformance.report.distances import Distances, buckets

_LARGE = 1 << 16
"""Distances above this are written as powers of two."""


@dataclass(frozen=True)
class Bin:
    """Elements that are off by about as much.

    Attributes:
        text: by how much.
        count: number of elements.
        share: of the largest bin's number, which is the length of the bar.
    """

    text: str
    count: int
    share: float


@dataclass(frozen=True)
class Histogram:
    """Distances of one output.

    Attributes:
        name: what they are of.
        unit: "codes" or "ulps".
        total: number of elements.
        differing: number of elements that are off.
        bins: the elements that are off; the right ones would dwarf every bar.
    """

    name: str
    unit: str
    total: int
    differing: int
    bins: tuple[Bin, ...]


def histogram(
    name: str, unit: str, counts: Mapping[int, int], other: Mapping[str, int] | None = None
) -> Histogram:
    """Makes the histogram of signed distances.

    Args:
        name: what they are of.
        unit: "codes" or "ulps".
        counts: distance (actual - expected) to number of elements; right ones count at 0.
        other: kinds of difference that are no distance, with their numbers.
    """
    found = [(_range(low, high), n) for low, high, n in buckets(counts) if (low, high) != (0, 0)]
    # A long run of empty classes between two peaks would fill a page.
    found = [(text, n) for text, n in found if n] if len(found) > 16 else found
    found += [(text, n) for text, n in (other or {}).items() if n]
    highest = max((n for _, n in found), default=1)
    bins = tuple(Bin(text, n, n / highest) for text, n in found)
    differing = sum(n for _, n in found)
    return Histogram(name, unit, differing + counts.get(0, 0), differing, bins)


def of_distances(distances: Distances) -> Histogram:
    """Makes the histogram of one output of one operation."""
    name = f"{distances.operation}: {distances.output}"
    other = {"zero of the other sign": distances.zero_signs, "NaN on one side": distances.nans}
    return histogram(name, distances.unit, distances.counts, other)


def _range(low: int, high: int) -> str:
    sign = "−" if low < 0 else "+"
    near, far = sorted((abs(low), abs(high)))
    if near == far:
        return f"{sign}{near}"
    if far > _LARGE:
        power = far.bit_length() - 1  # classes end at powers of two
        return f"{sign}2{_raised(power - 1)} … {sign}2{_raised(power)}"
    return f"{sign}{near:,} … {sign}{far:,}"


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
