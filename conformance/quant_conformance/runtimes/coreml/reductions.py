"""MIL operations along axes: sums, extremes, softmax, sorting, running sums."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quant_conformance.runtimes.coreml.operands import Inputs, Result, Table

_Reducer = Callable[[Tensor, list[int], bool], Tensor]


def _reduced(reducer: _Reducer) -> Callable[[Inputs], Result]:
    def reduce(given: Inputs) -> Result:
        x = given.tensor("x")
        axes = [axis % x.dim() for axis in given.ints("axes", list(range(x.dim())))]
        return reducer(x, axes, given.flag("keep_dims"))

    return reduce


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.mean(axes, keepdim=keep)


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep)


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _arg(function: Callable[..., Tensor]) -> Callable[[Inputs], Result]:
    return lambda given: function(
        given.tensor("x"), dim=given.integer("axis", -1), keepdim=given.flag("keep_dims")
    )


def _topk(given: Inputs) -> Result:
    x, axis = given.tensor("x"), given.integer("axis", -1)
    count = given.integer("k", 1)
    count = x.shape[axis] if count == -1 else count
    # A stable sort: of equal values the first comes first.
    order = torch.sort(x, dim=axis, descending=not given.flag("ascending"), stable=True)
    values, indices = (part.narrow(axis, 0, count) for part in order)
    return (values, indices) if given.flag("return_indices", True) else values


def _argsort(given: Inputs) -> Result:
    descending = not given.flag("ascending")
    return torch.argsort(
        given.tensor("x"), dim=given.integer("axis", -1), descending=descending, stable=True
    )


def _cumsum(given: Inputs) -> Result:
    x, axis = given.tensor("x"), given.integer("axis")
    x = x.flip(axis) if given.flag("reverse") else x
    sums = torch.cumsum(x, axis)
    sums = sums - x if given.flag("exclusive") else sums
    return sums.flip(axis) if given.flag("reverse") else sums


REDUCTIONS: Table = {
    "reduce_mean": _reduced(_mean),
    "reduce_sum": _reduced(_sum),
    "reduce_prod": _reduced(_product),
    "reduce_max": _reduced(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "reduce_min": _reduced(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "reduce_l1_norm": _reduced(lambda x, axes, keep: _sum(x.abs(), axes, keep)),
    "reduce_l2_norm": _reduced(lambda x, axes, keep: _sum(x.square(), axes, keep).sqrt()),
    "reduce_sum_square": _reduced(lambda x, axes, keep: _sum(x.square(), axes, keep)),
    "reduce_log_sum": _reduced(lambda x, axes, keep: _sum(x, axes, keep).log()),
    "reduce_log_sum_exp": _reduced(lambda x, axes, keep: torch.logsumexp(x, axes, keep)),
    "reduce_argmax": _arg(torch.argmax),
    "reduce_argmin": _arg(torch.argmin),
    "softmax": lambda given: torch.softmax(given.tensor("x"), given.integer("axis", -1)),
    "topk": _topk,
    "argsort": _argsort,
    "cumsum": _cumsum,
}
"""MIL operation -> its torch form."""
