"""Normalizations, softmax, attention and interpolation, with the bounds of ADM-8 to ADM-10."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import Any

from quant_reference.oracle import reals
from quant_reference.oracle.activations import binary
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
    places,
    rounding,
    tensor,
    tiny,
    unit,
)
from quant_reference.oracle.number import FLOAT32
from quant_reference.oracle.sums import matmul, scores, total_of

VANISHED = -745
"""Exponents from here down have no part in what rescaling an online softmax loses (ADM-9)."""


def normalized(
    m: Machine, group: Sequence[Ball], groups: int, eps: Real, centred: bool
) -> list[Ball]:
    """(x − μ)/√(σ² + ε) of one group of so many (ADM-8)."""
    n = len(group)
    values = [ball.value for ball in group]
    mu = total_of(values) / n if centred else ZERO
    variance = total_of((v - mu) ** 2 for v in values) / n
    root = reals.sqrt(variance + eps)
    errors = []
    for which in (0, 1):
        g = gamma(n + 5, m.sums)
        if which == 1:
            g = gamma_probable(n + 5, m.sums, groups)
        radii = [ball.radii[which] for ball in group]
        errors.append(_errors(m, values, radii, mu, variance, eps, g, centred))
    return [
        finished((v - mu) / root, (ZERO, ZERO), (rigorous, probable), m)
        for v, rigorous, probable in zip(values, *errors, strict=True)
    ]


def _errors(
    m: Machine,
    values: Sequence[Real],
    radii: Sequence[Real],
    mu: Real,
    variance: Real,
    eps: Real,
    g: Real,
    centred: bool,
) -> list[Real]:
    u, t, n = unit(m.values), tiny(m.values), len(values)
    if any(infinite(r) for r in (*radii, g)):
        return [INFINITY] * n
    size = [abs(v) + r for v, r in zip(values, radii, strict=True)]
    apart = [abs(v - mu) for v in values]
    e_mu, e_d = _off_mean(m, values, radii, mu, g, centred)
    squares = total_of(x * x for x in size) / n
    e_variance = _off_variance(m, values, radii, mu, (e_mu, e_d), g)
    e_variance = e_variance * (1 + u) + u * variance + 2 * t
    whole = variance + eps
    e_whole = e_variance + gamma(2, m.values) * (whole + e_variance) + 2 * t
    overflows = squares * n * (1 + g) > greatest(m.sums)
    if overflows or whole + e_whole > greatest(m.values) or whole <= e_whole:
        return [INFINITY] * n
    inverse = 1 / reals.sqrt(whole)
    reach = 1 / reals.sqrt(whole - e_whole) * (1 + gamma(12, m.values))
    return [
        e * reach + a * (reach - inverse) + rounding(3, (x + abs(mu) + e_mu) * reach, m.values)
        for e, a, x in zip(e_d, apart, size, strict=True)
    ]


def _off_mean(
    m: Machine, values: Sequence[Real], radii: Sequence[Real], mu: Real, g: Real, centred: bool
) -> tuple[Real, list[Real]]:
    """e_μ, and e_d of each element (ADM-8)."""
    u, t, n = unit(m.values), tiny(m.values), len(values)
    size = [abs(v) + r for v, r in zip(values, radii, strict=True)]
    e_mu = ((total_of(radii) / n + g * total_of(size) / n + t) * (1 + u) + u * abs(mu)) * centred
    e_d = [
        (r + e_mu) + (u * (abs(v - mu) + r + e_mu) + t) * centred
        for v, r in zip(values, radii, strict=True)
    ]
    return e_mu, e_d


def _off_variance(
    m: Machine,
    values: Sequence[Real],
    radii: Sequence[Real],
    mu: Real,
    off: tuple[Real, Sequence[Real]],
    g: Real,
) -> Real:
    """The larger of what two passes and one lose (ADM-8)."""
    u, n = unit(m.values), len(values)
    e_mu, e_d = off
    apart = [abs(v - mu) for v in values]
    two = total_of((2 * a + e) * e for a, e in zip(apart, e_d, strict=True)) / n
    two += g * total_of((a + e) ** 2 for a, e in zip(apart, e_d, strict=True)) / n
    squares = total_of((abs(v) + r) ** 2 for v, r in zip(values, radii, strict=True)) / n
    one = total_of((2 * abs(v) + r) * r for v, r in zip(values, radii, strict=True)) / n
    one += g * squares + (2 * abs(mu) + e_mu) * e_mu
    one += u * (squares * (1 + g) + 2 * (abs(mu) + e_mu) ** 2)
    return max(two, one)


def var(
    m: Machine, x: Tensor, dim: Any = None, correction: float = 1, keepdim: bool = False
) -> Tensor:
    """Variance, n over n − correction times the mean of the squares beside the mean (ADM-8)."""
    rank = len(x.shape)
    given = range(rank) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    axes = sorted({a % rank for a in given})
    n = math.prod(x.shape[a] for a in axes)
    share = Fraction(n) / (n - Fraction(correction))
    full = tuple(1 if a in axes else k for a, k in enumerate(x.shape))

    def item(place: tuple[int, ...]) -> Ball:
        over = product(*(range(k) if a in axes else (place[a],) for a, k in enumerate(x.shape)))
        group = [x.at(p) for p in over]
        values = [ball.value for ball in group]
        mu = total_of(values) / n
        value = total_of((v - mu) ** 2 for v in values) / n * share
        errors: list[Real] = []
        for which in (0, 1):
            g = gamma(n + 5, m.sums)
            if which == 1:
                g = gamma_probable(n + 5, m.sums, math.prod(full))
            radii = [ball.radii[which] for ball in group]
            squares = total_of((abs(v) + r) ** 2 for v, r in zip(values, radii, strict=True))
            if any(infinite(r) for r in (*radii, g)) or squares * (1 + g) > greatest(m.sums):
                errors.append(INFINITY)
                continue
            off = _off_mean(m, values, radii, mu, g, True)
            moved = _off_variance(m, values, radii, mu, off, g) * share
            three = gamma(3, m.values)
            errors.append(moved * (1 + three) + three * value + 3 * tiny(m.values))
        return finished(value, (ZERO, ZERO), errors, m)

    found = tensor(full, item)
    return found if keepdim else found.reshaped([k for a, k in enumerate(full) if a not in axes])


def layer_norm(
    m: Machine,
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    normalized_shape: Any,
    eps: float | None = 1e-5,
    centred: bool = True,
) -> Tensor:
    """Groups are the last axes; with ``centred`` False, RMS norm."""
    shape = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    least = 2 * unit(m.values) if eps is None else Fraction(eps)
    return _affine(m, _in_groups(m, x, math.prod(shape), least, centred), weight, bias)


def group_norm(
    m: Machine,
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    num_groups: int,
    eps: float = 1e-5,
) -> Tensor:
    """Groups are runs of channels of one sample; one channel each is instance norm."""
    n = math.prod(x.shape[1:]) // num_groups
    shape = (-1, *(1,) * (len(x.shape) - 2))
    parts = [None if p is None else p.reshaped(shape) for p in (weight, bias)]
    return _affine(m, _in_groups(m, x, n, Fraction(eps), True), parts[0], parts[1])


def batch_norm(
    m: Machine,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    **_: Any,
) -> Tensor:
    """With running statistics (ADM-8)."""

    def item(place: tuple[int, ...]) -> Ball:
        channel, ball = place[1:2], x.at(place)
        mu, beta = mean.at(channel).value, ZERO if bias is None else bias.at(channel).value
        gain = Fraction(1) if weight is None else weight.at(channel).value
        k = gain / reals.sqrt(variance.at(channel).value + Fraction(eps))
        errors = [
            rounding(16, (abs(ball.value) + r + abs(mu)) * abs(k), m.values)
            + rounding(3, abs(beta), m.values)
            for r in ball.radii
        ]
        spreads = [r * abs(k) for r in ball.radii]
        return finished((ball.value - mu) * k + beta, spreads, errors, m)

    return tensor(x.shape, item)


def softmax(m: Machine, x: Tensor, dim: int = -1, online: bool = False) -> Tensor:
    """Along one axis (ADM-9)."""
    axis = dim % len(x.shape)
    n = x.shape[axis]
    found: dict[tuple[int, ...], Ball] = {}
    for place in places([1 if a == axis else k for a, k in enumerate(x.shape)]):
        row = [(*place[:axis], i, *place[axis + 1 :]) for i in range(n)]
        balls = _shares(m, [x.at(p) for p in row], len(x.items) // n, online)
        found.update(zip(row, balls, strict=True))
    return tensor(x.shape, lambda place: found[place])


def _shares(m: Machine, row: Sequence[Ball], rows: int, online: bool) -> list[Ball]:
    n, u, t = len(row), unit(m.values), tiny(m.values)
    top = max(ball.value for ball in row)
    gone = [infinite(ball.value) for ball in row]
    weights = [
        ZERO if out else reals.exp(ball.value - top) for ball, out in zip(row, gone, strict=True)
    ]
    shares = [w / total_of(weights) for w in weights]
    errors: list[list[Real]] = []
    for which in (0, 1):
        g = gamma(n + 5, m.sums)
        if which == 1:
            g = gamma_probable(n + 5, m.sums, rows)
        widest = max(ball.radii[which] for ball in row)
        if infinite(widest):
            errors.append([INFINITY] * n)
            continue
        here = [ball for ball, out in zip(row, gone, strict=True) if not out]
        up = max(ball.value + ball.radii[which] for ball in here) - top
        moved = max(up, top - max(ball.value - ball.radii[which] for ball in here))
        spans = [
            moved + (ZERO if out else abs(ball.value - top) + ball.radii[which])
            for ball, out in zip(row, gone, strict=True)
        ]
        near = [
            span
            for ball, span, out in zip(row, spans, gone, strict=True)
            if not out and ball.value - top + ball.radii[which] > VANISHED
        ]
        more = 3 * u * max(near) + 9 * u * math.ceil(Fraction(n, 16)) if online else ZERO
        grown = [
            reals.exp(ball.radii[which] + 3 * u * span + 7 * u + more)
            for ball, span in zip(row, spans, strict=True)
        ]
        total = total_of(p * e for p, e in zip(shares, grown, strict=True))
        errors.append(
            [
                ZERO
                if out
                else p * (e * total * reals.exp(7 * u) / (1 - g) - 1) + 2 * t * (4 + 3 * n * p)
                for p, e, out in zip(shares, grown, gone, strict=True)
            ]
        )
    return [finished(p, (ZERO, ZERO), pair, m) for p, *pair in zip(shares, *errors, strict=True)]


def attention(
    m: Machine,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Scores, softmax with rescaling, and the sum of values (ADM-9)."""
    depth = query.shape[-1]
    factor = 1 / reals.sqrt(Fraction(depth)) if scale is None else Fraction(scale)
    found = scores(m, query, key, factor)
    if is_causal:
        every, out = found, Ball(-INFINITY)
        found = tensor(every.shape, lambda p: out if p[-1] > p[-2] else every.at(p))
    if attn_mask is not None:
        found = binary(m, "add", found, attn_mask, {})
    return matmul(m, softmax(m, found, -1, online=True), value)


def upsample(
    m: Machine,
    x: Tensor,
    size: Sequence[int],
    bilinear: bool,
    align_corners: bool = False,
    scale_factor: Sequence[float | None] | None = None,
) -> Tensor:
    """To a size on the axes from 2 on, by the ratio of the extents or by a factor (ADM-10)."""
    inputs = x.shape[2:]
    steps = [
        Fraction(n, k) if f is None else 1 / Fraction(f)
        for n, k, f in zip(inputs, size, scale_factor or [None] * len(inputs), strict=True)
    ]

    def item(place: tuple[int, ...]) -> Ball:
        rows = [
            _weights(i, n, k, step, bilinear, align_corners)
            for i, n, k, step in zip(place[2:], inputs, size, steps, strict=True)
        ]
        if not bilinear:
            return _nearest(x, place[:2], [list(row) for row in rows])
        value, spreads, reach, plain = ZERO, [ZERO, ZERO], [ZERO, ZERO], ZERO
        for at in places(inputs):
            exact, loose = Fraction(1), Fraction(1)
            for row, i, n in zip(rows, at, inputs, strict=True):
                exact *= row.get(i, ZERO)
                loose *= (row[i] + 4 * unit(m.values) * n) if i in row else ZERO
            ball = x.at((*place[:2], *at))
            value += exact * ball.value
            plain += exact * abs(ball.value)
            for which in (0, 1):
                spreads[which] += loose * ball.radii[which]
                reach[which] += loose * (abs(ball.value) + ball.radii[which])
        errors = [r - plain + rounding(5 * len(inputs), r, m.values) for r in reach]
        return finished(value, spreads, errors, m)

    return tensor((*x.shape[:2], *size), item)


def _nearest(x: Tensor, lead: tuple[int, ...], rows: list[list[int]]) -> Ball:
    """The element that is meant, and those that roundings of the place may take instead."""
    meant, *others = (x.at((*lead, *places)) for places in product(*rows))
    radii = [
        max([meant.radii[k], *(abs(o.value - meant.value) + o.radii[k] for o in others)])
        for k in (0, 1)
    ]
    return Ball(meant.value, radii[0], radii[1])


def _weights(
    i: int, n: int, m: int, step: Fraction, bilinear: bool, align_corners: bool
) -> dict[int, Fraction]:
    """Weights of the inputs that output i of m may take, those of weight 0 included."""
    if not bilinear:
        # Four roundings of float32, but for a ratio that it holds: 24 bits and a power of two.
        whole = step.denominator & (step.denominator - 1) == 0 and step.numerator < 2**24
        off = ZERO if whole else 4 * unit(FLOAT32) * i * step
        meant = min(math.floor(i * step), n - 1)
        others = (min(math.floor(i * step + e), n - 1) for e in (-off, off))
        return dict.fromkeys([meant, *others], Fraction(1))
    if align_corners:
        place = Fraction(i * (n - 1), m - 1) if m > 1 else ZERO
    else:
        place = max((i + Fraction(1, 2)) * step - Fraction(1, 2), ZERO)
    below = min(math.floor(place), n - 1)
    row = {max(0, min(below + step, n - 1)): ZERO for step in (-1, 0, 1, 2)}
    row[below] += 1 - (place - below)
    row[min(below + 1, n - 1)] += place - below
    return row


def _in_groups(m: Machine, x: Tensor, n: int, eps: Real, centred: bool) -> Tensor:
    """Each run of n elements normalized."""
    balls: list[Ball] = []
    for start in range(0, len(x.items), n):
        group = x.items[start : start + n]
        balls += normalized(m, group, len(x.items) // n, eps, centred)
    return Tensor(x.shape, tuple(balls))


def _affine(m: Machine, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        x = binary(m, "mul", x, weight, {})
    return x if bias is None else binary(m, "add", x, bias, {})
