"""Operations that move elements, and interpolation (ADM-5, ADM-10)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic
from quant_reference.admissible.bounds import Bounds, Float64, Operand, bounds_of, result, rounding
from quant_reference.admissible.elementwise import KINDS
from quant_reference.admissible.indexing import lost
from quant_reference.errors import InputError

Indices = NDArray[np.int_]
Factors = float | Sequence[float | None] | None


def reshape(x: Operand, shape: Sequence[int], *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """The same elements in another shape."""
    return bounds_of(x, arithmetic).map(lambda a: a.reshape(tuple(shape)))


def flatten(
    x: Operand, start_dim: int = 0, end_dim: int = -1, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """Axes start_dim to end_dim as one."""
    x = bounds_of(x, arithmetic)
    rank = max(x.value.ndim, 1)
    start, end = start_dim % rank, end_dim % rank
    shape = (*x.shape[:start], -1, *x.shape[end + 1 :])
    return x.map(lambda a: a.reshape(shape))


def permute(x: Operand, dims: Sequence[int], *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Axes in another order."""
    return bounds_of(x, arithmetic).map(lambda a: a.transpose(tuple(dims)))


def transpose(x: Operand, dim0: int, dim1: int, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Two axes swapped."""
    return bounds_of(x, arithmetic).map(lambda a: a.swapaxes(dim0, dim1))


def squeeze(
    x: Operand, dim: int | Sequence[int] | None = None, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """Without axes of extent 1; axes of another extent stay."""
    x = bounds_of(x, arithmetic)
    given = range(x.value.ndim) if dim is None else ([dim] if isinstance(dim, int) else dim)
    axes = tuple(axis % x.value.ndim for axis in given)
    gone = tuple(axis for axis in axes if x.shape[axis] == 1)
    return x.map(lambda a: a.squeeze(gone))


def unsqueeze(x: Operand, dim: int, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """With a further axis of extent 1."""
    return bounds_of(x, arithmetic).map(lambda a: np.expand_dims(a, dim))


def expand(x: Operand, size: Sequence[int], *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Repeated along axes of extent 1; −1 keeps an axis."""
    x = bounds_of(x, arithmetic)
    lead = len(size) - x.value.ndim
    shape = tuple(x.shape[i - lead] if n == -1 else n for i, n in enumerate(size))
    return x.map(lambda a: np.broadcast_to(a, shape))


def select(x: Operand, dim: int, index: int, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """One entry of an axis, without the axis."""
    return bounds_of(x, arithmetic).map(lambda a: np.take(a, index, axis=dim))


def slice_(
    x: Operand,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """A range of an axis."""
    x = bounds_of(x, arithmetic)
    index = (slice(None),) * (dim % x.value.ndim)
    return x.map(lambda a: a[(*index, slice(start, end, step))])


def cat(*tensors: Operand, dim: int = 0, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Tensors one behind the other along an axis."""
    if not tensors:
        raise InputError("cat", given="no tensor", allowed="at least one", clause="ADM-5")
    parts = [bounds_of(tensor, arithmetic) for tensor in tensors]
    return Bounds(
        np.concatenate([p.value for p in parts], axis=dim),
        np.concatenate([p.rigorous for p in parts], axis=dim),
        np.concatenate([p.probable for p in parts], axis=dim),
    )


def pad(
    x: Operand,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Padding of the last axes, the last one first as in torch; constant, reflect or replicate."""
    x = bounds_of(x, arithmetic)
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
    if mode not in modes or len(pad) % 2 or len(pad) > 2 * x.value.ndim:
        raise InputError(
            "pad",
            given=f"{list(pad)}, {mode}",
            allowed=f"two ints an axis, at most {x.value.ndim} axes; {', '.join(modes)}",
            clause="ADM-5",
        )
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)][::-1]
    width = [(0, 0)] * (x.value.ndim - len(pairs)) + pairs
    cut = tuple(slice(max(0, -a), n - max(0, -b)) for n, (a, b) in zip(x.shape, width, strict=True))
    more = [(max(0, a), max(0, b)) for a, b in width]
    kept = x.map(lambda a: a[cut])
    if mode != "constant":
        return kept.map(lambda a: np.pad(a, more, mode=modes[mode]))  # type: ignore[call-overload]
    fill = bounds_of(float(value or 0.0), arithmetic)
    return Bounds(
        np.pad(kept.value, more, constant_values=fill.value),
        np.pad(kept.rigorous, more, constant_values=fill.rigorous),
        np.pad(kept.probable, more, constant_values=fill.probable),
    )


def embedding(
    indices: Operand, weight: Operand, *, arithmetic: Arithmetic = FLOAT32, **_: Any
) -> Bounds:
    """Rows of a table: exact; nothing is known of one whose index has a radius.

    Raises:
        InputError: Indices that are not whole numbers inside the table.
    """
    table, given = bounds_of(weight, arithmetic), bounds_of(indices, arithmetic)
    rows, exact = given.value.astype(np.int64), given.rigorous == 0
    if (exact & ((rows != given.value) | (rows < 0) | (rows >= len(table.value)))).any():
        raise InputError(
            "embedding: indices",
            given=given.value,
            allowed=f"whole numbers from 0 to {len(table.value) - 1}",
            clause="ADM-5",
        )
    found = table.map(lambda a: a[np.where(exact, rows, 0)])
    unsure = np.reshape(~exact, exact.shape + (1,) * (table.value.ndim - 1))
    return found if exact.all() else lost(found, unsure)


def upsample_nearest(
    x: Operand,
    size: int | Sequence[int] | None = None,
    scale_factor: Factors = None,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Element ⌊i·n/m⌋ of n for element i of m, or ⌊i/f⌋ for a factor f (ADM-10).

    The place is computed in float32 with four roundings: where it may fall on either side of a
    whole number, the elements on both sides may be taken. A ratio that float32 holds loses nothing.
    """
    x = bounds_of(x, arithmetic)
    meant, beside = [], []
    for n, m, ratio in extents_of(x, size, scale_factor):
        held = float(ratio) == ratio and float(np.float32(float(ratio))) == ratio
        off = 0 if held else Fraction(4, 2**24)
        first, here, last = (
            np.array([min(math.floor(i * ratio * (1 + e)), n - 1) for i in range(m)], int)
            for e in (-off, 0, off)
        )
        meant.append(here)
        beside.append([here, *(other for other in (first, last) if (other != here).any())])
    found = x.map(lambda a: _at(a, meant))
    radii = [found.rigorous, found.probable]
    for places in list(product(*beside))[1:]:
        other = x.map(lambda a, places=places: _at(a, places))  # type: ignore[misc]
        with np.errstate(invalid="ignore"):
            gap = np.abs(other.value - found.value)
        reach = (np.where(gap == 0, 0.0, gap) + getattr(other, kind) for kind in KINDS)
        radii = [np.maximum(a, b) for a, b in zip(radii, reach, strict=True)]
    return Bounds(found.value, *(np.where(np.isnan(radius), np.inf, radius) for radius in radii))


def _at(array: Float64, places: Sequence[Indices]) -> Float64:
    """The elements at some places of each axis from 2 on."""
    for axis, index in enumerate(places, start=2):
        array = np.take(array, index, axis=axis)
    return array


def upsample_bilinear(
    x: Operand,
    size: int | Sequence[int] | None = None,
    scale_factor: Factors = None,
    align_corners: bool = False,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Linear interpolation on each axis from 2 on (ADM-10).

    The place of an output in the input, at most n, is computed with four roundings: the weights of
    its two neighbours are off by e = 4u·n, and near an element the next pair of neighbours may be
    taken. The sum itself rounds five times per axis.
    """
    x = bounds_of(x, arithmetic)
    sizes = extents_of(x, size, scale_factor)
    unit = arithmetic.value.unit
    exact, loose = [], []
    for n, m, ratio in sizes:
        weights, near = _interpolation(n, m, float(ratio), align_corners)
        exact.append(weights)
        loose.append(weights + near * (4 * unit * n))

    def along(array: Float64, matrices: list[Float64]) -> Float64:
        for axis, matrix in enumerate(matrices, start=2):
            array = np.moveaxis(np.moveaxis(array, axis, -1) @ matrix.T, -1, axis)
        return array

    with np.errstate(invalid="ignore"):
        value = along(x.value, exact)
        spread, errors = [], []
        for kind in KINDS:
            radius = getattr(x, kind)
            size_of = along(np.abs(x.value) + radius, loose)
            plain = along(np.abs(x.value), exact)
            moved = along(radius, loose)
            spread.append(moved)
            errors.append(size_of - plain + rounding(size_of, arithmetic, 5 * len(sizes)))
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def _interpolation(n: int, m: int, ratio: float, align_corners: bool) -> tuple[Float64, Float64]:
    """Weights of n inputs in each of m outputs, and which weights an error in place can reach."""
    steps = np.arange(m, dtype=np.float64)
    if align_corners:
        place = steps * (n - 1) / (m - 1) if m > 1 else np.zeros(m)
    else:
        place = np.maximum((steps + 0.5) * ratio - 0.5, 0.0)
    below = np.minimum(np.floor(place).astype(int), n - 1)
    share = place - below
    weights, near = np.zeros((m, n)), np.zeros((m, n))
    rows = np.arange(m)
    np.add.at(weights, (rows, below), 1 - share)
    np.add.at(weights, (rows, np.minimum(below + 1, n - 1)), share)
    for shift in (-1, 0, 1, 2):
        near[rows, np.clip(below + shift, 0, n - 1)] = 1.0
    return weights, near


def extents_of(
    x: Bounds, size: int | Sequence[int] | None, scale_factor: Factors
) -> list[tuple[int, int, Fraction]]:
    """For each axis from 2 on how many elements there are, and will be, and their distance.

    A factor f gives ⌊n·f⌋ elements that are 1/f apart, a size of m elements such that are n/m
    apart; where an axis has both, the size says how many there are.
    """
    extents = x.shape[2:]
    axes = len(extents)
    if axes < 1 or (size is None and scale_factor is None):
        raise InputError(
            "upsample",
            given=f"shape {x.shape}, size {size}, scale_factor {scale_factor}",
            allowed="(N, C, ...) and a size or a factor",
            clause="ADM-10",
        )
    factors = list(scale_factor) if isinstance(scale_factor, Sequence) else [scale_factor] * axes
    if len(factors) != axes or any(f is not None and not 0 < f < math.inf for f in factors):
        raise InputError(
            "upsample: scale_factor",
            given=scale_factor,
            allowed=f"{axes} positive numbers, or None",
            clause="ADM-10",
        )
    if size is None:
        counted = zip(extents, factors, strict=True)
        found = tuple(n if f is None else math.floor(n * Fraction(f)) for n, f in counted)
    else:
        found = (size,) * axes if isinstance(size, int) else tuple(size)
    if len(found) != axes or min(found) < 1:
        raise InputError("upsample: size", given=found, allowed=f"{axes} extents", clause="ADM-10")
    return [
        (n, m, Fraction(n, m) if f is None else 1 / Fraction(f))
        for n, m, f in zip(extents, found, factors, strict=True)
    ]
