"""Elements chosen by indices, and indices chosen by elements, on balls: exact (ADM-5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from quant_reference.oracle.balls import INFINITY, ZERO, Ball, Machine, Tensor, ends, tensor


def index(m: Machine, x: Tensor, *indices: Tensor | None) -> Tensor:
    """Indices of one shape that are side by side; None takes all of an axis."""
    given = [(axis, t) for axis, t in enumerate(indices) if t is not None]
    first, chosen = given[0][0], given[0][1].shape
    last = given[-1][0]
    rest = x.shape[last + 1 :]

    def item(place: tuple[int, ...]) -> Ball:
        before, middle = place[:first], place[first : first + len(chosen)]
        behind = place[first + len(chosen) :]
        own = [_place(t.at(middle), x.shape[axis]) for axis, t in given]
        ball = x.at((*before, *own, *behind))
        known = all(not t.at(middle).rigorous for _, t in given)
        return ball if known else Ball(ball.value, INFINITY, INFINITY)

    return tensor((*x.shape[:first], *chosen, *rest), item)


def gather(m: Machine, x: Tensor, indices: Tensor, dim: int) -> Tensor:
    """Along one axis the element that an index names."""
    axis = dim % len(x.shape)

    def item(place: tuple[int, ...]) -> Ball:
        told = indices.at(place)
        own = [*place]
        own[axis] = _place(told, x.shape[axis])
        return Ball(x.at(own).value, INFINITY, INFINITY) if told.rigorous else x.at(own)

    return tensor(indices.shape, item)


def _place(told: Ball, extent: int) -> int:
    """A place that is not known counts as the first."""
    return int(told.value) % extent if not told.rigorous else 0


def flip(m: Machine, x: Tensor, dims: Sequence[int]) -> Tensor:
    """Some axes in the opposite order."""
    axes = {axis % len(x.shape) for axis in dims}

    def item(place: tuple[int, ...]) -> Ball:
        pairs = enumerate(zip(place, x.shape, strict=True))
        return x.at([n - 1 - i if axis in axes else i for axis, (i, n) in pairs])

    return tensor(x.shape, item)


def along(
    of_row: Callable[[list[Ball]], list[Ball]], x: Tensor, dim: int, extent: int | None = None
) -> Tensor:
    """A function of the rows along an axis."""
    axis = dim % len(x.shape)
    count = x.shape[axis]
    found: dict[tuple[int, ...], list[Ball]] = {}

    def item(place: tuple[int, ...]) -> Ball:
        key = (*place[:axis], *place[axis + 1 :])
        if key not in found:
            row = [x.at((*place[:axis], i, *place[axis + 1 :])) for i in range(count)]
            found[key] = of_row(row)
        return found[key][place[axis]]

    shape = [*x.shape]
    shape[axis] = count if extent is None else extent
    return tensor(shape, item)


def sort(m: Machine, x: Tensor, dim: int = -1, descending: bool = False) -> Tensor:
    """The k-th of the values, of the lower ends and of the upper ones."""

    def of_row(row: list[Ball]) -> list[Ball]:
        values = sorted((b.value for b in row), reverse=descending)
        radii = []
        for which in (0, 1):
            pairs = [ends(b, b.radii[which]) for b in row]
            low, high = (sorted((p[i] for p in pairs), reverse=descending) for i in (0, 1))
            radii.append([max(h - v, v - lo) for v, lo, h in zip(values, low, high, strict=True)])
        return [Ball(v, a, b) for v, a, b in zip(values, *radii, strict=True)]

    return along(of_row, x, dim)


def argsort(m: Machine, x: Tensor, dim: int = -1, descending: bool = False) -> Tensor:
    """Where they come from: known where no other element may be in the same place."""

    def of_row(row: list[Ball]) -> list[Ball]:
        order = sorted(range(len(row)), key=lambda i: row[i].value * (-1 if descending else 1))
        return [Ball(Fraction(i), *_doubt(row, i)) for i in order]

    return along(of_row, x, dim)


def _doubt(row: list[Ball], chosen: int) -> list[Fraction]:
    """Infinite where the interval of an element meets another one's."""
    radii = []
    for which in (0, 1):
        low, high = ends(row[chosen], row[chosen].radii[which])
        others = [ends(b, b.radii[which]) for i, b in enumerate(row) if i != chosen]
        meets = any(lo <= high and low <= hi for lo, hi in others)
        radii.append(INFINITY if meets else ZERO)
    return radii


def extreme(sign: int) -> Callable[..., Tensor]:
    """Where the greatest is, or with −1 the least; the first of equals."""

    def place(m: Machine, x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        line = x.reshaped((math.prod(x.shape),)) if dim is None else x

        def of_row(row: list[Ball]) -> list[Ball]:
            chosen = max(range(len(row)), key=lambda i: (sign * row[i].value, -i))
            radii = []
            for which in (0, 1):
                exact = all(not b.radii[which] for b in row)
                own = min(sign * e for e in ends(row[chosen], row[chosen].radii[which]))
                reach = [
                    max(sign * e for e in ends(b, b.radii[which]))
                    for i, b in enumerate(row)
                    if i != chosen
                ]
                radii.append(ZERO if exact or all(r < own for r in reach) else INFINITY)
            return [Ball(Fraction(chosen), radii[0], radii[1])]

        found = along(of_row, line, 0 if dim is None else dim, 1)
        if dim is None:
            return found.reshaped((1,) * len(x.shape) if keepdim else ())
        axis = dim % len(x.shape)
        return found if keepdim else found.reshaped((*x.shape[:axis], *x.shape[axis + 1 :]))

    return place


OPERATIONS: Mapping[str, Callable[..., Tensor]] = {
    "index": index,
    "gather": gather,
    "flip": flip,
    "sort": sort,
    "argsort": argsort,
    "argmax": extreme(1),
    "argmin": extreme(-1),
}
"""Operation -> its tensor."""
