"""Fake-quantized weights, kept while neither the weight nor its qparams change."""

from __future__ import annotations

import ctypes
import sys
import weakref
from typing import Any

import torch

from quant_torch.quantization.spec._kernels import CodeMap

# libc's comparison is several times as fast as torch.equal, and this runs in every forward pass.
_memcmp = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def version_of(tensor: torch.Tensor) -> int | None:
    """How often the tensor was written in place; None where torch does not count."""
    return None if tensor.is_inference() else tensor._version


class ValueCache:
    """The last result computed from a tensor, if it still holds.

    In-place writes are noticed by the version counter, replaced storage by its address. Writes
    through ``.data`` (averaged weights, hand-written optimizers) escape both, so the weight and its
    qparams are compared bit by bit with copies: reading is cheap, quantizing anew is not.
    ``clear`` forgets.

    A copy or a pickle of the cache is empty, so that it costs no memory elsewhere.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the result."""
        self._source: weakref.ref[torch.Tensor] | None = None
        self._made_by: CodeMap | None = None
        self._key: tuple[Any, ...] = ()
        self._copies: tuple[torch.Tensor, ...] | None = None
        self._values: torch.Tensor | None = None

    def get(self, source: torch.Tensor, made_by: CodeMap) -> torch.Tensor | None:
        """The values computed from ``source`` by ``made_by``, or None if anything changed."""
        if self._source is None or self._source() is not source or self._made_by is not made_by:
            return None
        values, kept = self._values, self._copies
        if values is None or kept is None or self._key != _key(source, made_by, values):
            return None
        read = _read(source, made_by)
        same = read is not None and all(map(same_bits, read, kept))
        return values if same else None

    def put(self, source: torch.Tensor, made_by: CodeMap, values: torch.Tensor) -> None:
        """Keep a result, unless changes of the source could not be noticed."""
        self.clear()
        if any(version_of(tensor) is None for tensor in (source, values, made_by.scale)):
            return
        read = _read(source, made_by)
        if read is None:
            return
        self._source = weakref.ref(source)
        self._made_by = made_by
        self._copies = tuple(tensor.clone() for tensor in read)
        self._values = values
        self._key = _key(source, made_by, values)

    def __deepcopy__(self, memo: dict[int, Any]) -> ValueCache:
        return ValueCache()

    def __reduce__(self) -> tuple[Any, ...]:
        return ValueCache, ()


def _key(source: torch.Tensor, made_by: CodeMap, values: torch.Tensor) -> tuple[Any, ...]:
    shift = None if made_by.shift is None else made_by.shift._version
    versions = (source._version, made_by.scale._version, shift, values._version)
    return (source.data_ptr(), source.dtype, source.stride(), versions)


def _read(source: torch.Tensor, made_by: CodeMap) -> tuple[torch.Tensor, ...] | None:
    """Everything a result depends on, without gaps in memory; None if that takes a copy."""
    tensors = [source.detach(), made_by.scale]
    if made_by.shift is not None:
        tensors.append(made_by.shift)
    if tensors[0].dim() == 4 and not tensors[0].is_contiguous():
        tensors[0] = tensors[0].permute(0, 2, 3, 1)  # channels_last
    return tuple(tensors) if all(t.is_contiguous() for t in tensors) else None


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors without gaps in memory agree bit by bit; False where there are gaps."""
    if a.shape != b.shape or a.dtype != b.dtype or not (a.is_contiguous() and b.is_contiguous()):
        return False
    if a.device.type == "cpu":
        return _memcmp(a.data_ptr(), b.data_ptr(), a.numel() * a.element_size()) == 0
    return torch.equal(a.view(-1).view(torch.uint8), b.view(-1).view(torch.uint8))
