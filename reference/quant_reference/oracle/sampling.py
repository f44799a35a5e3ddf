"""Values between others: mixtures, distances, cubic interpolation, sampled places (ADM-2 to 10)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import product

from quant_reference.oracle import reals
from quant_reference.oracle.balls import (
    INFINITY,
    ZERO,
    Ball,
    Machine,
    Real,
    Tensor,
    finished,
    gamma,
    gamma_probable,
    greatest,
    infinite,
    rounding,
    tensor,
    tiny,
    unit,
)
from quant_reference.oracle.sums import total_of

A = Fraction(-3, 4)
STEEPEST = Fraction(27, 20)


def lerp(m: Machine, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """Mixtures of two tensors of one shape by one weight, or one for each (ADM-4)."""

    def item(place: tuple[int, ...]) -> Ball:
        s, e = start.at(place), end.at(place)
        w = weight.items[0] if not weight.shape else weight.at(place)
        rest = 1 - w.value
        spreads, errors = [], []
        for which in (0, 1):
            rs, re, rw = (b.radii[which] for b in (s, e, w))
            both = abs(s.value) + rs + abs(e.value) + re
            spread = abs(rest) * rs + abs(w.value) * re + (abs(e.value - s.value) + rs + re) * rw
            sizes = (
                abs(s.value) + rs + (abs(w.value) + rw) * both,
                abs(e.value) + re + (abs(rest) + rw) * both,
            )
            spreads.append(spread)
            errors.append(rounding(4, max(sizes), m.values))
        return finished(s.value * rest + e.value * w.value, spreads, errors, m)

    return tensor(start.shape, item)


def cdist(m: Machine, a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances of rows, by differences or by products (ADM-2)."""
    *lead, rows, n = a.shape
    shape = (*lead, rows, b.shape[-2])

    def item(place: tuple[int, ...]) -> Ball:
        *of, i, j = place
        pairs = [(a.at((*of, i, k)), b.at((*of, j, k))) for k in range(n)]
        square = total_of((p.value - q.value) ** 2 for p, q in pairs)
        value = reals.sqrt(square) if square else ZERO
        spreads: list[Real] = []
        for which in (0, 1):
            growth = gamma(n + 8, m.sums)
            if which == 1:
                growth = gamma_probable(n + 8, m.sums, math.prod(shape))
            moved = size = ZERO
            for p, q in pairs:
                r = p.radii[which] + q.radii[which]
                moved += (2 * abs(p.value - q.value) + r) * r
                size += (abs(p.value) + abs(q.value) + r) ** 2
            if infinite(moved) or infinite(size) or size * (1 + growth) > greatest(m.sums):
                spreads.append(INFINITY)
                continue
            off = moved + growth * size
            off += (n + 8) * tiny(m.sums) * (1 + growth) if size else ZERO
            far = reals.sqrt(square + off) - value
            near = value - (reals.sqrt(square - off) if square > off else ZERO)
            spreads.append(max(far, near))
        errors = [rounding(6, value + spread, m.values) for spread in spreads]
        return finished(value, spreads, errors, m)

    return tensor(shape, item)


def _kernel(t: Fraction) -> Fraction:
    """Keys' cubic at a distance of at most 2."""
    if t <= 1:
        return (A + 2) * t**3 - (A + 3) * t**2 + 1
    return A * (t**3 - 5 * t**2 + 8 * t - 4)


def upsample_bicubic(
    m: Machine,
    x: Tensor,
    size: Sequence[int],
    scale_factor: Sequence[float | None] | None = None,
    align_corners: bool = False,
) -> Tensor:
    """Four elements on each axis from 2 on (ADM-10)."""
    inputs = x.shape[2:]
    factors = scale_factor or [None] * len(inputs)

    def row(i: int, n: int, k: int, factor: float | None) -> dict[int, tuple[Fraction, Fraction]]:
        """Element -> its weight, and how far that may be off."""
        step = Fraction(n, k) if factor is None else 1 / Fraction(factor)
        place = (i + Fraction(1, 2)) * step - Fraction(1, 2)
        if align_corners:
            place = Fraction(i * (n - 1), k - 1) if k > 1 else ZERO
        below = math.floor(place)
        off = STEEPEST * 4 * unit(m.values) * n + gamma(7, m.values) * 36
        found: dict[int, tuple[Fraction, Fraction]] = {}
        for tap in range(below - 2, below + 4):
            at = max(0, min(tap, n - 1))
            weight = _kernel(abs(place - tap)) if below - 1 <= tap <= below + 2 else ZERO
            own, error = found.get(at, (ZERO, ZERO))
            found[at] = (own + weight, error + off)
        return found

    def item(place: tuple[int, ...]) -> Ball:
        given = zip(place[2:], inputs, size, factors, strict=True)
        rows = [row(*each) for each in given]
        value, plain, spreads, reach = ZERO, ZERO, [ZERO, ZERO], [ZERO, ZERO]
        for at in product(*rows):
            exact = math.prod((r[i][0] for r, i in zip(rows, at, strict=True)), start=Fraction(1))
            loose = math.prod(
                (abs(r[i][0]) + r[i][1] for r, i in zip(rows, at, strict=True)), start=Fraction(1)
            )
            ball = x.at((*place[:2], *at))
            value += exact * ball.value
            plain += abs(exact * ball.value)
            for which in (0, 1):
                spreads[which] += loose * ball.radii[which]
                reach[which] += loose * (abs(ball.value) + ball.radii[which])
        errors = [r - plain + rounding(6 * len(inputs), r, m.values) for r in reach]
        return finished(value, spreads, errors, m)

    return tensor((*x.shape[:2], *size), item)


def grid_sample(
    m: Machine,
    x: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    """Elements at named places (ADM-10)."""
    height, width = x.shape[2:]

    def at(lead: tuple[int, ...], i: int, j: int) -> Ball:
        return x.at((*lead, i, j)) if 0 <= i < height and 0 <= j < width else Ball(ZERO)

    def item(place: tuple[int, ...]) -> Ball:
        batch, channel, *out = place
        spots: list[Real] = []
        offs: list[list[Real]] = []
        for member, n in ((1, height), (0, width)):
            g = grid.at((batch, *out, member))
            spot = (g.value + 1) / 2 * (n - 1) if align_corners else ((g.value + 1) * n - 1) / 2
            spots.append(_inside(spot, n, padding_mode, align_corners))
            eight = gamma(8, m.values)
            offs.append([eight * n * (abs(g.value) + r + 1) + Fraction(n, 2) * r for r in g.radii])
        lead = (batch, channel)
        if mode == "nearest":
            meant = at(lead, round(spots[0]), round(spots[1]))
            radii: list[Real] = []
            for which in (0, 1):
                off = [o[which] for o in offs]
                sides = [(round(p - o), round(p + o)) for p, o in zip(spots, off, strict=True)]
                others = [at(lead, i, j) for i, j in product(*sides)]
                reach = max(abs(o.value - meant.value) + o.radii[which] for o in others)
                far = any(o >= Fraction(1, 2) for o in off)
                radii.append(INFINITY if far else max(reach, meant.radii[which]))
            return Ball(meant.value, radii[0], radii[1])
        top, left = math.floor(spots[0]), math.floor(spots[1])
        down, right = spots[0] - top, spots[1] - left
        patch = {(i, j): at(lead, top + i, left + j) for i, j in product(range(-1, 3), repeat=2)}
        value = total_of(
            wi * wj * patch[i, j].value
            for i, wi in ((0, 1 - down), (1, down))
            for j, wj in ((0, 1 - right), (1, right))
        )
        steep = [
            max(abs(patch[i + a, j + b].value - ball.value)
                for (i, j), ball in patch.items() if (i + a, j + b) in patch)
            for a, b in ((1, 0), (0, 1))
        ]  # fmt: skip
        spreads, errors = [], []
        size = max(abs(ball.value) for ball in patch.values())
        for which in (0, 1):
            radius = max(ball.radii[which] for ball in patch.values())
            off = [min(o[which], Fraction(1)) for o in offs]
            spreads.append(INFINITY if max(off) >= 1 else radius)
            moved = total_of(o * (s + 2 * radius) for o, s in zip(off, steep, strict=True))
            errors.append(moved + rounding(8, size + radius, m.values))
        return finished(value, spreads, errors, m)

    *_, rows, columns, _ = grid.shape
    return tensor((*x.shape[:2], rows, columns), item)


def _inside(place: Real, n: int, padding_mode: str, align_corners: bool) -> Real:
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        low = ZERO if align_corners else Fraction(-1, 2)
        high = n - 1 + (ZERO if align_corners else Fraction(1, 2))
        while high > low and not low <= place <= high:
            place = 2 * low - place if place < low else 2 * high - place
    return max(ZERO, min(place, Fraction(n - 1)))
