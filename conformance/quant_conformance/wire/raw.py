"""The raw format: little-endian integers and flat arrays, for readers without JSON (docs/wire.md).

A record stands for itself, so that a pipe carries the same bytes as a file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from quant_conformance.protocol import Array
from quant_conformance.wire.model import (
    DTYPES,
    MAX_RANK,
    STATUSES,
    Contents,
    Record,
    array_of,
    bytes_of,
    dtype_name,
    shortened,
)
from quant_conformance.wire.pointers import List, Members, flat, nested

MAGIC: Final = b"QCW1"
"""First bytes of a file; the digit is the version of the layout."""

QUESTIONS: Final = 1
ANSWERS: Final = 2

HEADER: Final = struct.Struct("<4sIII")
"""Magic, 1 for questions or 2 for answers, number of records (0 in a pipe), 0."""

START: Final = struct.Struct("<IIHHHHII")
"""Bytes of the record behind these four, id, status, attributes, tensors, bytes of text, bytes of
all attributes, 0."""

_ATTRIBUTE = struct.Struct("<BBHI")
_TENSOR = struct.Struct("<BBHI")
_NULL, _BOOL, _INT, _FLOAT, _TEXT, _LIST, _MEMBERS, _DIGITS = range(8)
_CODES = {dtype.code: name for name, dtype in DTYPES.items()}


class Raw:
    """The raw format."""

    suffix = ".raw"

    def write(self, records: Sequence[Record]) -> bytes:
        """Returns the file of these records."""
        kind = QUESTIONS if all(r.status == "question" for r in records) else ANSWERS
        return b"".join([header(kind, len(records)), *map(record_bytes, records)])

    def read(self, content: bytes) -> Contents:
        """Reads a file that may hold anything."""
        if len(content) < HEADER.size or content[:4] != MAGIC:
            return Contents(fault=f"is no raw file: it begins with {content[:4]!r}, not {MAGIC!r}")
        count = HEADER.unpack_from(content)[2]
        records: list[Record] = []
        at = HEADER.size
        while at < len(content):
            if len(content) - at < START.size:
                return Contents(tuple(records), f"ends in the middle of a record, at byte {at}")
            size = START.unpack_from(content, at)[0] + 4
            if size < START.size or size > len(content) - at:
                what = f"the record at byte {at} says {size} bytes, {len(content) - at} are left"
                return Contents(tuple(records), what)
            records.append(record_of(content[at : at + size]))
            at += size
        if count not in (0, len(records)):
            return Contents(tuple(records), f"says {count} records and holds {len(records)}")
        return Contents(tuple(records))


def header(kind: int, count: int = 0) -> bytes:
    """Returns what a file or a pipe begins with."""
    return HEADER.pack(MAGIC, kind, count, 0)


def record_bytes(record: Record) -> bytes:
    """Returns a record as it is in a file and in a pipe."""
    text = record.text.encode()[:65000]
    entries = list(flat(record.attributes))
    attributes = b"".join([_attribute_bytes(name, value) for name, value in entries])
    body = b"".join(
        [
            _padded(text),
            attributes,
            *(_tensor_bytes(name, array) for name, array in record.tensors.items()),
        ]
    )
    start = START.pack(
        START.size - 4 + len(body),
        record.id,
        STATUSES.index(record.status),
        len(entries),
        len(record.tensors),
        len(text),
        len(attributes),
        0,
    )
    return start + body


def record_of(data: bytes) -> Record:
    """Reads a record, of which only the length has been checked; faults are in the result."""
    _, number, status, count, tensors, text_size, size, _ = START.unpack_from(data)
    text = ""
    try:
        if status >= len(STATUSES):
            raise ValueError(f"status {status} is unknown")
        body = _Reader(data, START.size)
        text = shortened(body.take(text_size).decode("utf-8", "replace"))
        if size % 8:
            raise ValueError(f"its attributes have {size} bytes, which is no multiple of 8")
        attributes = _attributes(body.take(size), count)
        arrays = list(_tensors(body, tensors))
        if len({name for name, _ in arrays}) != len(arrays):
            raise ValueError("two tensors have one name")
        if body.left:
            raise ValueError(f"{body.left} bytes are left over in the record")
        return Record(number, STATUSES[status], text, attributes, dict(arrays))
    except (ValueError, struct.error) as error:
        return Record(number, "failed", text, fault=shortened(str(error)))


class _Reader:
    """Takes padded pieces off the bytes of a record."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = memoryview(data), at

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        whole = size + -size % 8
        if whole > self.left:
            raise ValueError(f"the record ends {whole - self.left} bytes too early")
        piece = self._data[self._at : self._at + size]
        self._at += whole
        return bytes(piece)


def _attribute_bytes(name: str, value: Any) -> bytes:
    # A cache cannot tell -0.0 from 0.0.
    return (_encoded if isinstance(value, float) else _remembered)(name, value)


def _encoded(name: str, value: Any) -> bytes:
    kind, data = _value_bytes(value)
    key = name.encode()
    return _ATTRIBUTE.pack(kind, 0, len(key), len(data)) + _padded(key) + _padded(data)


# Typed: 1 and True are equal, and two things here.
_remembered = lru_cache(maxsize=4096, typed=True)(_encoded)


def _value_bytes(value: Any) -> tuple[int, bytes]:
    if isinstance(value, List | Members):
        return (_LIST if isinstance(value, List) else _MEMBERS), struct.pack("<q", value)
    if value is None:
        return _NULL, b""
    if isinstance(value, bool):
        return _BOOL, struct.pack("<q", value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return _INT, struct.pack("<q", value)
    if isinstance(value, int):  # of more than 64 bits
        return _DIGITS, str(value).encode()
    if isinstance(value, float):
        return _FLOAT, struct.pack("<d", value)
    return _TEXT, str(value).encode()


@lru_cache(maxsize=4096)  # many questions have one spec
def _attributes(data: bytes, count: int) -> Mapping[str, Any]:
    body = _Reader(data, 0)
    entries = [_attribute(body) for _ in range(count)]
    if body.left:
        raise ValueError(f"{body.left} bytes are left over among the attributes")
    return nested(entries)


def _attribute(body: _Reader) -> tuple[str, Any]:
    kind, _, key_size, size = _ATTRIBUTE.unpack(body.take(_ATTRIBUTE.size))
    key = body.take(key_size).decode()
    data = body.take(size)
    if kind == _NULL:
        return key, None
    if kind == _TEXT:
        return key, data.decode()
    if kind == _DIGITS:
        return key, int(data)
    if kind == _FLOAT:
        return key, struct.unpack("<d", data)[0]
    if kind not in (_BOOL, _INT, _LIST, _MEMBERS):
        raise ValueError(f"attribute {key!r} is of the unknown type {kind}")
    (number,) = struct.unpack("<q", data)
    made: Any = {_BOOL: bool, _INT: int, _LIST: List, _MEMBERS: Members}[kind]
    return key, made(number)


def _tensor_bytes(name: str, array: Array) -> bytes:
    key, data = name.encode(), bytes_of(array)
    head = _TENSOR.pack(DTYPES[dtype_name(array)].code, array.ndim, len(key), len(data))
    shape = struct.pack(f"<{array.ndim}I", *array.shape)
    return head + _padded(shape) + _padded(key) + _padded(data)


def _tensors(body: _Reader, count: int) -> Iterator[tuple[str, Array]]:
    for _ in range(count):
        code, rank, key_size, size = _TENSOR.unpack(body.take(_TENSOR.size))
        if rank > MAX_RANK:
            raise ValueError(f"a tensor has rank {rank}, above {MAX_RANK}")
        shape = struct.unpack(f"<{rank}I", body.take(4 * rank))
        name = body.take(key_size).decode()
        if code not in _CODES:
            raise ValueError(f"{name} has the dtype code {code}, which is unknown")
        try:
            yield name, array_of(_CODES[code], shape, body.take(size))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
