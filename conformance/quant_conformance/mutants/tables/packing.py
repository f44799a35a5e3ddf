"""Mutants of pack and unpack (SPEC.md, PACK-1 to PACK-3)."""

from __future__ import annotations

import numpy as np

from quant_conformance.mutants.model import Step, known
from quant_conformance.mutants.pipeline import Pipeline
from quant_conformance.mutants.tables.families import PACK
from quant_conformance.protocol import Array
from quant_reference import Format


def _shifts(order: str | None) -> Step:
    """Always one order, or the other one than asked for (None)."""

    def shifts(p: Pipeline, form: Format, asked: str) -> Array:
        right = Pipeline.shifts(p, form, asked)
        if order is None:
            return right[::-1]
        return right if asked == order else right[::-1]

    return shifts


def _int2_pairs(p: Pipeline, form: Format, order: str) -> Array:
    """2-bit codes in the right nibble, but swapped within it."""
    right = Pipeline.shifts(p, form, order)
    return right.reshape(2, 2)[:, ::-1].reshape(-1) if form.bits == 2 else right


def _row_padded(p: Pipeline, codes: Array, form: Format) -> Array:
    if codes.ndim < 2 or form.bits == 8:
        return codes.reshape(-1)
    rows = codes.reshape(-1, codes.shape[-1])
    missing = -rows.shape[1] % (8 // form.bits)
    return np.pad(rows, ((0, 0), (0, missing))).reshape(-1)


def _extended_from(bit: int) -> Step:
    """Extend the sign from a fixed bit."""

    def extend_sign(p: Pipeline, fields: Array, form: Format) -> Array:
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
        shifts=_shifts(None),
    ),
    known(
        "low-first-always",
        "packs the first code into the low bits whatever the order",
        "PACK-1",
        PACK,
        pitfall="nibbles",
        shifts=_shifts("low_first"),
    ),
    known(
        "high-first-always",
        "packs the first code into the high bits whatever the order",
        "PACK-1",
        PACK,
        pitfall="nibbles",
        shifts=_shifts("high_first"),
    ),
    known(
        "unpack-swapped",
        "packs rightly and unpacks in the other order",
        "PACK-1",
        PACK,
        pitfall="nibbles",
        unpack=lambda p, packed, fmt, order, count: Pipeline.unpack(
            p, packed, fmt, "low_first" if order == "high_first" else "high_first", count
        ),
    ),
    known(
        "int2-swapped-in-nibble",
        "swaps the two 2-bit codes of each nibble",
        "PACK-1",
        PACK,
        pitfall="nibbles",
        shifts=_int2_pairs,
    ),
    known(
        "unknown-order-accepted",
        "takes an unknown order for low_first",
        "PACK-1",
        PACK,
        shifts=lambda p, form, order: Pipeline.shifts(
            p, form, "high_first" if order == "high_first" else "low_first"
        ),
    ),
    known(
        "fortran-order",
        "packs the elements of a matrix in Fortran order",
        "PACK-1",
        PACK,
        flattened=lambda p, codes, form: codes.reshape(-1, order="F"),
    ),
    known(
        "rows-padded",
        "starts each row of a matrix on a new byte",
        "PACK-1 PACK-3",
        PACK,
        flattened=_row_padded,
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
            Pipeline.extend_sign(p, fields, form)
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
        padded=lambda p, fields, count, form: np.pad(
            fields, (0, count), constant_values=2**form.bits - 1
        ),
    ),
    known(
        "padding-repeats-last-code",
        "fills the last byte with the last code",
        "PACK-3",
        PACK,
        padded=lambda p, fields, count, form: (
            np.pad(fields, (0, count), mode="edge") if fields.size else fields
        ),
    ),
    known(
        "incomplete-byte-dropped",
        "drops the last byte if it is incomplete",
        "PACK-3",
        PACK,
        padded=lambda p, fields, count, form: fields[
            : fields.size - fields.size % (8 // form.bits)
        ],
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
        check_packed=lambda p, packed, count, per_byte: None,
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


def _strict(p: Pipeline, packed: Array, fmt: str, order: str, count: int) -> Array:
    codes = Pipeline.unpack(p, packed, fmt, order, count)
    if not np.array_equal(Pipeline.pack(p, codes, fmt, order), packed):
        raise ValueError("stray bits")
    return codes
