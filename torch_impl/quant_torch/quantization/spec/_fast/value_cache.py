"""Results computed from weights and qparams, kept while none of those change."""

from __future__ import annotations

import weakref
from typing import Any

import torch

from quant_torch.quantization.spec._fast.memory import fingerprint, has_fingerprint
from quant_torch.quantization.spec._fast.switch import SWITCH

_PRIVATE = "_private_to_a_value_cache"
"""Marks results that no user's code holds."""


def version_of(tensor: torch.Tensor) -> int | None:
    """How often the tensor was written in place; None where torch does not count.

    The count has no public name. Without it nothing may be kept, so a torch that lacks it fails.
    """
    return None if tensor.is_inference() else tensor._version


class ValueCache:
    """The last result computed from some tensors, if it still holds.

    In-place writes are noticed by the version counter, replaced storage by its address. Writes
    through ``.data`` (averaged weights, hand-written optimizers) escape both, so the tensors are
    read and their bits compared by fingerprints: reading is cheap, quantizing anew is not. Only the
    private result of another cache is not read, since nobody can write to it. ``clear`` forgets.

    A copy or a pickle of the cache is empty, so that it costs no memory elsewhere.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the result."""
        self._sources: tuple[weakref.ref[torch.Tensor], ...] = ()
        self._made_by: object = None
        self._key: tuple[Any, ...] = ()
        self._contents: tuple[bytes | torch.Tensor | None, ...] = ()
        self._values: torch.Tensor | None = None

    def get(self, sources: tuple[torch.Tensor, ...], made_by: object = None) -> torch.Tensor | None:
        """The values computed from ``sources`` by ``made_by``, or None if anything changed."""
        values = self._values if SWITCH.on else None
        if values is None or self._made_by is not made_by or len(sources) != len(self._sources):
            return None
        known = all(ref() is source for ref, source in zip(self._sources, sources, strict=True))
        if not known or self._key != _key(sources, values):
            return None
        same = all(
            content is None or has_fingerprint(_dense(source), content)
            for source, content in zip(sources, self._contents, strict=True)
        )
        return values if same else None

    def put(
        self,
        sources: tuple[torch.Tensor, ...],
        values: torch.Tensor,
        made_by: object = None,
        private: bool = False,
    ) -> None:
        """Keep a result, unless changes of the sources could not be noticed.

        Args:
            sources: What it was computed from.
            values: The result.
            made_by: Whatever else it depends on; the same object must be given to ``get``.
            private: Whether the result stays out of the hands of users.
        """
        self.clear()
        if not SWITCH.on:
            return
        dense = tuple(map(_dense, sources))
        if any(tensor.is_inference() for tensor in (*sources, values)) or not all(
            tensor.is_contiguous() for tensor in dense
        ):
            return
        self._sources = tuple(map(weakref.ref, sources))
        self._made_by = made_by
        self._contents = tuple(
            None if hasattr(source, _PRIVATE) else fingerprint(tensor)
            for source, tensor in zip(sources, dense, strict=True)
        )
        if private:
            setattr(values, _PRIVATE, True)
        self._values = values
        self._key = _key(sources, values)

    def __deepcopy__(self, memo: dict[int, Any]) -> ValueCache:
        return ValueCache()

    def __reduce__(self) -> tuple[Any, ...]:
        return ValueCache, ()


def _key(sources: tuple[torch.Tensor, ...], values: torch.Tensor) -> tuple[Any, ...]:
    read = ((s._version, s.data_ptr(), s.shape, s.stride(), s.dtype) for s in sources)
    return (values._version, *read)


def _dense(source: torch.Tensor) -> torch.Tensor:
    """The elements in the order of memory, as far as a permutation gives it."""
    tensor = source.detach()
    if tensor.dim() == 4 and not tensor.is_contiguous():
        return tensor.permute(0, 2, 3, 1)  # channels_last
    return tensor
