"""Mutants that decode codes wrongly (SPEC.md, FMT, DEC-1, DQ-4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import DECODED
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import Format, QuantizationSpec


def _e2m1_value(code: int, value: float) -> Step:
    """A wrong entry in the table of float4 values."""

    def decode_codes(p: Mutated, codes: Array, form: Format) -> Array:
        values = p.right.decode_codes(codes, form)
        hit = (codes & 7 == code) & (form.name == "float4_e2m1fn")
        return np.where(hit, np.copysign(F32(value), values), values).astype(F32)

    return decode_codes


def _refusing(p: Any, codes: Array, spec: QuantizationSpec, scale: Array, offset: Any) -> Array:
    if spec.format.is_integer and (codes < spec.quant_min).any():
        raise ValueError("code out of range")
    return p.right.values_of(codes, spec, scale, offset)


def _clamping(p: Any, codes: Array, spec: QuantizationSpec, scale: Array, offset: Any) -> Array:
    if spec.format.is_integer:
        codes = np.clip(codes, F32(spec.quant_min), F32(spec.quant_max))
    return p.right.values_of(codes, spec, scale, offset)


DECODING = (
    known(
        "decode-subnormals-flushed",
        "decodes subnormal codes as zero",
        "DEC-1 ENC-2",
        DECODED,
        pitfall="subnormals",
        subnormal_value=lambda p, fraction, form: fraction * F32(0),
    ),
    known(
        "decode-subnormals-as-normal",
        "decodes subnormal codes with a leading one and exponent -bias",
        "DEC-1 FMT-2",
        DECODED,
        pitfall="subnormals",
        subnormal_value=lambda p, fraction, form: p.normal_value(fraction * 0, fraction, form),
    ),
    known(
        "decode-subnormals-halved",
        "decodes subnormal codes with exponent -bias instead of 1 - bias",
        "DEC-1 FMT-2",
        DECODED,
        pitfall="subnormals",
        subnormal_value=lambda p, fraction, form: (
            F32(0.5) * p.right.subnormal_value(fraction, form)
        ),
    ),
    known(
        "decode-negative-zero-lost",
        "decodes -0 as +0",
        "DEC-1 DQ-3",
        ("decode", "dequantize", "fake_quantize"),
        pitfall="negative-zero",
        signed=lambda p, v, sign: np.where((sign == 1) & (v != 0), -v, v),
    ),
    known(
        "decode-negative-zero-as-nan",
        "decodes the code of -0 as NaN",
        "DEC-1",
        DECODED,
        pitfall="negative-zero",
        signed=lambda p, v, sign: np.where(sign == 1, np.where(v == 0, F32(np.nan), -v), v),
    ),
    known(
        "decode-nan-as-number",
        "decodes NaN and infinity codes as the next greater numbers: 480, 65536, …",
        "DEC-1 FMT-2",
        DECODED,
        pitfall="nan",
        special_value=lambda p, value, field, fraction, form: value,
    ),
    known(
        "decode-infinity-as-nan",
        "decodes infinities of float8_e5m2 as NaN",
        "DEC-1 FMT-2",
        DECODED,
        special_value=lambda p, value, field, fraction, form: np.where(
            np.isinf(p.right.special_value(value, field, fraction, form)),
            F32(np.nan),
            p.right.special_value(value, field, fraction, form),
        ),
    ),
    known(
        "decode-infinity-as-max",
        "decodes infinities of float8_e5m2 as ±57344",
        "DEC-1 FMT-2",
        DECODED,
        special_value=lambda p, value, field, fraction, form: np.minimum(
            p.right.special_value(value, field, fraction, form), form.quant_max
        ).astype(F32),
    ),
    known(
        "decode-top-exponent-as-nan",
        "decodes all of the top exponent of float8_e4m3fn as NaN, as IEEE formats do",
        "DEC-1 FMT-2",
        DECODED,
        pitfall="nan",
        special_value=lambda p, value, field, fraction, form: np.where(
            (field == 15) & (form.exponent_bits == 4),
            F32(np.nan),
            p.right.special_value(value, field, fraction, form),
        ),
    ),
    *(
        known(
            f"e2m1-code-{code}-as-{value:g}",
            f"decodes float4 code {code} as {value:g}",
            "FMT-2 DEC-1",
            DECODED,
            decode_codes=_e2m1_value(code, value),
        )
        for code, value in ((1, 0.25), (3, 1.25), (5, 2.5), (7, 8.0))
    ),
    known(
        "e8m0-zero-code-flushed",
        "decodes the scale code 0 as 0 instead of 2^-127",
        "FMT-3 DEC-1",
        ("decode",),
        pitfall="e8m0",
        decode_scale=lambda p, bits, form: np.where(
            bits == 0, F32(0), p.right.decode_scale(bits, form)
        ),
    ),
    known(
        "e8m0-nan-as-infinity",
        "decodes the scale code 255 as 2^128, which is infinity",
        "FMT-3 DEC-1",
        ("decode",),
        pitfall="e8m0",
        decode_scale=lambda p, bits, form: np.ldexp(F32(1), bits - 127),
    ),
    known(
        "e8m0-through-float16",
        "decodes scales by way of float16",
        "FMT-3 DEC-1",
        ("decode",),
        pitfall="double-rounding",
        decode_scale=lambda p, bits, form: wrong.through(np.float16)(
            p.right.decode_scale(bits, form)
        ),
    ),
    known(
        "signed-codes-read-unsigned",
        "reads negative integer codes as unsigned ones",
        "DEC-1 FMT-1",
        ("decode", "dequantize"),
        pitfall="nibbles",
        decode_codes=lambda p, codes, form: (
            (codes.astype(np.int32) & (2**form.bits - 1)).astype(F32)
            if form.is_integer
            else p.right.decode_codes(codes, form)
        ),
    ),
    known(
        "clipped-code-refused",
        "refuses the code that clipping drops",
        "DQ-4",
        ("dequantize",),
        values_of=_refusing,
    ),
    known(
        "clipped-code-clamped",
        "clamps codes to the codes in use before it dequantizes them",
        "DQ-4",
        ("dequantize",),
        values_of=_clamping,
    ),
)
