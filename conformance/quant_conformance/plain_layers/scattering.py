"""Writes to places, distances and sampled places in plain numpy (SPEC.md, ADM-2, ADM-4, ADM-5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from quant_conformance.protocol import Array

_MEET: Mapping[str, Any] = {
    "sum": np.add,
    "mean": np.add,
    "prod": np.multiply,
    "amax": np.maximum,
    "amin": np.minimum,
}


def _scatter(
    x: Array,
    index: Array,
    src: Any,
    dim: int,
    reduce: str = "replace",
    include_self: bool = True,
) -> Array:
    """Element by element, in the order of the index."""
    found, places = x.astype(np.float32), index.astype(np.int64)
    source, count = np.asarray(src), np.zeros(x.shape, np.int64)
    for at in np.ndindex(places.shape):
        to = list(at)
        to[dim % x.ndim] = places[at] % x.shape[dim]
        place, given = tuple(to), source[at] if source.ndim else source
        if reduce == "replace" or (not include_self and not count[place]):
            found[place] = given
        else:
            found[place] = _MEET[reduce](found[place], given)
        count[place] += 1
    if reduce == "mean":
        found /= np.maximum(count + (1 if include_self else 0), 1).astype(np.float32)
    return found


def _index_put(x: Array, values: Array, *indices: Array | None, accumulate: bool = False) -> Array:
    found = x.astype(np.float32)  # in which sums are made; it is stored as the values are
    places: Any = tuple(slice(None) if i is None else i.astype(np.int64) for i in indices)
    if accumulate:
        np.add.at(found, places, values)
    else:
        found[places] = values
    return found


def _fold(
    x: Array,
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    stride: Sequence[int] = (1, 1),
) -> Array:
    """Tap by tap into an image with its padding, which is cut off."""
    wide = [n + 2 * p for n, p in zip(output_size, padding, strict=True)]
    counts = [
        (n - d * (k - 1) - 1) // s + 1
        for n, d, k, s in zip(wide, dilation, kernel_size, stride, strict=True)
    ]
    taps = x.reshape(len(x), -1, *kernel_size, *counts)
    found = np.zeros((*taps.shape[:2], *wide), np.float32)
    for i, j in product(*map(range, kernel_size)):
        row, column = i * dilation[0], j * dilation[1]
        rows = slice(row, row + counts[0] * stride[0], stride[0])
        columns = slice(column, column + counts[1] * stride[1], stride[1])
        found[:, :, rows, columns] += taps[:, :, i, j]
    (top, left), (height, width) = padding, output_size
    return found[:, :, top : top + height, left : left + width]


def _lerp(start: Array, end: Array, weight: Any) -> Array:
    """From the nearer end, as torch has it."""
    w, apart = np.asarray(weight, start.dtype), end - start
    return np.where(np.abs(w) < 0.5, start + w * apart, end - apart * (1 - w))


def _var(x: Array, dim: Any = None, correction: float = 1, keepdim: bool = False) -> Array:
    """In two passes."""
    axes = None if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    mean = x.mean(axis=axes, keepdims=True, dtype=np.float32).astype(x.dtype)
    total = ((x - mean).astype(np.float32) ** 2).sum(axis=axes, keepdims=keepdim)
    count = x.size // np.asarray(mean).size
    return np.asarray(total / np.float32(count - correction))


def _cdist(a: Array, b: Array) -> Array:
    apart = (a[..., :, None, :] - b[..., None, :, :]).astype(np.float32)
    return np.asarray(np.sqrt((apart**2).sum(axis=-1)))


def _cubic(t: Array) -> Array:
    a = np.float32(-0.75)
    inner = ((a + 2) * t - (a + 3)) * t * t + 1
    return np.where(t <= 1, inner, ((a * t - 5 * a) * t + 8 * a) * t - 4 * a)


def _upsample_bicubic(
    x: Array,
    size: Sequence[int],
    scale_factor: Sequence[float | None] | None = None,
    align_corners: bool = False,
) -> Array:
    """Four neighbours on each axis from 2 on."""
    factors = scale_factor or [None] * len(size)
    for axis, (m, factor) in enumerate(zip(size, factors, strict=True), start=2):
        n, steps = x.shape[axis], np.arange(m, dtype=np.float32)
        step = np.float32(n / m if factor is None else 1 / factor)
        place = (steps + np.float32(0.5)) * step - np.float32(0.5)
        if align_corners:
            place = steps * np.float32((n - 1) / max(m - 1, 1))
        below = np.floor(place).astype(int)
        shape = [-1 if a == axis else 1 for a in range(x.ndim)]
        total = np.zeros_like(np.take(x, np.zeros(m, int), axis=axis))
        for tap in range(-1, 3):
            weight = _cubic(np.abs(place - (below + tap)).astype(np.float32))
            taken = np.take(x, np.clip(below + tap, 0, n - 1), axis=axis)
            total = total + taken * weight.reshape(shape).astype(x.dtype)
        x = total
    return x


def _grid_sample(
    x: Array,
    grid: Array,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Array:
    """One result after the other."""
    found = np.zeros((*x.shape[:2], *grid.shape[1:3]), x.dtype)
    for n, i, j in np.ndindex(len(x), *grid.shape[1:3]):
        places = [
            _place(grid[n, i, j, 1 - axis], x.shape[2 + axis], padding_mode, align_corners)
            for axis in (0, 1)
        ]
        if mode == "nearest":
            found[n, :, i, j] = _element(x[n], *(int(np.rint(place)) for place in places))
            continue
        top, left = (int(np.floor(place)) for place in places)
        down, right = (x.dtype.type(p - f) for p, f in zip(places, (top, left), strict=True))
        one = x.dtype.type(1)
        for row, column in product((0, 1), (0, 1)):
            weight = (down if row else one - down) * (right if column else one - right)
            found[n, :, i, j] += _element(x[n], top + row, left + column) * weight
    return found


def _element(x: Array, row: int, column: int) -> Any:
    held = 0 <= row < x.shape[1] and 0 <= column < x.shape[2]
    return x[:, row, column] if held else np.zeros(len(x), x.dtype)


def _place(g: Any, n: int, padding_mode: str, align_corners: bool) -> Any:
    kind = type(g)
    one, two = kind(1), kind(2)
    place = (g + one) / two * kind(n - 1) if align_corners else ((g + one) * kind(n) - one) / two
    if padding_mode == "reflection":
        low, high = (0.0, n - 1.0) if align_corners else (-0.5, n - 0.5)
        while high > low and not low <= place <= high:
            place = kind(2 * low if place < low else 2 * high) - place
    return place if padding_mode == "zeros" else np.clip(place, kind(0), kind(n - 1))


SCATTERING: Mapping[str, Callable[..., Array]] = {
    "scatter": _scatter,
    "index_put": _index_put,
    "fold": _fold,
    "lerp": _lerp,
    "var": _var,
    "cdist": _cdist,
    "upsample_bicubic": _upsample_bicubic,
    "grid_sample": _grid_sample,
    "atan2": np.arctan2,
}
"""Operation -> what numpy gives in the operands' dtype."""
