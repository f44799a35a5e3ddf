"""Values between elements: cubic interpolation, and places that a tensor names (ADM-2, ADM-10)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic, gamma
from quant_reference.admissible.bounds import Bounds, Float64, Operand, bounds_of, result, rounding
from quant_reference.admissible.elementwise import KINDS
from quant_reference.admissible.shapes import Factors, extents_of
from quant_reference.errors import InputError

CUBIC = -0.75
"""The parameter of Keys' kernel that torch and Core ML have."""

STEEPEST = 1.35
"""Of that kernel: |3.75·t² − 4.5·t| at t = 0.6."""

WEIGHT_SIZE = 36
"""Of its outer polynomial, Σ |coefficient|·2^power: 0.75·8 + 3.75·4 + 6·2 + 3."""

Indices = NDArray[np.int64]


def upsample_bicubic(
    x: Operand,
    size: int | Sequence[int] | None = None,
    scale_factor: Factors = None,
    align_corners: bool = False,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Cubic interpolation by four elements on each axis from 2 on (ADM-2).

    A weight is off by 1.35 times the error of the place, 4u·n, and by the seven roundings of a
    polynomial whose terms add up to 36 at most; the sum rounds six times per axis.
    """
    x = bounds_of(x, arithmetic)
    exact, loose = [], []
    sizes = extents_of(x, size, scale_factor)
    unit = arithmetic.value.unit
    for n, m, ratio in sizes:
        weights, near = _cubic(n, m, float(ratio), align_corners)
        exact.append(weights)
        off = STEEPEST * 4 * unit * n + gamma(7, unit) * WEIGHT_SIZE
        loose.append(np.abs(weights) + near * off)

    def along(array: Float64, matrices: list[Float64]) -> Float64:
        for axis, matrix in enumerate(matrices, start=2):
            array = np.moveaxis(np.moveaxis(array, axis, -1) @ matrix.T, -1, axis)
        return array

    with np.errstate(invalid="ignore"):
        value = along(x.value, exact)
        plain = along(np.abs(x.value), [np.abs(matrix) for matrix in exact])
        spread, errors = [], []
        for kind in KINDS:
            radius = getattr(x, kind)
            size_of = along(np.abs(x.value) + radius, loose)
            spread.append(along(radius, loose))
            errors.append(size_of - plain + rounding(size_of, arithmetic, 6 * len(sizes)))
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def _cubic(n: int, m: int, ratio: float, align_corners: bool) -> tuple[Float64, Float64]:
    """Weights of n inputs in each of m outputs, and which weights an error in place can reach."""
    steps = np.arange(m, dtype=np.float64)
    if align_corners:
        place = steps * (n - 1) / (m - 1) if m > 1 else np.zeros(m)
    else:
        place = (steps + 0.5) * ratio - 0.5
    below = np.floor(place).astype(int)
    share = place - below
    weights, near = np.zeros((m, n)), np.zeros((m, n))
    rows, a = np.arange(m), CUBIC
    for shift, t in ((-1, share + 1), (0, share), (1, 1 - share), (2, 2 - share)):
        inner = ((a + 2) * t - (a + 3)) * t * t + 1
        outer = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        weight = np.where(t <= 1, inner, outer)
        np.add.at(weights, (rows, np.clip(below + shift, 0, n - 1)), weight)
    for shift in range(-2, 4):
        # At an edge several taps are one element, whose weight is off by the sum of theirs.
        np.add.at(near, (rows, np.clip(below + shift, 0, n - 1)), 1.0)
    return weights, near


def grid_sample(
    x: Operand,
    grid: Operand,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Elements of (N, C, H, W) at the places of a grid (N, H', W', 2), in −1 to 1 (ADM-2).

    A place on an axis of n elements is off by δ = γ_8·n·(|g| + 1), and by n/2 of the grid's
    radius. Bilinear interpolation moves by δ times the greatest difference of neighbours around,
    and rounds eight times; where δ reaches 1 (nearest: ½), nothing is known. Of the nearest,
    those that the place may fall on.

    Raises:
        InputError: Another mode, or shapes that do not fit.
    """
    x, grid = bounds_of(x, arithmetic), bounds_of(grid, arithmetic)
    modes = mode in ("bilinear", "nearest") and padding_mode in ("zeros", "border", "reflection")
    shapes = x.value.ndim == 4 and grid.value.ndim == 4 and grid.shape[-1] == 2
    if not (modes and shapes):
        raise InputError(
            "grid_sample",
            given=f"{x.shape}, {grid.shape}, {mode}, {padding_mode}",
            allowed="(N, C, H, W), (N, H', W', 2); bilinear, nearest; zeros, border, reflection",
            clause="ADM-2",
        )
    height, width = x.shape[2:]
    places, offs = [], []
    for axis, n in ((1, height), (0, width)):
        known = np.isfinite(grid.value[..., axis])
        g = np.where(known, grid.value[..., axis], 0.0)
        place = (g + 1) / 2 * (n - 1) if align_corners else ((g + 1) * n - 1) / 2
        places.append(_inside(place, n, padding_mode, align_corners))
        radii = [np.where(known, getattr(grid, kind)[..., axis], np.inf) for kind in KINDS]
        off = [gamma(8, arithmetic.value.unit) * n * (np.abs(g) + r + 1) + n / 2 * r for r in radii]
        offs.append(off)
    sample = _bilinear if mode == "bilinear" else _nearest
    return sample(x, places, offs, arithmetic)


def _inside(place: Float64, n: int, padding_mode: str, align_corners: bool) -> Float64:
    """What padding makes of a place; none of it moves two places further apart."""
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        low, span = (0.0, n - 1.0) if align_corners else (-0.5, float(n))
        turned = np.mod(place - low, 2 * span) if span else np.zeros_like(place)
        place = np.minimum(turned, 2 * span - turned) + low
    return np.clip(place, 0.0, n - 1.0)


def _patch(x: Float64, row: Indices, column: Indices) -> Float64:
    """Elements at places (N, H', W') of each channel, 0 outside: (N, C, H', W')."""
    height, width = x.shape[2:]
    held = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    batch = np.arange(len(x)).reshape(-1, 1, 1)
    found = x[batch, :, np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return np.where(held[:, None], np.moveaxis(found, -1, 1), 0.0)


def _bilinear(
    x: Bounds, places: list[Float64], offs: list[list[Float64]], arithmetic: Arithmetic
) -> Bounds:
    (rows, columns), around = places, range(-1, 3)
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, right = (rows - top)[:, None], (columns - left)[:, None]

    def patch(array: Float64) -> dict[tuple[int, int], Float64]:
        return {(i, j): _patch(array, top + i, left + j) for i, j in product(around, around)}

    v = patch(x.value)
    above = v[0, 0] * (1 - right) + v[0, 1] * right
    value = above * (1 - down) + (v[1, 0] * (1 - right) + v[1, 1] * right) * down
    size = np.max([np.abs(each) for each in v.values()], axis=0)
    steep_rows = np.max([np.abs(v[i + 1, j] - v[i, j]) for i in (-1, 0, 1) for j in around], axis=0)
    steep_columns = np.max(
        [np.abs(v[i, j + 1] - v[i, j]) for i in around for j in (-1, 0, 1)], axis=0
    )
    spread, errors = [], []
    for index, kind in enumerate(KINDS):
        radius = np.max(list(patch(getattr(x, kind)).values()), axis=0)
        by_row, by_column = (off[index][:, None] for off in offs)
        far = (by_row >= 1) | (by_column >= 1)
        by_row, by_column = np.minimum(by_row, 1.0), np.minimum(by_column, 1.0)
        steep = by_row * (steep_rows + 2 * radius) + by_column * (steep_columns + 2 * radius)
        spread.append(np.where(far, np.inf, radius))
        errors.append(steep + rounding(size + radius, arithmetic, 8))
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def _nearest(
    x: Bounds, places: list[Float64], offs: list[list[Float64]], arithmetic: Arithmetic
) -> Bounds:
    meant = [np.rint(place).astype(np.int64) for place in places]
    value = _patch(x.value, *meant)
    radii = []
    for index, kind in enumerate(KINDS):
        radius = getattr(x, kind)
        reach = _patch(radius, *meant)
        offset = [np.minimum(off[index], 0.5) for off in offs]
        ends = [
            [np.rint(p + s * o).astype(np.int64) for s in (-1, 1)]
            for p, o in zip(places, offset, strict=True)
        ]
        for other in product(*ends):
            gap = np.abs(_patch(x.value, *other) - value) + _patch(radius, *other)
            reach = np.maximum(reach, gap)
        far = np.any([off[index] >= 0.5 for off in offs], axis=0)[:, None]
        radii.append(np.where(far, np.inf, reach))
    return Bounds(value, radii[0], radii[1])
