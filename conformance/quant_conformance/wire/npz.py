"""Records in an npz file: the document is the array ``records`` of bytes, tensors are arrays.

bfloat16 is stored as its bits in uint16, since npy files have no name for it.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from quant_conformance.protocol import Array
from quant_conformance.wire.documents import RECORDS, document_of, records_of
from quant_conformance.wire.model import (
    DTYPES,
    LONGEST_FILE,
    MAX_RANK,
    Contents,
    Record,
    shortened,
)

_BROKEN = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


class Npz:
    """The format of numpy's npz files."""

    suffix = ".npz"

    def write(self, records: Sequence[Record]) -> bytes:
        """Returns the file of these records."""
        arrays: dict[str, Array] = {RECORDS: np.frombuffer(document_of(records).encode(), np.uint8)}
        for record in records:
            for name, array in record.tensors.items():
                stored = array.view(np.uint16) if array.dtype.name == "bfloat16" else array
                arrays[f"{record.id}/{name}"] = stored
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, array in arrays.items():
                member = io.BytesIO()
                np.save(member, array, allow_pickle=False)
                # One date for every file: the same questions give the same bytes.
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
        return buffer.getvalue()

    def read(self, content: bytes) -> Contents:
        """Reads a file that may hold anything."""
        try:
            archive = zipfile.ZipFile(io.BytesIO(content))
            total = sum(info.file_size for info in archive.infolist())
            if total > LONGEST_FILE:  # a few bytes can unfold to any number
                return Contents(fault=f"unfolds to {total} bytes, more than {LONGEST_FILE}")
            names = archive.namelist()
            if len(set(names)) != len(names):
                return Contents(fault="has two arrays of one name")
            document = _array(archive, RECORDS)
        except _BROKEN as error:
            return Contents(fault=f"is no npz file of records: {shortened(str(error))}")

        def tensor(name: str, dtype: str, shape: list[int]) -> Array:
            if dtype not in DTYPES:
                raise ValueError(f"dtype {dtype!r} is unknown; allowed: {', '.join(DTYPES)}")
            try:
                array = _array(archive, name)
            except _BROKEN as error:
                raise ValueError(f"{name}: {error}") from error
            wide = DTYPES[dtype].numpy
            if dtype == "bfloat16" and array.dtype == np.uint16:
                array = array.view(wide)
            if array.dtype != wide or list(array.shape) != shape:
                stored = f"{array.dtype}{list(array.shape)}"
                raise ValueError(f"{name}: the record says {dtype}{shape}, the file {stored}")
            return array

        return records_of(document.tobytes(), tensor)


def _array(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(f"{name}.npy") as member:
        # What unfolds to more than the directory of the archive says ends there.
        content = member.read(LONGEST_FILE)
    file = io.BytesIO(content)
    npy: Any = np.lib.format
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"npy version {version} is unknown; allowed: (1, 0) and (2, 0)")
    shape, by_columns, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("holds Python objects")
    data = content[file.tell() :]
    # Before anything of that size is made; in Python's integers, which do not overflow.
    if math.prod(shape) * dtype.itemsize != len(data) or len(shape) > MAX_RANK:
        raise ValueError(f"{dtype}{list(shape)} and {len(data)} bytes do not go together")
    flat: Array = np.frombuffer(data, dtype)
    array = flat.reshape(shape, order="F" if by_columns else "C")
    return array.astype(dtype.newbyteorder("="))
