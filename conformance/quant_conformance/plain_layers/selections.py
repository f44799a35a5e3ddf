"""Comparisons, selections and whole numbers in plain numpy (SPEC.md, ADM-5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from quant_conformance.protocol import Array


def _along(function: Callable[..., Array]) -> Callable[..., Array]:
    def reduce(x: Array, dim: int | list[int] | None = None, keepdim: bool = False) -> Array:
        axes = dim if dim is None or isinstance(dim, int) else tuple(dim)
        return np.asarray(function(x, axis=axes, keepdims=keepdim))

    return reduce


def _index(x: Array, *indices: Array | None) -> Array:
    places = (slice(None) if i is None else i.astype(np.int64) for i in indices)
    return np.asarray(x[tuple(places)])


def _gather(x: Array, index: Array, dim: int) -> Array:
    cut = tuple(slice(None) if a == dim % x.ndim else slice(n) for a, n in enumerate(index.shape))
    return np.take_along_axis(x[cut], index.astype(np.int64), dim)


def _sort(x: Array, dim: int = -1, descending: bool = False) -> Array:
    found = np.sort(x, axis=dim)
    return np.flip(found, dim) if descending else found


def _argsort(x: Array, dim: int = -1, descending: bool = False) -> Array:
    return np.argsort(-x if descending else x, axis=dim, kind="stable")


def _place(function: Callable[..., Array]) -> Callable[..., Array]:
    def place(x: Array, dim: int | None = None, keepdim: bool = False) -> Array:
        return np.asarray(function(x, axis=dim, keepdims=keepdim))

    return place


SELECTIONS: Mapping[str, Callable[..., Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.rint,
    "sign": np.sign,
    "abs": np.abs,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "amax": _along(np.max),
    "amin": _along(np.min),
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "index": _index,
    "gather": _gather,
    "flip": lambda x, dims: np.flip(x, tuple(dims)),
    "sort": _sort,
    "argsort": _argsort,
    "argmax": _place(np.argmax),
    "argmin": _place(np.argmin),
    "where": lambda condition, a, b: np.where(condition != 0, a, b),
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "logical_not": np.logical_not,
}
"""Operation -> what numpy gives; truths are stored as 1 and 0."""
