"""Elements written to places, on balls (ADM-2, ADM-5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import product

from quant_reference.oracle.balls import (
    INFINITY,
    ZERO,
    Ball,
    Machine,
    Real,
    Tensor,
    ends,
    finished,
    gamma,
    greatest,
    places,
    tensor,
    tiny,
)
from quant_reference.oracle.sums import ONE, summed

Place = tuple[int, ...]
Hits = Mapping[Place, Sequence[Ball]]


def combined(m: Machine, x: Tensor, hits: Hits, reduce: str, include_self: bool) -> Tensor:
    """A tensor into which balls were written at some places."""
    longest = max((len(each) for each in hits.values()), default=0)
    depth = longest + (1 if include_self else 0)

    def item(place: Place) -> Ball:
        if place not in hits:
            return x.at(place)
        given = list(hits[place])
        terms = [x.at(place), *given] if include_self else given
        if reduce == "replace":
            return _last(given)
        if reduce in ("sum", "mean"):
            share = len(terms) if reduce == "mean" else 1
            pairs = [(ball, ONE) for ball in terms]
            own = Fraction(1, share)
            return summed(pairs, depth, len(x.items), m, factor=own, divisor=share)
        if reduce == "prod":
            return _product(m, terms, longest + 1)
        choose = max if reduce == "amax" else min
        value = choose(ball.value for ball in terms)
        radii = [
            max(
                abs(choose(ends(ball, ball.radii[which])[side] for ball in terms) - value)
                for side in (0, 1)
            )
            for which in (0, 1)
        ]
        return Ball(value, radii[0], radii[1])

    return tensor(x.shape, item)


def _last(given: Sequence[Ball]) -> Ball:
    value = given[-1].value
    radii = [max(abs(b.value - value) + b.radii[which] for b in given) for which in (0, 1)]
    return Ball(value, radii[0], radii[1])


def _product(m: Machine, terms: Sequence[Ball], depth: int) -> Ball:
    growth = gamma(depth, m.values)
    value = math.prod((ball.value for ball in terms), start=Fraction(1))
    spreads: list[Real] = []
    errors: list[Real] = []
    for which in (0, 1):
        wide = [abs(ball.value) + ball.radii[which] for ball in terms]
        reach = math.prod(wide, start=Fraction(1))
        partial = math.prod((max(w, Fraction(1)) for w in wide), start=Fraction(1))
        beyond = partial * (1 + growth) > greatest(m.values)
        spreads.append(INFINITY if beyond else reach - abs(value))
        errors.append(growth * reach + depth * tiny(m.values) * partial * (1 + growth))
    return finished(value, spreads, errors, m)


def scatter(
    m: Machine,
    x: Tensor,
    index: Tensor,
    src: Tensor,
    dim: int,
    reduce: str = "replace",
    include_self: bool = True,
) -> Tensor:
    """Along one axis to where an index says."""
    axis = dim % len(x.shape)
    hits: dict[Place, list[Ball]] = {}
    unsure: set[Place] = set()
    for place in places(index.shape):
        told = index.at(place)
        if told.rigorous:
            unsure.add((*place[:axis], *place[axis + 1 :]))
        own = int(told.value) % x.shape[axis] if not told.rigorous else 0
        at = (*place[:axis], own, *place[axis + 1 :])
        hits.setdefault(at, []).append(src.items[0] if not src.shape else src.at(place))
    found = combined(m, x, hits, reduce, include_self)

    def item(place: Place) -> Ball:
        ball = found.at(place)
        if (*place[:axis], *place[axis + 1 :]) in unsure:
            return Ball(ball.value, INFINITY, INFINITY)
        return ball

    return tensor(x.shape, item)


def index_put(
    m: Machine, x: Tensor, values: Tensor, *indices: Tensor | None, accumulate: bool = False
) -> Tensor:
    """Indices of one shape for some of the first axes, side by side."""
    given = [(axis, t) for axis, t in enumerate(indices) if t is not None]
    first, last = given[0][0], given[-1][0]
    chosen = given[0][1].shape
    shape = (*x.shape[:first], *chosen, *x.shape[last + 1 :])
    rank = len(shape)
    padded = values.reshaped((1,) * (rank - len(values.shape)) + values.shape)
    hits: dict[Place, list[Ball]] = {}
    for place in places(shape):
        middle = place[first : first + len(chosen)]
        own = [int(t.at(middle).value) % x.shape[axis] for axis, t in given]
        at = (*place[:first], *own, *place[first + len(chosen) :])
        where = [0 if n == 1 else i for i, n in zip(place, padded.shape, strict=True)]
        hits.setdefault(at, []).append(padded.at(where))
    found = combined(m, x, hits, "sum" if accumulate else "replace", True)
    if any(ball.rigorous for _, t in given for ball in t.items):
        return tensor(x.shape, lambda p: Ball(found.at(p).value, INFINITY, INFINITY))
    return found


def fold(
    m: Machine,
    x: Tensor,
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    stride: Sequence[int] = (1, 1),
) -> Tensor:
    """Every element of every window, added where the window lies."""
    taps = kernel_size[0] * kernel_size[1]
    steps = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(output_size, padding, dilation, kernel_size, stride, strict=True)
    ]
    shape = (x.shape[0], x.shape[1] // taps, *output_size)
    hits: dict[Place, list[Ball]] = {}
    for batch, channel in product(range(shape[0]), range(shape[1])):
        for tap, window in product(places(kernel_size), places(steps)):
            at = tuple(
                w * s - p + t * d
                for w, s, p, t, d in zip(window, stride, padding, tap, dilation, strict=True)
            )
            row = channel * taps + tap[0] * kernel_size[1] + tap[1]
            if all(0 <= i < n for i, n in zip(at, output_size, strict=True)):
                ball = x.at((batch, row, window[0] * steps[1] + window[1]))
                hits.setdefault((batch, channel, *at), []).append(ball)
    return combined(m, tensor(shape, lambda _: Ball(ZERO)), hits, "sum", False)


OPERATIONS: Mapping[str, Callable[..., Tensor]] = {
    "scatter": scatter,
    "index_put": index_put,
    "fold": fold,
}
"""Operation -> its tensor."""
