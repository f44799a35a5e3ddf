"""Mutants of whole layers: one operation by another function (SPEC.md, 15)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated
from quant_conformance.mutants.model import Mutant, known
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array


def _operation(
    op: str, id: str, bug: str, mistake: Callable[..., Any], clause: str = "ADM-5"
) -> Mutant:
    """A row: one operation by the function ``mistake`` of its operands and attributes."""

    def step(p: Mutated, name: str, inputs: list[Any], attributes: dict[str, Any]) -> Array:
        if name == op:
            return np.asarray(mistake(*inputs, **attributes))
        return p.right.step(name, inputs, attributes)

    return known(id, bug, clause, ("layer",), step=step)


OPERATIONS = (
    _operation("floor", "layer-floor-cuts-off", "cuts off where it should round down", np.trunc),
    _operation(
        "round",
        "layer-round-half-up",
        "rounds halves up instead of to even",
        lambda x: np.floor(x + F32(0.5)),
    ),
    _operation(
        "gt", "layer-greater-takes-equal", "takes equal elements for greater ones", np.greater_equal
    ),
    _operation(
        "where",
        "layer-where-swapped",
        "takes the other one of two operands where a condition holds",
        lambda condition, a, b: np.where(condition != 0, b, a),
    ),
    _operation(
        "amax",
        "layer-maximum-at-least-zero",
        "begins the greatest of elements at zero",
        lambda x, dim: np.maximum(x.max(axis=tuple(dim)), 0),
    ),
    _operation(
        "minimum",
        "layer-minimum-is-maximum",
        "takes the greater of two where the less is asked",
        np.maximum,
    ),
    _operation(
        "amin",
        "layer-least-of-all",
        "takes the least of all elements whatever the axis is",
        lambda x, dim, keepdim: np.full_like(x[:1], x.min()),
    ),
    _operation(
        "index", "layer-index-next-row", "counts indices from one", lambda x, i, j: x[i - 1, j - 1]
    ),
    _operation(
        "gather",
        "layer-gather-rows",
        "gathers whole rows by the first index of each",
        lambda x, i, dim: x[i[:, 0]],
    ),
    _operation(
        "flip",
        "layer-flip-one-axis",
        "reverses the first of several axes alone",
        lambda x, dims: np.flip(x, dims[0]),
    ),
    _operation(
        "sort",
        "layer-sort-ascends",
        "sorts upward where downward is asked",
        lambda x, dim, descending: np.sort(x, dim),
    ),
    _operation(
        "argmax",
        "layer-argmax-last-of-equals",
        "gives the place of the last of equal elements",
        lambda x, dim: x.shape[dim] - 1 - np.flip(x, dim).argmax(dim),
    ),
    _operation(
        "cumsum",
        "layer-cumsum-without-own",
        "leaves each element out of its own running sum",
        lambda x, dim: np.cumsum(x, dim) - x,
        "ADM-2",
    ),
    _operation(
        "sin",
        "layer-sine-unreduced",
        "computes a sine by its series without taking whole turns off",
        lambda x: x - x**3 / 6 + x**5 / 120 - x**7 / 5040,
    ),
    _operation("cos", "layer-cosine-is-sine", "computes a sine where a cosine is asked", np.sin),
)
