"""The tensors of one family on their way into a set: kept in memory, or spooled to disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from safetensors.numpy import save as save_safetensors

from quant_vectors.errors import TensorError
from quant_vectors.model import LOGICAL_DTYPES, STORED_DTYPES, Array

CHUNK: Final = 1 << 20
"""Bytes that are read from a spool at a time."""

# In the order in which safetensors lays tensors out: wide dtypes first, so that each is aligned.
_FORMAT_NAMES: Final[Mapping[str, str]] = {
    "int64": "I64",
    "float32": "F32",
    "int32": "I32",
    "uint16": "U16",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
}


class Tensors(Protocol):
    """Tensors stored once per contents, named in order of first use.

    Attributes:
        table: Name -> ``{"dtype", "shape"}``.
    """

    table: dict[str, dict[str, Any]]

    def names(self, arrays: Mapping[str, Array]) -> dict[str, str]:
        """Take tensors in by role; returns role -> name.

        Raises:
            TensorError: A dtype that sets do not hold.
        """
        ...

    def chunks(self) -> Iterator[bytes]:
        """Yield the family's safetensors file, piece by piece."""
        ...


class TensorsInMemory:
    """Keeps every tensor: for sets that are small."""

    def __init__(self) -> None:
        self.table: dict[str, dict[str, Any]] = {}
        self._stored: dict[str, Array] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def names(self, arrays: Mapping[str, Array]) -> dict[str, str]:
        """Take tensors in by role; returns role -> name."""
        return {role: self._name(array) for role, array in arrays.items()}

    def chunks(self) -> Iterator[bytes]:
        """Yield the family's safetensors file in one piece."""
        yield save_safetensors(self._stored)

    def _name(self, array: Array) -> str:
        dtype, plain = _canonical(array)
        key = (dtype, plain.shape, plain.tobytes())
        name = self._known.setdefault(key, f"t{len(self._known) + 1:04d}")
        if name not in self.table:
            self.table[name] = {"dtype": dtype, "shape": list(plain.shape)}
            self._stored[name] = plain.view(STORED_DTYPES[dtype])
        return name


class SpooledTensors:
    """Writes each tensor to disk as it comes, so that no more than one is in memory.

    The header of a safetensors file precedes the tensors and gives the place of each, so the
    file is put together at the end: from one spool for each dtype, in the layout, and to the byte,
    that safetensors itself writes.

    Args:
        prefix: Path that the spools' names begin with; its folder exists, and is the caller's to
            remove.
    """

    def __init__(self, prefix: Path) -> None:
        self.table: dict[str, dict[str, Any]] = {}
        self._prefix = prefix
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._sizes: dict[str, dict[str, int]] = {stored: {} for stored in _FORMAT_NAMES}

    def names(self, arrays: Mapping[str, Array]) -> dict[str, str]:
        """Take tensors in by role; returns role -> name."""
        return {role: self._name(array) for role, array in arrays.items()}

    def chunks(self) -> Iterator[bytes]:
        """Yield the family's safetensors file: its header, then the spools."""
        header: dict[str, Any] = {}
        end = 0
        for stored, sizes in self._sizes.items():
            for name, size in sizes.items():
                header[name] = {
                    "dtype": _FORMAT_NAMES[stored],
                    "shape": self.table[name]["shape"],
                    "data_offsets": [end, end + size],
                }
                end += size
        text = json.dumps(header, separators=(",", ":")).encode("ascii")
        text += b" " * (-len(text) % 8)
        yield len(text).to_bytes(8, "little") + text
        for stored, sizes in self._sizes.items():
            if sizes:
                with self._spool(stored).open("rb") as spool:
                    while chunk := spool.read(CHUNK):
                        yield chunk

    def _name(self, array: Array) -> str:
        dtype, plain = _canonical(array)
        content = plain.reshape(-1).view(np.uint8).data  # no copy
        key = (dtype, plain.shape, hashlib.sha256(content).digest())
        name = self._known.setdefault(key, f"t{len(self._known) + 1:04d}")
        if name not in self.table:
            self.table[name] = {"dtype": dtype, "shape": list(plain.shape)}
            stored = STORED_DTYPES[dtype].name
            with self._spool(stored).open("ab") as spool:
                spool.write(content)
            self._sizes[stored][name] = content.nbytes
        return name

    def _spool(self, stored: str) -> Path:
        return self._prefix.with_name(f"{self._prefix.name}.{stored}.spool")


def _canonical(array: Array) -> tuple[str, Array]:
    """Name of the dtype, and the tensor as it is stored: little-endian, in C order."""
    dtype = array.dtype.name
    if dtype not in LOGICAL_DTYPES:
        raise TensorError(f"a tensor of {dtype}; a set holds {', '.join(LOGICAL_DTYPES)}")
    # The buffer is what is written, so it must be in C order; ascontiguousarray makes 0-d 1-d.
    plain = np.ascontiguousarray(array).reshape(array.shape)
    return dtype, plain.astype(plain.dtype.newbyteorder("<"), copy=False)
