"""What a write into a tensor changes in the other tensors that share its memory.

Recorded values are written once. So a tensor whose memory was written into through another one
gets a new value when it is next read: its old elements, and those of the new ones that lie in the
same places, put together by operations that are recorded like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from quant_conformance.gate.errors import GateError
from quant_conformance.protocol import Array


@dataclass(frozen=True)
class _Write:
    """One write: the value that was left, and where it lies in the memory."""

    name: str
    places: Array
    itemsize: int


@dataclass(frozen=True)
class Overlay:
    """How a tensor follows from what it held and from what was written through another one.

    Attributes:
        written: name of the value that was written.
        index: for each element, its place in the old elements followed by the written ones; in the
            written ones alone where nothing of the old is left.
        covered: whether nothing of the old is left.
    """

    written: str
    index: Array
    covered: bool


class Aliases:
    """Which tensors share memory, and what was written there since each was last named.

    Tensors have to be held by the caller as long as this object lives, so that no memory is used
    twice.
    """

    def __init__(self) -> None:
        self._writes: dict[int, list[_Write]] = {}
        self._known: dict[int, int] = {}  # id of a tensor -> writes that its value accounts for

    def bound(self, tensor: torch.Tensor) -> None:
        """Notes that a tensor has a value with its present content."""
        self._known[id(tensor)] = len(self._writes.get(_memory(tensor), ()))

    def written(self, tensor: torch.Tensor, name: str) -> None:
        """Notes a write.

        Args:
            tensor: what was written into.
            name: the value that it has now.
        """
        write = _Write(name, _places(tensor), tensor.element_size())
        self._writes.setdefault(_memory(tensor), []).append(write)
        self.bound(tensor)

    def is_stale(self, tensor: torch.Tensor) -> bool:
        """Whether there were writes into the memory of a tensor since it was last named."""
        writes = self._writes.get(_memory(tensor), ())
        return self._known.get(id(tensor), 0) < len(writes)

    def overlays(self, tensor: torch.Tensor) -> list[Overlay]:
        """The writes that changed a tensor since it was last named, in order.

        Args:
            tensor: a tensor that was named before.

        Raises:
            GateError: it reads memory as elements of another size than they were written in.
        """
        writes = self._writes[_memory(tensor)][self._known.get(id(tensor), 0) :]
        own, found = _places(tensor), list[Overlay]()
        for write in writes:
            if write.itemsize != tensor.element_size():
                raise GateError(
                    f"{write.name} is written into memory that is read as {tensor.dtype}; write it "
                    "out of place to have it judged"
                )
            where = np.full(int(max(own.max(initial=0), write.places.max(initial=0))) + 1, -1)
            where[write.places] = np.arange(write.places.size)
            index = where[own]
            hit = index >= 0
            if not hit.any():
                continue
            if not hit.all():
                index = np.where(hit, own.size + index, np.arange(own.size))
            found.append(Overlay(write.name, index, bool(hit.all())))
        self.bound(tensor)
        return found


Add = Callable[[Any, tuple[Any, ...], Array], str]
"""Records an operation by its overload, its arguments and its result; returns the result's name."""


def put_together(
    overlay: Overlay,
    old: str,
    values: dict[str, Array],
    shape: tuple[int, ...],
    record: tuple[Add, Callable[[Array], str], Callable[[str], Any]],
) -> str:
    """Records the operations that an overlay stands for, and returns the name of their result.

    Args:
        overlay: what was written over what.
        old: the value that the tensor had.
        values: recorded values by name.
        shape: of the tensor.
        record: what adds an operation, what adds a constant, and what refers to a value.
    """
    add, constant, ref = record
    aten = torch.ops.aten
    flat = [
        add(aten.view.default, (ref(name), [-1]), values[name].reshape(-1))
        for name in ([overlay.written] if overlay.covered else [old, overlay.written])
    ]
    found, joined = flat[0], values[flat[0]]
    if len(flat) > 1:
        joined = np.concatenate([values[name] for name in flat])
        found = add(aten.cat.default, ([ref(name) for name in flat],), joined)
    if not np.array_equal(overlay.index, np.arange(joined.size)):
        column = add(aten.unsqueeze.default, (ref(found), -1), joined[:, None])
        index, picked = constant(overlay.index.astype(np.int64)), joined[overlay.index]
        rows = add(aten.embedding.default, (ref(column), ref(index)), picked[:, None])
        found, joined = rows, picked
    return add(aten.view.default, (ref(found), list(shape)), joined.reshape(shape))


def within(operand: torch.Tensor, view: torch.Tensor) -> Array | None:
    """Which element of a tensor stands at each place of a view of its memory, as a line.

    Args:
        operand: the tensor.
        view: any view of the same memory.

    Returns:
        None where the view shows memory that the tensor does not, or in another dtype.
    """
    if _memory(operand) != _memory(view) or operand.dtype != view.dtype:
        return None
    own, shown = _places(operand), _places(view)
    where = np.full(int(max(own.max(initial=0), shown.max(initial=0))) + 1, -1)
    where[own] = np.arange(own.size)
    index = where[shown]
    return None if (index < 0).any() else index


def _memory(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())


def _places(tensor: torch.Tensor) -> Array:
    """Where each element of a tensor lies in its memory, in units of elements."""
    places = np.full(tensor.shape, tensor.storage_offset(), np.int64)
    for axis, (extent, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        shape = [1] * tensor.dim()
        shape[axis] = extent
        places += (np.arange(extent) * stride).reshape(shape)
    return places.reshape(-1)
