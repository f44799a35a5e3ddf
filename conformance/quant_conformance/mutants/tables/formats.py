"""Mutants of what a format is (SPEC.md, FMT, ENC-6, ENC-7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import FORMATS
from quant_conformance.protocol import Array
from quant_reference import Format, get_format


def _format(name: str, **changes: Any) -> Step:
    def get_format_(_: Mutated, wanted: str) -> Format:
        form = get_format(wanted)
        return replace(form, **changes) if form.name == name else form

    return get_format_


def _codes(change: Callable[[Array, Array, Format], Any]) -> Step:
    """Change the codes of a float format, given (codes, values, format)."""

    def encode_element(p: Mutated, values: Array, form: Format) -> Array:
        codes = p.right.encode_element(values, form)
        return np.asarray(change(codes, values, form)).astype(np.uint8)

    return encode_element


FORMAT_BUGS = (
    known(
        "float8-bias-8",
        "takes 8 for the bias of float8_e4m3fn",
        "FMT-2",
        FORMATS,
        get_format=_format("float8_e4m3fn", bias=8),
    ),
    known(
        "float8-bias-16",
        "takes 16 for the bias of float8_e5m2",
        "FMT-2",
        FORMATS,
        get_format=_format("float8_e5m2", bias=16),
    ),
    known(
        "float8-kinds-swapped",
        "reads and writes float8_e5m2 as float8_e4m3fn",
        "FMT-2 FMT-4",
        FORMATS,
        get_format=lambda p, name: get_format(
            "float8_e4m3fn" if get_format(name).name == "float8_e5m2" else name
        ),
    ),
    known(
        "float4-without-bias",
        "takes 0 for the bias of float4_e2m1fn",
        "FMT-2",
        FORMATS,
        get_format=_format("float4_e2m1fn", bias=0),
    ),
    known(
        "float4-in-high-nibble",
        "stores float4 codes in the high nibble",
        "FMT-2",
        ("encode", "quantize"),
        encode_element=_codes(lambda codes, v, form: codes << 4 if form.bits == 4 else codes),
    ),
    known(
        "float4-sign-in-bit-7",
        "stores the sign of a float4 code in the byte's highest bit",
        "FMT-2",
        ("encode", "quantize"),
        encode_element=_codes(
            lambda codes, v, form: codes & 7 | (codes & 8) << 4 if form.bits == 4 else codes
        ),
    ),
    known(
        "e8m0-bias-128",
        "takes 128 for the bias of float8_e8m0fnu",
        "FMT-3 ENC-6",
        ("encode", "decode"),
        pitfall="e8m0",
        get_format=_format("float8_e8m0fnu", bias=128),
    ),
    known(
        "e8m0-nan-as-254",
        "encodes a NaN scale as 2^127",
        "ENC-6",
        ("encode",),
        pitfall="e8m0",
        encode_scale=lambda p, values, form: np.minimum(p.right.encode_scale(values, form), 254),
    ),
    known(
        "e8m0-subnormal-encoded-as-1",
        "encodes 2^-127 as 2^-126, the least normal float32",
        "ENC-6",
        ("encode",),
        pitfall="e8m0",
        encode_scale=lambda p, values, form: np.maximum(p.right.encode_scale(values, form), 1),
    ),
    known(
        "integer-of-nan-accepted",
        "encodes NaN as the integer 0 instead of refusing it",
        "ENC-7",
        ("encode",),
        check_not_nan=lambda p, values: None,
        cast_code=lambda p, values, form: p.right.cast_code(np.nan_to_num(values), form),
    ),
    known(
        "other-dtypes-accepted",
        "accepts input that is neither float16, bfloat16 nor float32",
        "ENC-1 RANGE-3",
        ("encode", "range"),
        float_array=lambda p, x, name, clause: x,
    ),
)
