"""Elements chosen by indices, and indices chosen by elements: exact (ADM-5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic
from quant_reference.admissible.bounds import Bounds, Float64, Operand, bounds_of
from quant_reference.admissible.elementwise import KINDS
from quant_reference.errors import InputError

Indices = NDArray[np.int64]
Ends = tuple[Float64, Float64]


def flip(x: Operand, dims: Sequence[int], *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Some axes in the opposite order."""
    return bounds_of(x, arithmetic).map(lambda a: np.flip(a, tuple(dims)))


def index(x: Operand, *indices: Operand | None, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``x[i, j, …]`` with whole numbers for some of the first axes; None takes all of an axis.

    Raises:
        InputError: Indices that are not whole numbers inside their axes.
    """
    x = bounds_of(x, arithmetic)
    if len(indices) > x.value.ndim or all(given is None for given in indices):
        raise InputError(
            "index: indices",
            given=f"{len(indices)} for shape {x.shape}",
            allowed="at least one, and at most one an axis",
            clause="ADM-5",
        )
    places: list[Any] = []
    unsure = list[Bounds]()
    for axis, given in enumerate(indices):
        if given is None:
            places.append(slice(None))
            continue
        bounds = bounds_of(given, arithmetic)
        if not bounds.is_exact:
            unsure.append(bounds)
        places.append(whole_places(bounds, x.shape[axis], "index"))
    found = x.map(lambda a: a[tuple(places)])
    if not unsure:
        return found
    return lost(found, _reached(x.shape, places, unsure))


def _reached(shape: tuple[int, ...], places: list[Any], unsure: Sequence[Bounds]) -> Any:
    """What of ``x[i, j, …]`` was chosen by an index that has a radius."""
    given = np.broadcast_shapes(*(np.shape(p) for p in places if not isinstance(p, slice)))
    doubt = np.zeros(given, bool)
    for bounds in unsure:
        doubt |= np.broadcast_to(bounds.rigorous > 0, given)
    # A table that says for each chosen place which index chose it, in the result's own layout.
    which = np.arange(max(doubt.size, 1)).reshape(given)
    spread: list[Any] = [p if isinstance(p, slice) else np.zeros(given, np.int64) for p in places]
    first = next(axis for axis, p in enumerate(places) if not isinstance(p, slice))
    line = np.zeros((*shape[:first], which.size, *shape[first + 1 :]), bool)
    np.moveaxis(line, first, 0)[doubt.ravel()] = True
    spread[first] = which
    return line[tuple(spread)]


def gather(x: Operand, index: Operand, dim: int, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``x[i, index[i, j], …]``: along one axis the element that an index names.

    Raises:
        InputError: As for :func:`index`.
    """
    x, given = bounds_of(x, arithmetic), bounds_of(index, arithmetic)
    places = whole_places(given, x.shape[dim], "gather")
    axis = dim % x.value.ndim
    # Along the other axes there may be fewer indices than elements.
    cut = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(places.shape))
    found = x.map(lambda a: np.take_along_axis(a[cut], places, axis))
    return lost(found, given.rigorous > 0)


def sort(
    x: Operand, dim: int = -1, descending: bool = False, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """The elements along an axis in their order: the k-th grows with every element."""
    x = bounds_of(x, arithmetic)
    value = _sorted(x.value, dim, descending)
    radii = []
    for kind in KINDS:
        low, high = (_sorted(end, dim, descending) for end in x.ends(kind))
        with np.errstate(invalid="ignore"):
            radius = np.maximum(high - value, value - low)
        radius = np.where((low == value) & (high == value), 0.0, radius)
        # What is not known may come anywhere.
        lost = np.isinf(getattr(x, kind)).any(axis=dim, keepdims=True)
        radii.append(np.where(lost | np.isnan(radius), np.inf, radius))
    return Bounds(value, radii[0], radii[1])


def argsort(
    x: Operand, dim: int = -1, descending: bool = False, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """Where the elements of :func:`sort` come from; not known where others may be as great."""
    x = bounds_of(x, arithmetic)
    sign = -1.0 if descending else 1.0
    order = np.argsort(sign * x.value, axis=dim, kind="stable")
    radii = []
    for kind in KINDS:
        ends = [np.take_along_axis(sign * end, order, dim) for end in x.ends(kind)]
        low, high = np.minimum(*ends), np.maximum(*ends)
        apart = (_before(high, dim) < low) & (high < _after(low, dim))
        radii.append(np.where(apart, 0.0, np.inf))
    return Bounds(order.astype(np.float64), radii[0], radii[1])


def place_of(function: Callable[..., Any], sign: float) -> Callable[..., Bounds]:
    """Where the greatest (or, with a sign of −1, the least) element is; the first of equals."""

    def place(
        x: Operand,
        dim: int | None = None,
        keepdim: bool = False,
        *,
        arithmetic: Arithmetic = FLOAT32,
    ) -> Bounds:
        x = bounds_of(x, arithmetic)
        rank = x.value.ndim
        flat = x.map(np.ravel) if dim is None else x
        axis = 0 if dim is None else dim
        chosen = np.asarray(function(flat.value, axis=axis, keepdims=True))
        radii = []
        for kind in KINDS:
            ends = [sign * end for end in flat.ends(kind)]
            low, high = np.minimum(*ends), np.maximum(*ends)
            own = np.take_along_axis(low, chosen, axis)
            others = high.copy()
            np.put_along_axis(others, chosen, -np.inf, axis)
            exact = ~getattr(flat, kind).any(axis=axis, keepdims=True)
            sure = exact | (others.max(axis=axis, keepdims=True) < own)
            radii.append(np.where(sure, 0.0, np.inf))
        found = Bounds(chosen.astype(np.float64), radii[0], radii[1])
        if dim is None:
            return found.map(lambda a: a.reshape((1,) * rank if keepdim else ()))
        return found if keepdim else found.map(lambda a: a.squeeze(axis))

    return place


argmax = place_of(np.argmax, 1.0)
argmin = place_of(np.argmin, -1.0)


def whole_places(given: Bounds, extent: int, name: str) -> Indices:
    """Whole numbers inside an axis; from its end where they are negative."""
    places = np.rint(given.value)
    exact = given.rigorous == 0
    outside = (places != given.value) | (places < -extent) | (places >= extent)
    if (outside & exact).any():
        raise InputError(
            f"{name}: indices",
            given=given.value,
            allowed=f"whole numbers from {-extent} to {extent - 1}",
            clause="ADM-5",
        )
    inside = np.where(exact, places, 0.0).astype(np.int64)
    return np.where(inside < 0, inside + extent, inside)


def lost(found: Bounds, where: Any) -> Bounds:
    """Bounds without what is known of some elements: their indices are not."""
    radii = (np.where(where, np.inf, radius) for radius in (found.rigorous, found.probable))
    return Bounds(found.value, *radii)


def _sorted(array: Float64, dim: int, descending: bool) -> Float64:
    return -np.sort(-array, axis=dim) if descending else np.sort(array, axis=dim)


def _before(high: Float64, dim: int) -> Float64:
    """The greatest end of what comes before each element."""
    running = np.maximum.accumulate(np.moveaxis(high, dim, -1), axis=-1)
    first = np.full((*running.shape[:-1], 1), -np.inf)
    return np.moveaxis(np.concatenate([first, running[..., :-1]], -1), -1, dim)


def _after(low: Float64, dim: int) -> Float64:
    """The least end of what comes behind each element."""
    return -np.flip(_before(-np.flip(low, dim), dim), dim)
