"""pack and unpack: sub-byte codes in bytes (SPEC.md, PACK-1 to PACK-4)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from quant_reference._arrays import Array, native
from quant_reference.encoding import code_array
from quant_reference.errors import InputError
from quant_reference.formats import Format, codec_format

PackOrder = Literal["low_first", "high_first"]

CONTAINER_ORDER: Mapping[str, PackOrder | None] = MappingProxyType(
    {
        "numpy": None,
        "torch": "low_first",
        "onnx": "low_first",
        "coreai": "low_first",
        "coreml": "low_first",
    }
)
"""Packing order of each container; None means one code per byte (PACK-1, PACK-4)."""


def pack(codes: Array, format: str | Format, order: PackOrder) -> Array:
    """Pack codes into bytes.

    Clauses PACK-1 (order in a byte), PACK-3 (an incomplete last byte is filled with zeros) and
    PACK-4 (codes that run over the ends of bytes).

    Args:
        codes: Any shape, taken in C order; int8 for signed formats, uint8 for the rest.
        format: Name of the format, or the format.
        order: ``"low_first"``: the first code takes the least significant bits of the first
            byte; ``"high_first"``: the most significant.

    Returns:
        uint8 of shape ``(ceil(codes.size * bits / 8),)``.

    Raises:
        InputError: Wrong dtype or a code too wide (DEC-1), or an unknown order (PACK-1).
    """
    fmt = codec_format(format)
    fields = field_of(code_array(codes, fmt, "PACK-1").reshape(-1), fmt)
    shifts = shifts_of(fmt, order)
    if 8 % packed_bits(fmt):
        return bytes_of_stream(fields, fmt, order)
    rows = padded(fields, -fields.size % shifts.size).reshape(-1, shifts.size)
    packed: Array = np.bitwise_or.reduce(rows << shifts, axis=1)
    return packed


def packed_bits(fmt: Format) -> int:
    """Bits that a packed code takes: its own, and 8 for a code of 7 (PACK-4)."""
    return 8 if fmt.bits > 6 else fmt.bits


def bytes_of_stream(fields: Array, fmt: Format, order: PackOrder) -> Array:
    """A row of bytes whose bits are those of one code behind the other (PACK-4)."""
    if order == "low_first":
        rows = np.unpackbits(fields[:, None], axis=1, bitorder="little")[:, : fmt.bits]
        return np.packbits(rows.reshape(-1), bitorder="little")
    rows = np.unpackbits(fields[:, None], axis=1)[:, 8 - fmt.bits :]
    return np.packbits(rows.reshape(-1))


def codes_of_stream(packed: Array, fmt: Format, order: str) -> Array:
    """The fields of a row of bytes, inverse of :func:`bytes_of_stream` (PACK-4)."""
    bitorder: Literal["little", "big"] = "little" if order == "low_first" else "big"
    bits = np.unpackbits(packed, bitorder=bitorder)
    rows = bits[: bits.size // fmt.bits * fmt.bits].reshape(-1, fmt.bits)
    if order == "low_first":
        return np.packbits(rows, axis=1, bitorder="little").reshape(-1)
    return np.asarray(np.packbits(rows, axis=1).reshape(-1) >> np.uint8(8 - fmt.bits))


def field_of(codes: Array, fmt: Format) -> Array:
    """The low bits of each code (PACK-2)."""
    return codes.view(np.uint8) & np.uint8(2**fmt.bits - 1)


def padded(fields: Array, count: int) -> Array:
    """Fill the last byte with zeros (PACK-3)."""
    return np.pad(fields, (0, count))


def unpack(packed: Array, format: str | Format, order: PackOrder, count: int) -> Array:
    """Take codes out of bytes.

    Clauses PACK-1 (order in a byte), PACK-2 (sign extension), PACK-3 (bits behind the last code
    are ignored) and PACK-4 (codes that run over the ends of bytes).

    Args:
        packed: uint8 of shape ``(n,)``.
        format: Name of the format, or the format.
        order: As for :func:`pack`.
        count: How many codes to take.

    Returns:
        Codes of shape ``(count,)``: int8 for signed formats, uint8 for the rest.

    Raises:
        InputError: Wrong dtype or rank, or fewer bytes than ``count`` codes need (PACK-3).
    """
    fmt = codec_format(format)
    data = native(packed, "packed", "uint8, 1-D", "PACK-1")
    shifts = shifts_of(fmt, order)
    check_packed(data, count, fmt)
    if 8 % packed_bits(fmt):
        return taken(codes_of_stream(data, fmt, order), count)
    fields = ((data[:, None] >> shifts) & np.uint8(2**fmt.bits - 1)).reshape(-1)
    return extend_sign(taken(fields, count), fmt)


def check_packed(packed: Array, count: object, fmt: Format) -> None:
    """Refuse what is no row of bytes (PACK-1), and more codes than the bytes hold (PACK-3)."""
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise InputError(
            "packed data",
            given=f"{packed.dtype}{packed.shape}",
            allowed="uint8, 1-D",
            clause="PACK-1",
        )
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
        raise InputError("count of codes", given=count, allowed="an int >= 0", clause="PACK-3")
    held = packed.size * 8 // packed_bits(fmt)
    if count > held:
        raise InputError(
            f"{packed.size} bytes hold fewer {fmt.name} codes than asked for",
            given=count,
            allowed=f"at most {held}",
            clause="PACK-3",
        )


def taken(fields: Array, count: int) -> Array:
    """The codes asked for; bits behind the last one are ignored (PACK-3)."""
    return fields[:count]


def extend_sign(fields: Array, fmt: Format) -> Array:
    """Two's complement for signed formats (PACK-2)."""
    if fmt.kind not in ("int", "fixed"):
        return fields
    unused = np.int8(8 - fmt.bits)
    # Move the field's sign bit to bit 7, then shift back arithmetically.
    return (fields << unused.view(np.uint8)).view(np.int8) >> unused


def shifts_of(fmt: Format, order: str) -> Array:
    """Left shift of each code within its byte (PACK-1)."""
    if order not in get_args(PackOrder):
        raise InputError(
            "unknown packing order",
            given=order,
            allowed=" or ".join(get_args(PackOrder)),
            clause="PACK-1",
        )
    shifts = np.arange(0, 8, packed_bits(fmt), dtype=np.uint8)
    return shifts if order == "low_first" else shifts[::-1]
