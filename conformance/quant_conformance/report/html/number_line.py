"""The number line of a small float format, with wrong elements on it.

Every code takes the same width and values between two codes lie linearly between them, so a tie
is exactly in the middle, among the subnormals as well as near the greatest value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from markupsafe import Markup

from quant_conformance.report.html.svg import Drawing
from quant_conformance.report.samples import Point
from quant_conformance.verdicts.bits import code_values, hex_float
from quant_reference.formats import get_format

CARDS = 6
"""Wrong elements of a format that are drawn one by one."""

_WIDTH, _HEIGHT, _MARGIN, _AXIS = 340, 128, 24, 74
_LETTER = 6.7  # width of a letter of the style sheet's 11 px monospace font
_TIES = 14  # codes up to which the ties between them are marked


@dataclass(frozen=True)
class Card:
    """One wrong element, drawn.

    Attributes:
        text: the element in words.
        count: how many elements of the samples look the same.
        drawing: the image.
    """

    text: str
    count: int
    drawing: Markup


@dataclass(frozen=True)
class Line:
    """The number line of one format.

    Attributes:
        format: the format.
        overview: the whole line with every point.
        cards: single points, enlarged.
        points: number of points.
        off: points that have no place on a line: a NaN is among their numbers.
        more: different points without a card.
    """

    format: str
    overview: Markup
    cards: tuple[Card, ...]
    points: int
    off: int
    more: int


@lru_cache(maxsize=8)
def grid(fmt: str) -> tuple[float, ...]:
    """Returns the finite values of a format in ascending order, zero once."""
    codes = np.arange(1 << get_format(fmt).bits, dtype=np.uint8)
    values = code_values(codes, fmt).astype(np.float64)
    return tuple(np.unique(values[np.isfinite(values)] + 0.0).tolist())  # -0 + 0 is 0


def position(value: float, values: Sequence[float]) -> float:
    """Returns where a value is among the codes, 0 being the lowest finite one.

    What lies beyond an end is placed by the step before the end, at most one and a half steps out.
    """
    low, high = values[0], values[-1]
    if value < low:
        return -min((low - value) / (values[1] - low), 1.5)
    if value >= high:
        return len(values) - 1 + min((value - high) / (high - values[-2]), 1.5)
    above = int(np.searchsorted(values, value, side="right"))
    below = values[above - 1]
    return above - 1 + (value - below) / (values[above] - below)


def number_lines(points: Iterable[Point], name: str) -> list[Line]:
    """Draws the number line of each format that occurs.

    Args:
        points: wrong elements.
        name: prefix of the drawings' ids, unique in the page.
    """
    by_format: dict[str, list[Point]] = {}
    for point in points:
        by_format.setdefault(point.format, []).append(point)
    return [_line(fmt, found, f"{name}-{i}") for i, (fmt, found) in enumerate(by_format.items())]


def _line(fmt: str, points: Sequence[Point], name: str) -> Line:
    placed = [point for point in points if not any(map(math.isnan, _numbers(point)))]
    counts: dict[Point, int] = {}
    for point in placed:
        counts[point] = counts.get(point, 0) + 1
    shown = _varied(counts)[:CARDS]
    cards = tuple(
        Card(_words(point), counts[point], _enlarged(point, f"{name}-{i}"))
        for i, point in enumerate(shown)
    )
    overview = _overview(fmt, list(counts), name)
    return Line(
        fmt, overview, cards, len(points), len(points) - len(placed), len(counts) - len(cards)
    )


def _varied(counts: Mapping[Point, int]) -> list[Point]:
    """Orders points by how often they occur, the operations taking turns."""
    turns: Counter[str] = Counter()
    keys = {}
    for point in sorted(counts, key=lambda p: -counts[p]):
        turns[point.operation] += 1
        keys[point] = turns[point.operation]
    return sorted(keys, key=keys.__getitem__)


def _numbers(point: Point) -> list[float]:
    given = [] if point.x is None else [point.x]
    return [*given, point.expected, point.actual]


def _words(point: Point) -> str:
    if point.x is None:
        return f"a code of {point.expected:.9g} was read as {point.actual:.9g}"
    quotient = "x / scale" if point.operation == "quantize" else "x"
    x = f"{quotient} = {point.x:.9g} ({hex_float(point.x)})"
    return f"{x}: expected {point.expected:.9g}, got {point.actual:.9g}"


def _overview(fmt: str, points: Sequence[Point], name: str) -> Markup:
    values = grid(fmt)
    last = len(values) - 1
    width, axis = 680, 46
    step = (width - 2 * _MARGIN) / (last + 3)

    def at(place: float) -> float:
        return _MARGIN + (place + 1.5) * step

    drawing = Drawing(
        width,
        92,
        "line-overview",
        title=f"Number line of {fmt}",
        name=name,
        description=f"All {last + 1} finite values, each code as wide as any other, and "
        f"{len(points)} different wrong elements: inputs below the line, expected and actual "
        "values above it.",
    )
    drawing.line(at(-1.5), axis, at(last + 1.5), axis, "axis")
    for place in range(last + 1):
        drawing.line(at(place), axis - 4, at(place), axis + 4, "tick")
    for place in _labelled(last, 9 if last > 20 else last + 1):
        drawing.line(at(place), axis - 7, at(place), axis + 7, "tick strong")
        drawing.text(at(place), 86, f"{values[place]:g}", "label")
    for point in points:
        if point.x is not None:
            drawing.triangle(at(position(point.x, values)), axis + 9, 3.5, "given")
        drawing.circle(at(position(point.expected, values)), axis - 13, 3.5, "expected")
        drawing.cross(at(position(point.actual, values)), axis - 27, 3.5, "actual")
    return drawing.markup()


def _labelled(last: int, labels: int) -> list[int]:
    """Picks places to be labelled, evenly from end to end."""
    return sorted({round(place) for place in np.linspace(0, last, min(labels, last + 1))})


def _enlarged(point: Point, name: str) -> Markup:
    values = grid(point.format)
    places = [position(value, values) for value in _numbers(point)]
    low = max(-1.5, math.floor(min(places)) - 2)
    high = min(len(values) + 0.5, math.ceil(max(places)) + 2)
    step = (_WIDTH - 2 * _MARGIN) / (high - low)

    def at(value: float) -> float:
        return _MARGIN + (position(value, values) - low) * step

    drawing = Drawing(
        _WIDTH,
        _HEIGHT,
        "line-card",
        title=f"Around the wrong element, {point.format}",
        description=_words(point),
        name=name,
    )
    drawing.line(_MARGIN, _AXIS, _WIDTH - _MARGIN, _AXIS, "axis")
    codes = range(max(0, math.ceil(low)), min(len(values) - 1, math.floor(high)) + 1)
    for place in codes:
        x = _MARGIN + (place - low) * step
        drawing.line(x, _AXIS - 6, x, _AXIS + 6, "tick strong")
        if len(codes) <= _TIES and place + 1 in codes:  # where ties are, between two codes
            drawing.line(x + step / 2, _AXIS - 3, x + step / 2, _AXIS + 3, "tick")
    if point.x is not None:
        drawing.line(at(point.x), _AXIS, at(point.x), _AXIS + 26, "lead")
    free = 0.0
    for place in codes:
        words, x = f"{values[place]:.3g}", _MARGIN + (place - low) * step
        half = len(words) * _LETTER / 2
        if x - half >= free and x + half <= _WIDTH:  # labels that would touch are left out
            drawing.text(x, _AXIS + 20, words, "label")
            free = x + half + _LETTER
    _mark(drawing, at(point.actual), 14, f"got {point.actual:.9g}", "actual")
    _mark(drawing, at(point.expected), 34, f"expected {point.expected:.9g}", "expected")
    if point.x is not None:
        x = at(point.x)
        drawing.triangle(x, _AXIS + 26, 4.5, "given")
        drawing.text(_inside(x), _HEIGHT - 6, f"{point.x:.9g}", "label given", _anchor(x))
    return drawing.markup()


def _mark(drawing: Drawing, x: float, y: float, words: str, css: str) -> None:
    """Draws a sign on the line with its words above, beside the lead that joins them."""
    drawing.line(x, y + 2, x, _AXIS - 10, "lead")
    if css == "actual":
        drawing.cross(x, _AXIS - 6, 4, css)
    else:
        drawing.circle(x, _AXIS - 6, 4, css)
    drawing.text(_inside(x), y, words, f"label {css}", _anchor(x))


def _anchor(x: float) -> str:
    """Keeps words inside the drawing at its ends."""
    third = _WIDTH / 3
    return "start" if x < third else "end" if x > 2 * third else "middle"


def _inside(x: float) -> float:
    return min(max(x, 4.0), _WIDTH - 4.0)
