"""A tensor of which a view was given new elements."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from quant_torch.export.rewriting._rule import part

Places = Tensor | None | Literal[False]
"""Where the elements of a view are in a tensor, counted along its rows; None where all are in
their order, False where some are nowhere."""


def positions(whole: Tensor, view: Tensor) -> Places:
    """Where the elements of a view are; both have shape, strides and offset, but no data."""
    if _geometry(whole) == _geometry(view):
        return None
    if whole.element_size() != view.element_size():
        return False
    places = torch.arange(whole.untyped_storage().nbytes() // whole.element_size())
    index = torch.full_like(places, -1)
    ordered = torch.as_strided(places, *_geometry(whole))
    index[ordered.flatten()] = torch.arange(whole.numel())
    found = index[torch.as_strided(places, *_geometry(view)).flatten()]
    if bool((found < 0).any()):
        return False
    return None if torch.equal(found, torch.arange(whole.numel())) else found


def _geometry(x: Tensor) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    return tuple(x.shape), tuple(x.stride()), int(x.storage_offset())


def joiner(shape: tuple[int, ...], places: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of a tensor and of new elements that puts these at some places of it.

    Args:
        shape: The shape of the tensor.
        places: Where the elements go, as :func:`positions` gives it.
    """
    if places is None:
        return lambda _, new: new if tuple(new.shape) == shape else torch.reshape(new, shape)
    box = _slice(shape, places)
    if box is not None:
        return partial(_into_slice, shape, *box)
    # Computed here, and not in the function, which is traced.
    count = torch.Size(shape).numel()
    index = torch.arange(count)
    index[places] = count + torch.arange(len(places))
    return partial(_into_places, shape, index)


def _into_slice(
    shape: tuple[int, ...], axis: int, start: int, length: int, whole: Tensor, new: Tensor
) -> Tensor:
    parts = [torch.reshape(new, [*shape[:axis], length, *shape[axis + 1 :]])]
    if start:
        parts.insert(0, part(whole, axis, 0, start))
    rest = shape[axis] - start - length
    if rest:
        parts.append(part(whole, axis, start + length, rest))
    return torch.cat(parts, axis)


def _into_places(shape: tuple[int, ...], index: Tensor, whole: Tensor, new: Tensor) -> Tensor:
    both = torch.cat([torch.reshape(whole, [-1]), torch.reshape(new, [-1])])
    return torch.reshape(torch.index_select(both, 0, index), shape)


def _slice(shape: tuple[int, ...], places: Tensor) -> tuple[int, int, int] | None:
    """The axis, the start and the length, where the places are a slice along one axis."""
    if not len(places):
        return None
    indices = torch.arange(torch.Size(shape).numel()).reshape(shape)
    first = torch.unravel_index(places[0], shape)
    last = torch.unravel_index(places[-1], shape)
    for axis, (a, b) in enumerate(zip(map(int, first), map(int, last), strict=True)):
        if b >= a and torch.equal(indices.narrow(axis, a, b - a + 1).flatten(), places):
            return axis, a, b - a + 1
    return None
