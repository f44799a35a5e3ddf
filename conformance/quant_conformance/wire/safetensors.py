"""Records in a safetensors file: the document is its metadata, the tensors are its tensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from quant_conformance.protocol import Array
from quant_conformance.wire.documents import RECORDS, document_of, records_of
from quant_conformance.wire.model import (
    DTYPES,
    Contents,
    Record,
    array_of,
    bytes_of,
    dtype_name,
    shortened,
)


class Safetensors:
    """The format of safetensors files."""

    suffix = ".safetensors"

    def write(self, records: Sequence[Record]) -> bytes:
        """Returns the file of these records."""
        table: dict[str, Any] = {"__metadata__": {RECORDS: document_of(records)}}
        parts: list[bytes] = []
        at = 0
        for record in records:
            for name, array in record.tensors.items():
                data = bytes_of(array)
                table[f"{record.id}/{name}"] = {
                    "dtype": DTYPES[dtype_name(array)].safetensors,
                    "shape": list(array.shape),
                    "data_offsets": [at, at + len(data)],
                }
                parts.append(data)
                at += len(data)
        text = json.dumps(table, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return b"".join([len(text).to_bytes(8, "little"), text, *parts])

    def read(self, content: bytes) -> Contents:
        """Reads a file that may hold anything."""
        size = int.from_bytes(content[:8], "little")
        if len(content) < 8 or size > len(content) - 8:
            return Contents(fault=f"is no safetensors file: {len(content)} bytes, header of {size}")
        try:
            table = json.loads(content[8 : 8 + size])
            document = table["__metadata__"][RECORDS]
            if not isinstance(document, str):
                raise ValueError(f"{RECORDS} is no text")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = shortened(f"{type(error).__name__}: {error}")
            return Contents(fault=f"its header has no metadata {RECORDS!r} ({what})")
        data = memoryview(content)[8 + size :]

        def tensor(name: str, dtype: str, shape: list[int]) -> Array:
            entry = table.get(name)
            if not isinstance(entry, dict):
                raise ValueError(f"the file has no tensor {name!r}")
            known = DTYPES.get(dtype)
            if known is None or [entry.get("dtype"), entry.get("shape")] != [
                known.safetensors,
                shape,
            ]:
                stored = shortened(f"{entry.get('dtype')}{entry.get('shape')}")
                raise ValueError(f"{name}: the record says {dtype}{shape}, the file {stored}")
            begin, end = entry["data_offsets"]
            if not (type(begin) is int and type(end) is int and 0 <= begin <= end <= len(data)):
                raise ValueError(f"{name}: its offsets are not in the {len(data)} bytes of data")
            return array_of(dtype, shape, data[begin:end])

        return records_of(document, tensor)
