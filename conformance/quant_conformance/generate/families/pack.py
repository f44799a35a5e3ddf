"""pack: sub-byte codes in bytes, both ways (PACK-1 to PACK-3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.streams import integers, words
from quant_reference import SPEC_FORMATS, Format, get_format, pack

Array = NDArray[Any]

_ORDERS = ("low_first", "high_first")
_COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33, 67)

_FEW = (1, 3, 5, 7, 16)


def build(builder: Builder) -> None:
    """Add the family."""
    for fmt in SPEC_FORMATS.values():
        for order in _ORDERS:
            if fmt.bits < 8:
                _counts(builder, fmt, order)
                _neighbours(builder, fmt, order)
                _rest(builder, fmt, order)
            _whole(builder, fmt, order)


def _add(
    builder: Builder,
    case: str,
    fmt: Format,
    order: str,
    codes: Array,
    clauses: str,
    flags: str,
    comment: str,
) -> None:
    """Add packing the codes, and unpacking what comes of it."""
    arguments = {"format": fmt.name, "order": order}
    named: dict[str, Any] = {"clauses": clauses, "flags": flags, "comment": comment}
    builder.add(
        f"pack/{fmt.name}/{order}/{case}-pack",
        "pack",
        arguments=arguments,
        inputs={"codes": codes},
        **named,
    )
    builder.add(
        f"pack/{fmt.name}/{order}/{case}-unpack",
        "unpack",
        arguments={**arguments, "count": codes.size},
        inputs={"packed": pack(codes, fmt, order)},  # type: ignore[arg-type]
        **named,
    )


def _range(fmt: Format) -> tuple[int, int]:
    return (int(fmt.quant_min), int(fmt.quant_max)) if fmt.is_integer else (0, 2**fmt.bits - 1)


def _clauses(fmt: Format) -> str:
    return "PACK-1 PACK-2" if fmt.kind == "int" else "PACK-1"


def _counts(builder: Builder, fmt: Format, order: str) -> None:
    low, high = _range(fmt)
    # The other 2- and 4-bit formats are packed alike; a few odd counts show that they are.
    for count in _COUNTS if fmt.kind == "int" else _FEW:
        codes = integers(f"pack/{fmt.name}/{order}/{count}", (count,), low, high)
        codes[-1] = high if codes[-1] == 0 else codes[-1]  # a lost last code must show
        complete = count * fmt.bits % 8 == 0
        flags = "NibbleOrder SignExtension" + ("" if complete else " IncompleteByte")
        clauses = _clauses(fmt) + ("" if complete else " PACK-3")
        _add(
            builder,
            f"count{count}",
            fmt,
            order,
            codes.astype(fmt.code_dtype),
            clauses,
            flags,
            f"{count} codes",
        )


def _neighbours(builder: Builder, fmt: Format, order: str) -> None:
    """Every pair of codes: a code must not leak into its neighbour."""
    low, high = _range(fmt)
    every = np.arange(low, high + 1)
    left, right = np.meshgrid(every, every, indexing="ij")
    pairs = np.stack([left.ravel(), right.ravel()], axis=-1).astype(fmt.code_dtype)
    _add(
        builder,
        "every-pair",
        fmt,
        order,
        pairs.ravel(),
        _clauses(fmt),
        "NibbleOrder SignExtension",
        "every code beside every code",
    )
    for word, codes in (
        ("least-first", [low, 0, low, high, high, 0, 0, low]),
        ("minus-one", [-1 if low < 0 else high, 0, 0, 0, 0, -1 if low < 0 else high, 0, 0]),
        ("ascending", list(range(low, high + 1))),
        ("all-least", [low] * 8),
        ("all-greatest", [high] * 8),
    ):
        _add(
            builder,
            word,
            fmt,
            order,
            np.array(codes, fmt.code_dtype),
            _clauses(fmt),
            "SignExtension NibbleOrder",
            "codes whose bits would show in their neighbours",
        )
    for shape in ((3, 8), (3, 5)):
        builder.add(
            f"pack/{fmt.name}/{order}/matrix{shape[1]}-pack",
            "pack",
            clauses=("PACK-1",),
            flags=("NibbleOrder", "InterleavedBlocks"),
            comment="a matrix is packed in C order, one row straight behind the other",
            arguments={"format": fmt.name, "order": order},
            inputs={"codes": np.resize(every, shape).astype(fmt.code_dtype)},
        )


def _rest(builder: Builder, fmt: Format, order: str) -> None:
    """Bits and bytes behind the last code are ignored."""
    per_byte = 8 // fmt.bits
    packed = words(f"pack/{fmt.name}/{order}/rest", 2).view(np.uint8)[:5] | np.uint8(0x11)
    for count in sorted({1, per_byte - 1, per_byte + 1, 3 * per_byte - 1, 4 * per_byte}):
        builder.add(
            f"pack/{fmt.name}/{order}/rest{count}-unpack",
            "unpack",
            clauses=("PACK-3", *_clauses(fmt).split()),
            flags=("IncompleteByte",),
            comment="what stands behind the last code is ignored",
            arguments={"format": fmt.name, "order": order, "count": count},
            inputs={"packed": packed},
        )


def _whole(builder: Builder, fmt: Format, order: str) -> None:
    low, high = _range(fmt)
    if fmt.bits == 8:
        codes = np.arange(low, high + 1)[:: 5 if order == "low_first" else 7].astype(fmt.code_dtype)
        _add(
            builder,
            "bytes",
            fmt,
            order,
            codes,
            "PACK-1",
            "SignExtension",
            "8-bit codes are the bytes themselves",
        )
    empty = np.zeros(0, get_format(fmt.name).code_dtype)
    _add(builder, "empty", fmt, order, empty, "PACK-1", "EmptyAndScalar", "no codes, no bytes")
