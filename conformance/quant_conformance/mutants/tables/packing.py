"""Mutants of pack and unpack (SPEC.md, PACK-1 to PACK-3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import PACK
from quant_conformance.protocol import Array
from quant_reference import Format


def _shifts(order: str | None) -> Step:
    """Always one order, or the other one than asked for (None)."""

    def shifts_of(p: Mutated, form: Format, asked: str) -> Array:
        right = p.right.shifts_of(form, asked)
        if order is None:
            return right[::-1]
        return right if asked == order else right[::-1]

    return shifts_of


def _int2_pairs(p: Mutated, form: Format, order: str) -> Array:
    """2-bit codes in the right nibble, but swapped within it."""
    right = p.right.shifts_of(form, order)
    return right.reshape(2, 2)[:, ::-1].reshape(-1) if form.bits == 2 else right


def _row_padded(p: Mutated, codes: Array, fmt: str, order: str) -> Any:
    per_byte = 8 // p.get_format(fmt).bits
    if codes.ndim > 1 and per_byte > 1:
        rows = codes.reshape(-1, codes.shape[-1])
        codes = np.pad(rows, ((0, 0), (0, -rows.shape[1] % per_byte)))
    return p.right.pack(codes, fmt, order)


def _padded_with_ones(p: Mutated, codes: Array, fmt: str, order: str) -> Any:
    form = p.get_format(fmt)
    ones = -1 if form.kind == "int" else 2**form.bits - 1
    padded = np.pad(codes.reshape(-1), (0, -codes.size % (8 // form.bits)), constant_values=ones)
    return p.right.pack(padded, fmt, order)


def _without_incomplete_byte(p: Mutated, codes: Array, fmt: str, order: str) -> Any:
    per_byte = 8 // p.get_format(fmt).bits
    return p.right.pack(codes, fmt, order)[: codes.size // per_byte]


def _extended_from(bit: int) -> Step:
    """Extend the sign from a fixed bit."""

    def extend_sign(p: Mutated, fields: Array, form: Format) -> Array:
        if form.kind != "int":
            return fields
        wide = fields.astype(np.int16)
        return np.where(wide >> bit & 1, wide - (1 << form.bits), wide).astype(np.int8)

    return extend_sign


PACKING = (
    known(
        "nibbles-swapped",
        "packs and unpacks in the other order than asked for",
        "PACK-1",
        PACK,
        pitfall="nibbles",
        shifts_of=_shifts(None),
    ),
    known(
        "low-first-always",
        "packs the first code into the low bits whatever the order",
        "PACK-1",
        PACK,
        pitfall="nibbles",
        shifts_of=_shifts("low_first"),
    ),
    known(
        "high-first-always",
        "packs the first code into the high bits whatever the order",
        "PACK-1",
        PACK,
        pitfall="nibbles",
        shifts_of=_shifts("high_first"),
    ),
    known(
        "unpack-swapped",
        "packs rightly and unpacks in the other order",
        "PACK-1",
        PACK,
        pitfall="nibbles",
        unpack=lambda p, packed, fmt, order, count: p.right.unpack(
            packed, fmt, "low_first" if order == "high_first" else "high_first", count
        ),
    ),
    known(
        "int2-swapped-in-nibble",
        "swaps the two 2-bit codes of each nibble",
        "PACK-1",
        PACK,
        pitfall="nibbles",
        shifts_of=_int2_pairs,
    ),
    known(
        "unknown-order-accepted",
        "takes an unknown order for low_first",
        "PACK-1",
        PACK,
        shifts_of=lambda p, form, order: p.right.shifts_of(
            form, "high_first" if order == "high_first" else "low_first"
        ),
    ),
    known(
        "fortran-order",
        "packs the elements of a matrix in Fortran order",
        "PACK-1",
        PACK,
        pack=lambda p, codes, fmt, order: p.right.pack(codes.reshape(-1, order="F"), fmt, order),
    ),
    known(
        "rows-padded",
        "starts each row of a matrix on a new byte",
        "PACK-1 PACK-3",
        PACK,
        pack=_row_padded,
    ),
    known(
        "sign-not-extended",
        "unpacks signed codes without extending the sign",
        "PACK-2",
        PACK,
        pitfall="nibbles",
        extend_sign=lambda p, fields, form: fields.astype(form.code_dtype),
    ),
    known(
        "sign-extended-from-bit-3",
        "extends the sign from bit 3, also that of 2-bit codes",
        "PACK-2",
        PACK,
        pitfall="nibbles",
        extend_sign=_extended_from(3),
    ),
    known(
        "unsigned-sign-extended",
        "extends a sign of unsigned and float codes too",
        "PACK-2",
        PACK,
        pitfall="nibbles",
        extend_sign=lambda p, fields, form: (
            p.right.extend_sign(fields, form)
            if form.kind == "int" or form.bits == 8
            else np.where(
                fields >> (form.bits - 1), fields | (256 - (1 << form.bits)), fields
            ).astype(np.uint8)
        ),
    ),
    known(
        "negative-codes-leak",
        "does not mask negative codes, whose sign bits overwrite their neighbours",
        "PACK-2",
        PACK,
        pitfall="nibbles",
        field_of=lambda p, codes, form: codes.view(np.uint8),
    ),
    known(
        "padding-of-ones",
        "fills the last byte with ones",
        "PACK-3",
        PACK,
        pack=_padded_with_ones,
    ),
    known(
        "padding-repeats-last-code",
        "fills the last byte with the last code",
        "PACK-3",
        PACK,
        padded=lambda p, fields, count: (
            np.pad(fields, (0, count), mode="edge") if fields.size else fields
        ),
    ),
    known(
        "incomplete-byte-dropped",
        "drops the last byte if it is incomplete",
        "PACK-3",
        PACK,
        pack=_without_incomplete_byte,
    ),
    known(
        "whole-bytes-unpacked",
        "returns the padding behind the last code as codes",
        "PACK-3",
        PACK,
        taken=lambda p, fields, count: fields,
    ),
    known(
        "codes-taken-from-the-end",
        "takes the last codes of the bytes instead of the first",
        "PACK-3",
        PACK,
        taken=lambda p, fields, count: fields[fields.size - count :],
    ),
    known(
        "too-many-codes-accepted",
        "reads codes behind the end as zero",
        "PACK-3",
        PACK,
        check_packed=lambda p, packed, count, form: None,
        taken=lambda p, fields, count: np.resize(
            np.append(fields, np.zeros(max(0, count - fields.size), np.uint8)), count
        ),
    ),
    known(
        "padding-read-as-sign",
        "refuses bytes whose bits behind the last code are not zero",
        "PACK-3",
        PACK,
        unpack=lambda p, packed, fmt, order, count: _strict(p, packed, fmt, order, count),
    ),
)


def _strict(p: Mutated, packed: Array, fmt: str, order: str, count: int) -> Array:
    codes = p.right.unpack(packed, fmt, order, count)
    if not np.array_equal(p.right.pack(codes, fmt, order), packed):
        raise ValueError("stray bits")
    return codes
