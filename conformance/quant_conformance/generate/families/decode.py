"""decode: codes to numbers (DEC-1, FMT-1 to FMT-3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.layouts import float_formats
from quant_reference import SPEC_FORMATS, decode, get_format

Array = NDArray[Any]


def build(builder: Builder) -> None:
    """Add the family."""
    for name in SPEC_FORMATS:
        _every_code(builder, name)
        _shapes(builder, name)
    for name in float_formats():
        _binades(builder, name)
        _specials(builder, name)
    _scale_extremes(builder)


def _add(builder: Builder, case: str, name: str, codes: Array, flags: str, comment: str) -> None:
    builder.add(
        f"decode/{name}/{case}",
        "decode",
        clauses=("DEC-1", _format_clause(name)),
        flags=flags,
        comment=comment,
        arguments={"format": name},
        inputs={"codes": codes},
    )


def _format_clause(name: str) -> str:
    return {"float": "FMT-2", "scale": "FMT-3"}.get(get_format(name).kind, "FMT-1")


def _codes(name: str) -> Array:
    fmt = get_format(name)
    if fmt.is_integer:
        return np.arange(int(fmt.quant_min), int(fmt.quant_max) + 1).astype(fmt.code_dtype)
    return np.arange(2**fmt.bits).astype(np.uint8)


def _every_code(builder: Builder, name: str) -> None:
    codes, kind = _codes(name), get_format(name).kind
    flags = {"float": "Rounding NaNEncoding Subnormals NegativeZero", "scale": "E8M0Extremes"}
    _add(
        builder,
        "every-code",
        name,
        codes,
        flags.get(kind, "SignExtension"),
        "every code, ascending",
    )
    order = np.argsort((np.arange(codes.size) * 37 + 11) % max(codes.size, 7), kind="stable")
    _add(
        builder,
        "shuffled",
        name,
        np.concatenate([codes[order], codes[order[:3]]]),
        "TailElements",
        "every code in another order, with a tail of three",
    )
    for part, chunk in enumerate(np.array_split(codes, 8 if codes.size > 16 else 2)):
        if kind in ("int", "uint", "scale"):
            flag = "E8M0Scale" if kind == "scale" else "SignExtension"
            _add(builder, f"part{part}", name, chunk, flag, "a stretch of neighbouring codes")


def _binades(builder: Builder, name: str) -> None:
    fmt, codes = get_format(name), _codes(name)
    fields = (codes >> fmt.mantissa_bits) & (2**fmt.exponent_bits - 1)
    for field in np.unique(fields):
        flags = "Subnormals NegativeZero" if field == 0 else "Rounding"
        _add(
            builder,
            f"binade{field}",
            name,
            codes[fields == field],
            flags,
            f"every code with exponent field {field}, both signs",
        )


def _specials(builder: Builder, name: str) -> None:
    codes = _codes(name)
    values = decode(codes, name)
    sign = codes >> (get_format(name).bits - 1)
    zeros = codes[values == 0]
    _add(builder, "zeros", name, np.tile(zeros, 3)[:5], "NegativeZero", "zeros of both signs")
    _add(
        builder,
        "extremes",
        name,
        codes[np.abs(values) == np.nanmax(np.abs(values[np.isfinite(values)]))],
        "Saturation",
        "the greatest finite values",
    )
    for word, chosen in (("plus", sign == 0), ("minus", sign == 1)):
        _add(
            builder,
            f"finite-{word}",
            name,
            codes[np.isfinite(values) & chosen],
            "Rounding",
            "every finite code of one sign",
        )
        if np.isnan(values).any():
            _add(
                builder,
                f"nan-{word}",
                name,
                codes[np.isnan(values) & chosen],
                "NaNEncoding",
                "every NaN code of one sign",
            )
        if np.isinf(values).any():
            _add(
                builder,
                f"infinity-{word}",
                name,
                codes[np.isinf(values) & chosen],
                "Infinity",
                "the infinity of one sign",
            )


def _scale_extremes(builder: Builder) -> None:
    for case, codes, flags, comment in (
        ("least", [0, 0, 1], "E8M0Extremes Subnormals", "code 0 is 2**-127, a subnormal float32"),
        ("greatest", [254, 253], "E8M0Extremes", "code 254 is 2**127"),
        ("nan", [255, 127, 255], "NaNEncoding", "code 255 is NaN, not 2**128 and not infinity"),
        ("one", [127], "E8M0Scale", "code 127 is 1"),
    ):
        _add(builder, case, "float8_e8m0fnu", np.array(codes, np.uint8), flags, comment)


def _shapes(builder: Builder, name: str) -> None:
    codes = _codes(name)
    for word, shape in {"scalar": (), "matrix": (2, 3), "cube": (3, 1, 5)}.items():
        count = int(np.prod(shape, dtype=int))
        chosen = codes[(np.arange(count) * 7 + 1) % codes.size].reshape(shape)
        _add(builder, f"shape-{word}", name, chosen, "EmptyAndScalar", f"codes of shape {shape}")
    _add(builder, "shape-empty", name, codes[:0], "EmptyAndScalar", "nothing in, nothing out")
