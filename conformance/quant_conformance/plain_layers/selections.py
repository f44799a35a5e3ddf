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
    "where": lambda condition, a, b: np.where(condition != 0, a, b),
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "logical_not": np.logical_not,
}
"""Operation -> what numpy gives; truths are stored as 1 and 0."""
