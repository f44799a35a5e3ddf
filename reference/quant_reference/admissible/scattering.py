"""Elements written to places that indices name: replaced, summed, multiplied, chosen (ADM-5)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic, gamma
from quant_reference.admissible.bounds import Bounds, Float64, Operand, bounds_of, result
from quant_reference.admissible.contractions import accumulated
from quant_reference.admissible.elementwise import KINDS
from quant_reference.admissible.indexing import lost, whole_places
from quant_reference.errors import InputError

Places = NDArray[np.int64]
REDUCTIONS = ("replace", "sum", "mean", "prod", "amax", "amin")


def scatter(
    x: Operand,
    index: Operand,
    src: Operand,
    dim: int,
    reduce: str = "replace",
    include_self: bool = True,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Elements of ``src`` to where an index names a place along one axis of ``x`` (ADM-5).

    Args:
        x: What is written into.
        index: Whole numbers; along the other axes there may be fewer than elements.
        src: At least as large as the index along each axis, or a number.
        dim: The axis.
        reduce: One of :data:`REDUCTIONS`.
        include_self: Whether what was at a place counts, too.
        arithmetic: dtypes of values and sums.

    Raises:
        InputError: Indices that are not whole numbers inside the axis; another reduction.
    """
    x, given = bounds_of(x, arithmetic), bounds_of(index, arithmetic)
    axis = dim % max(x.value.ndim, 1)
    chosen = whole_places(given, x.shape[axis], "scatter")
    cut = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(chosen.shape))
    flat = np.take_along_axis(np.arange(x.value.size).reshape(x.shape)[cut], chosen, axis)
    source = bounds_of(src, arithmetic)
    if source.value.ndim:
        window = tuple(slice(n) for n in chosen.shape)
        source = source.map(lambda a: a[window])
    found = combined(x, flat, source, reduce, include_self, arithmetic)
    unsure = (given.rigorous > 0).any(axis=axis, keepdims=True)
    if not unsure.any():
        return found
    rows = np.zeros([1 if a == axis else n for a, n in enumerate(x.shape)], bool)
    rows[tuple(slice(n) for n in unsure.shape)] = unsure
    return lost(found, np.broadcast_to(rows, x.shape))


def index_put(
    x: Operand,
    values: Operand,
    *indices: Operand | None,
    accumulate: bool = False,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """``x[i, j, …] = values``, or with ``accumulate`` ``+= values`` at every mention (ADM-5).

    Raises:
        InputError: Indices that are not whole numbers inside their axes.
    """
    x = bounds_of(x, arithmetic)
    if len(indices) > x.value.ndim or all(given is None for given in indices):
        raise InputError(
            "index_put: indices",
            given=f"{len(indices)} for shape {x.shape}",
            allowed="at least one, and at most one an axis",
            clause="ADM-5",
        )
    places: list[Any] = []
    known = True
    for axis, given in enumerate(indices):
        if given is None:
            places.append(slice(None))
            continue
        bounds = bounds_of(given, arithmetic)
        known = known and bounds.is_exact
        places.append(whole_places(bounds, x.shape[axis], "index_put"))
    flat = np.arange(x.value.size).reshape(x.shape)[tuple(places)]
    source = bounds_of(values, arithmetic)
    found = combined(x, flat, source, "sum" if accumulate else "replace", True, arithmetic)
    return found if known else lost(found, np.True_)


def fold(
    x: Operand,
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    stride: Sequence[int] = (1, 1),
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Windows of (N, C·k·k, L) summed where they overlap: (N, C, H, W), as torch's fold (ADM-5).

    Raises:
        InputError: Another number of windows or of channels.
    """
    x = bounds_of(x, arithmetic)
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(output_size, kernel_size, dilation, padding, stride, strict=True)
    ]
    taps = kernel_size[0] * kernel_size[1]
    if x.value.ndim != 3 or x.shape[1] % taps or x.shape[2] != counts[0] * counts[1]:
        raise InputError(
            "fold: shape",
            given=x.shape,
            allowed=f"(N, C·{taps}, {counts[0] * counts[1]})",
            clause="ADM-5",
        )
    batch, channels = x.shape[0], x.shape[1] // taps
    rows, columns = (
        np.arange(k)[:, None] * d + np.arange(c) * s - p
        for k, d, c, s, p in zip(kernel_size, dilation, counts, stride, padding, strict=True)
    )
    shape = (batch, channels, *output_size)
    # (k0, k1, c0, c1): the place in an image; what falls on the padding is left out.
    at = rows[:, None, :, None] * output_size[1] + columns[None, :, None, :]
    inside = (rows >= 0) & (rows < output_size[0])
    within = (columns >= 0) & (columns < output_size[1])
    kept = inside[:, None, :, None] & within[None, :, None, :]
    image = output_size[0] * output_size[1]
    base = np.arange(batch * channels).reshape(batch, channels, 1, 1, 1, 1) * image
    flat = np.where(kept, at + base, -1).reshape(x.shape)
    source = x.map(lambda a: a[flat >= 0])
    zeros = Bounds.exact(np.zeros(shape))
    return combined(zeros, flat[flat >= 0], source, "sum", False, arithmetic)


def combined(
    x: Bounds,
    flat: Places,
    source: Bounds,
    reduce: str,
    include_self: bool,
    arithmetic: Arithmetic,
) -> Bounds:
    """Elements of a source written to places of x, counted over x as a line (ADM-5).

    Where several meet, each may be the last to replace, and they are summed or multiplied in any
    order.
    """
    if reduce not in REDUCTIONS:
        raise InputError("reduce", given=reduce, allowed=", ".join(REDUCTIONS), clause="ADM-5")
    places = np.asarray(flat, np.int64).ravel()
    line = x.map(np.ravel)
    given = source.map(lambda a: np.broadcast_to(a, np.shape(flat)).ravel())
    count = np.bincount(places, minlength=line.value.size)
    found = _REDUCED[reduce](line, places, given, count, include_self, arithmetic)
    hit = count > 0
    kept = Bounds(
        np.where(hit, found.value, line.value),
        np.where(hit, found.rigorous, line.rigorous),
        np.where(hit, found.probable, line.probable),
    )
    return kept.map(lambda a: a.reshape(x.shape))


def _replaced(
    line: Bounds,
    places: Places,
    given: Bounds,
    count: Places,
    include_self: bool,
    arithmetic: Arithmetic,
) -> Bounds:
    value = line.value.copy()
    value[places] = given.value
    radii = []
    for kind in KINDS:
        with np.errstate(invalid="ignore"):
            gap = np.abs(given.value - value[places])
        same = (given.value == value[places]) | (np.isnan(gap) & np.isnan(given.value))
        reach = np.where(same, 0.0, gap) + getattr(given, kind)
        radius = np.zeros_like(value)
        np.maximum.at(radius, places, np.where(np.isnan(reach), np.inf, reach))
        radii.append(radius)
    return Bounds(value, radii[0], radii[1])


def _summed(
    line: Bounds,
    places: Places,
    given: Bounds,
    count: Places,
    include_self: bool,
    arithmetic: Arithmetic,
    average: bool,
) -> Bounds:
    terms = count + (1 if include_self else 0)
    divisor = np.maximum(terms, 1).astype(np.float64) if average else np.ones(len(terms))

    def total(own: Float64, more: Float64) -> Float64:
        start = own.copy() if include_self else np.zeros_like(own)
        with np.errstate(invalid="ignore"):
            np.add.at(start, places, more)
        return np.asarray(start / divisor)

    sizes, spread = [], []
    for kind in KINDS:
        own, more = getattr(line, kind), getattr(given, kind)
        spread.append(total(own, more))
        sizes.append(total(np.abs(line.value) + own, np.abs(given.value) + more))
    value, depth = total(line.value, given.value), int(terms.max(initial=1))
    pairs = (spread[0], spread[1]), (sizes[0], sizes[1])
    return accumulated(value, *pairs, depth, arithmetic, divisor)


def _multiplied(
    line: Bounds,
    places: Places,
    given: Bounds,
    count: Places,
    include_self: bool,
    arithmetic: Arithmetic,
) -> Bounds:
    """γ_n of the product of n factors; partial products are at most Π max(1, |factor|)."""

    def product(own: Float64, more: Float64) -> Float64:
        start = own.copy() if include_self else np.ones_like(own)
        with np.errstate(all="ignore"):
            np.multiply.at(start, places, more)
        return start

    value = product(line.value, given.value)
    size = product(np.abs(line.value), np.abs(given.value))
    depth = int(count.max(initial=0)) + 1
    growth = gamma(depth, arithmetic.value.unit)
    spread, errors = [], []
    for kind in KINDS:
        wide = [np.abs(part.value) + getattr(part, kind) for part in (line, given)]
        reach = product(*wide)
        partials = product(*(np.maximum(part, 1.0) for part in wide))
        with np.errstate(invalid="ignore"):
            moved = reach - size
            beyond = partials * (1 + growth) > arithmetic.value.greatest
        spread.append(np.where(beyond, np.inf, moved))
        errors.append(growth * reach + depth * arithmetic.value.tiny * partials * (1 + growth))
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def _extreme(function: np.ufunc, least: float) -> Any:
    def extreme(
        line: Bounds,
        places: Places,
        given: Bounds,
        count: Places,
        include_self: bool,
        arithmetic: Arithmetic,
    ) -> Bounds:
        def of(own: Float64, more: Float64) -> Float64:
            start = own.copy() if include_self else np.full_like(own, least)
            function.at(start, places, more)
            return start

        value = of(line.value, given.value)
        radii = []
        for kind in KINDS:
            pairs = zip(line.ends(kind), given.ends(kind), strict=True)
            low, high = (of(*pair) for pair in pairs)
            with np.errstate(invalid="ignore"):
                radius = np.maximum(high - value, value - low)
            radius = np.where((low == value) & (high == value), 0.0, radius)
            own, more = (np.isinf(getattr(part, kind)).astype(float) for part in (line, given))
            unknown = own if include_self else np.zeros_like(own)
            np.maximum.at(unknown, places, more)
            radii.append(np.where((unknown > 0) | np.isnan(radius), np.inf, radius))
        return Bounds(value, radii[0], radii[1])

    return extreme


_REDUCED: dict[str, Any] = {
    "replace": _replaced,
    "sum": partial(_summed, average=False),
    "mean": partial(_summed, average=True),
    "prod": _multiplied,
    "amax": _extreme(np.maximum, -np.inf),
    "amin": _extreme(np.minimum, np.inf),
}
