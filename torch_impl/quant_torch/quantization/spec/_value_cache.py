"""Fake-quantized weights, kept while neither the weight nor its qparams change."""

from __future__ import annotations

import weakref
from typing import Any

import torch

from quant_torch.quantization.spec._kernels import CodeMap

_SAMPLES = 64


def version_of(tensor: torch.Tensor) -> int | None:
    """How often the tensor was written in place; None where torch does not count."""
    return None if tensor.is_inference() else tensor._version


class ValueCache:
    """The last result computed from a tensor, if it still holds.

    In-place writes are noticed by the version counter, replaced storage by its address. Writes
    through ``.data`` escape the counter; a sample of the elements is compared to notice those that
    replace a weight as a whole (averaged weights, hand-written optimizers). ``clear`` forgets.

    A copy or a pickle of the cache is empty, so that it costs no memory elsewhere.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the result."""
        self._source: weakref.ref[torch.Tensor] | None = None
        self._made_by: CodeMap | None = None
        self._key: tuple[Any, ...] = ()
        self._sample: torch.Tensor | None = None
        self._values: torch.Tensor | None = None

    def get(self, source: torch.Tensor, made_by: CodeMap) -> torch.Tensor | None:
        """The values computed from ``source`` by ``made_by``, or None if anything changed."""
        if self._source is None or self._source() is not source or self._made_by is not made_by:
            return None
        values, kept = self._values, self._sample
        if values is None or kept is None or self._key != _key(source, made_by, values):
            return None
        sample = _sample(source)
        return values if sample is not None and torch.equal(sample, kept) else None

    def put(self, source: torch.Tensor, made_by: CodeMap, values: torch.Tensor) -> None:
        """Keep a result, unless changes of the source could not be noticed."""
        self.clear()
        if any(version_of(tensor) is None for tensor in (source, values, made_by.scale)):
            return
        sample = _sample(source)
        if sample is None:
            return
        self._source = weakref.ref(source)
        self._made_by = made_by
        self._sample = sample.clone()
        self._values = values
        self._key = _key(source, made_by, values)

    def __deepcopy__(self, memo: dict[int, Any]) -> ValueCache:
        return ValueCache()

    def __reduce__(self) -> tuple[Any, ...]:
        return ValueCache, ()


def _key(source: torch.Tensor, made_by: CodeMap, values: torch.Tensor) -> tuple[Any, ...]:
    shift = None if made_by.shift is None else made_by.shift._version
    versions = (source._version, made_by.scale._version, shift, values._version)
    return (source.data_ptr(), source.dtype, versions)


def _sample(source: torch.Tensor) -> torch.Tensor | None:
    """Evenly spaced elements as integers, where a NaN equals itself; None if there is no view."""
    dense = source.detach()
    if not dense.is_contiguous() and dense.dim() == 4:
        dense = dense.permute(0, 2, 3, 1)  # channels_last
    if not dense.is_contiguous():
        return None
    step = max(1, dense.numel() // _SAMPLES)
    width = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dense.element_size()]
    return dense.view(-1)[::step].view(width)
