"""Numbers and casts that coreai-torch takes for others, and numbers that are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from quant_torch.export.rewriting._rule import Rule, Rules, aten, once
from quant_torch.export.rewriting.arithmetic import ALPHA
from quant_torch.export.rewriting.shapes import diagonal, unfold
from quant_torch.export.rewriting.sums import addbmm, addmv


def scalar_tensor(value: float, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    """A number filled in: the operation that makes one of it rounds it to float16."""
    kind = {bool: torch.bool, int: torch.int64}.get(type(value), torch.get_default_dtype())
    return torch.full([], value, dtype=kind if dtype is None else dtype)


def _with_float(function: Callable[..., Tensor], rule: Rule | None = None) -> Rule:
    """Integers that meet a number become floats first: the number would be rounded to float16."""

    def written_out(x: Any, other: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(x, Tensor) and isinstance(other, float) and not x.is_floating_point():
            return function(x.to(torch.get_default_dtype()), other, *args, **kwargs)
        return NotImplemented if rule is None else rule(x, other, *args, **kwargs)

    return written_out


def to_copy(x: Tensor, *, dtype: torch.dtype | None = None, **others: Any) -> Tensor:
    """A float is truncated before it becomes an integer: Core AI drops a cast there and back."""
    whole = dtype is not None and not dtype.is_floating_point and dtype is not torch.bool
    if not whole or not x.is_floating_point():
        return NotImplemented
    return aten._to_copy.default(torch.trunc(x), dtype=dtype, **others)


def elu(x: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Tensor:
    """By an exponential less one, which Core AI has."""
    below = torch.expm1(x if input_scale == 1 else x * input_scale) * (alpha * scale)
    return torch.where(x > 0, x if scale == 1 else x * scale, below)


def variance(
    x: Tensor,
    dim: list[int] | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> Tensor:
    """The mean square of the differences from the mean, over n - correction."""
    axes = [n % x.dim() for n in dim] if dim else list(range(x.dim()))
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    difference = x - torch.mean(x, axes, True)
    total = torch.sum(difference * difference, axes, keepdim)
    return total / float(count - (1 if correction is None else correction))


def is_nan(x: Tensor) -> Tensor:
    """What does not equal itself."""
    return torch.ne(x, x) if x.is_floating_point() else NotImplemented


def index_put(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """Values of the shape that is written: Core AI's runtime dies of others behind a whole axis."""
    places = [axis for axis, index in enumerate(indices) if index is not None]
    given = [index for index in indices if index is not None]
    if accumulate or any(index.dtype in (torch.bool, torch.uint8) for index in given):
        return NotImplemented
    shape = [*x.shape]
    for axis in reversed(places):
        del shape[axis]
    # Side by side, the places take the first one's position, otherwise the front.
    at = places[0] if places[-1] - places[0] + 1 == len(places) else 0
    shape[at:at] = torch.broadcast_shapes(*(index.shape for index in given))
    if list(values.shape) == shape:
        return NotImplemented
    return aten.index_put.default(x, indices, values.expand(shape))


NUMBERS: Rules = {
    aten.scalar_tensor.default: scalar_tensor,
    aten.add.Tensor: _with_float(torch.add, ALPHA[aten.add.Tensor]),
    aten.add.Scalar: _with_float(torch.add, ALPHA[aten.add.Scalar]),
    aten.sub.Tensor: _with_float(torch.sub, ALPHA[aten.sub.Tensor]),
    aten.sub.Scalar: _with_float(torch.sub, ALPHA[aten.sub.Scalar]),
    aten.rsub.Scalar: _with_float(torch.rsub, ALPHA[aten.rsub.Scalar]),
    aten.mul.Tensor: _with_float(torch.mul),
    aten.mul.Scalar: _with_float(torch.mul),
    aten.div.Tensor: _with_float(torch.div),
    aten.div.Scalar: _with_float(torch.div),
    aten.pow.Tensor_Scalar: _with_float(torch.pow),
    aten._to_copy.default: once(to_copy),
    aten.index_put.default: once(index_put),
}
"""Numbers, casts, and numbers that are written."""

LACKING: Rules = {
    aten.elu.default: elu,
    aten.var.correction: variance,
    aten.isnan.default: is_nan,
    aten.diagonal.default: diagonal,
    aten.unfold.default: unfold,
    aten.addbmm.default: addbmm,
    aten.addmv.default: addmv,
}
"""Operations that coreai-torch lacks."""
