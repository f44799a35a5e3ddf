"""Sums of products by their definitions, with the bounds of ADM-2 to ADM-4."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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
    finished,
    gamma,
    gamma_probable,
    greatest,
    places,
    rounding,
    tensor,
    times,
    tiny,
)

Pairs = Iterable[tuple[Ball, Ball]]
ONE = Ball(Fraction(1))


def summed(
    pairs: Pairs,
    depth: int,
    elements: int,
    machine: Machine,
    bias: Ball | None = None,
    factor: Fraction = Fraction(1),
    divisor: int = 1,
) -> Ball:
    """One element Σ a·b·factor + bias of a result of so many elements; ``divisor`` of a mean."""
    terms = list(pairs)
    added = [] if bias is None else [bias]
    value = total_of(a.value * b.value * factor for a, b in terms)
    value += total_of(b.value for b in added)
    spreads, errors = [], []
    count, size = depth + 5, abs(factor)
    for which in (0, 1):
        spread = total_of(b.radii[which] for b in added)
        total = total_of(abs(b.value) + b.radii[which] for b in added)
        for a, b in terms:
            ra, rb = a.radii[which], b.radii[which]
            spread += times(abs(b.value) + rb, ra) * size + times(abs(a.value), rb) * size
            total += times(abs(a.value) + ra, abs(b.value) + rb) * size
        growth = gamma(count, machine.sums)
        if which == 1:
            growth = gamma_probable(count, machine.sums, elements)
        error = ZERO if total == 0 else total * growth + count * tiny(machine.sums) * (1 + growth)
        if total * (1 + growth) * divisor > greatest(machine.sums):
            spread = INFINITY
        if machine.values != machine.sums:
            error += rounding(1, abs(value) + spread + error, machine.values)
        spreads.append(spread)
        errors.append(error)
    return finished(value, spreads, errors, machine)


def total_of(terms: Iterable[Real]) -> Real:
    """The exact sum."""
    total: Real = ZERO
    for term in terms:
        total += term
    return total


def linear(m: Machine, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows of x times rows of the weight, plus the bias."""
    depth = weight.shape[1]
    shape = (*x.shape[:-1], weight.shape[0])

    def item(place: tuple[int, ...]) -> Ball:
        pairs = [(x.at((*place[:-1], i)), weight.at((place[-1], i))) for i in range(depth)]
        added = None if bias is None else bias.at(place[-1:])
        return summed(pairs, depth, math.prod(shape), m, added)

    return tensor(shape, item)


def matmul(m: Machine, a: Tensor, b: Tensor) -> Tensor:
    """Matrices times matrices; leading axes are broadcast."""
    return _products(m, a, b, 0, Fraction(1))


def scores(m: Machine, query: Tensor, key: Tensor, factor: Fraction) -> Tensor:
    """Scores query · keyᵀ · factor, with two roundings more (ADM-9)."""
    *lead, length, depth = key.shape
    turned = tensor((*lead, depth, length), lambda p: key.at((*p[:-2], p[-1], p[-2])))
    return _products(m, query, turned, 2, factor)


def _products(m: Machine, a: Tensor, b: Tensor, more: int, factor: Fraction) -> Tensor:
    depth = a.shape[-1]
    lead = _broadcast(a.shape[:-2], b.shape[:-2])
    shape = (*lead, a.shape[-2], b.shape[-1])

    def item(place: tuple[int, ...]) -> Ball:
        *of, i, j = place
        pa, pb = _own(of, a.shape[:-2]), _own(of, b.shape[:-2])
        pairs = [(a.at((*pa, i, k)), b.at((*pb, k, j))) for k in range(depth)]
        return summed(pairs, depth + more, math.prod(shape), m, factor=factor)

    return tensor(shape, item)


def einsum(m: Machine, a: Tensor, b: Tensor, equation: str) -> Tensor:
    """Two operands, letters only, with an arrow."""
    inputs, output = equation.replace(" ", "").split("->")
    first, second = inputs.split(",")
    extents = dict(zip(first + second, a.shape + b.shape, strict=True))
    inner = sorted(set(first + second) - set(output))
    depth = math.prod(extents[letter] for letter in inner)
    shape = tuple(extents[letter] for letter in output)

    def item(place: tuple[int, ...]) -> Ball:
        pairs = []
        for summed_over in places([extents[letter] for letter in inner]):
            where = {**dict(zip(output, place, strict=True)),
                     **dict(zip(inner, summed_over, strict=True))}  # fmt: skip
            pairs.append((a.at([where[c] for c in first]), b.at([where[c] for c in second])))
        return summed(pairs, depth, math.prod(shape), m)

    return tensor(shape, item)


def reduced(m: Machine, x: Tensor, dim: Any, keepdim: bool, average: bool) -> Tensor:
    """Sum or mean over axes."""
    rank = len(x.shape)
    axes = sorted({a % rank for a in (range(rank) if dim is None else _list(dim))})
    count = math.prod(x.shape[a] for a in axes)
    share = Ball(Fraction(1, count) if average else Fraction(1))
    full = tuple(1 if a in axes else n for a, n in enumerate(x.shape))

    def item(place: tuple[int, ...]) -> Ball:
        over = product(*(range(n) if a in axes else (place[a],) for a, n in enumerate(x.shape)))
        pairs = [(x.at(p), share) for p in over]
        return summed(pairs, count, math.prod(full), m, divisor=count if average else 1)

    found = tensor(full, item)
    return found if keepdim else found.reshaped([n for a, n in enumerate(full) if a not in axes])


def running(m: Machine, x: Tensor, dim: int) -> Tensor:
    """Sums of the first elements along an axis."""
    axis = dim % len(x.shape)

    def item(place: tuple[int, ...]) -> Ball:
        before = range(place[axis] + 1)
        pairs = [(x.at((*place[:axis], i, *place[axis + 1 :])), ONE) for i in before]
        return summed(pairs, x.shape[axis], math.prod(x.shape), m)

    return tensor(x.shape, item)


def _list(given: Any) -> list[int]:
    return [given] if isinstance(given, int) else list(given)


def _broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    rank = max(len(a), len(b))
    pa, pb = (1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b)
    return tuple(max(m, n) if min(m, n) else 0 for m, n in zip(pa, pb, strict=True))


def _own(place: Sequence[int], shape: Sequence[int]) -> list[int]:
    """The element of a broadcast operand at a place of the result."""
    own = place[len(place) - len(shape) :]
    return [0 if n == 1 else i for i, n in zip(own, shape, strict=True)]
