"""Mutants of what is stored for NaN, of code dtypes and of unusual scales (SPEC.md, Q-6, Q-8)."""

from __future__ import annotations

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.model import known
from quant_conformance.mutants.pipeline import Pipeline
from quant_conformance.mutants.tables.families import APPLIED, CODES
from quant_conformance.mutants.wrong import F32

STORED = (
    known(
        "nan-as-minus-one",
        "stores NaN as a code of all ones",
        "Q-6",
        ("quantize",),
        pitfall="nan",
        code_of_nan=lambda p, x, spec, offset: -1 if spec.format.kind == "int" else 255,
    ),
    known(
        "nan-as-one",
        "stores NaN as 1",
        "Q-6",
        ("quantize",),
        pitfall="nan",
        code_of_nan=lambda p, x, spec, offset: 1,
    ),
    known(
        "nan-by-its-sign",
        "stores NaN as it stores an infinity of its sign",
        "Q-6",
        ("quantize",),
        pitfall="nan",
        code_of_nan=lambda p, x, spec, offset: np.where(
            np.signbit(p.widen(x)), *p.codes_in_use(spec)
        ),
    ),
    known(
        "nan-in-tail-differs",
        "stores NaN as quant_max in the last n % 8 elements",
        "Q-6",
        ("quantize",),
        pitfall="tail",
        where=wrong.tail(8),
        code_of_nan=lambda p, x, spec, offset: p.codes_in_use(spec)[1],
    ),
    known(
        "nan-spreads",
        "lets one NaN make NaN of the whole tensor",
        "Q-6 FQ-2",
        CODES,
        pitfall="nan",
        quotient=lambda p, x, s: (
            Pipeline.quotient(p, x, s) + np.where(np.isnan(p.widen(x)).any(), F32(np.nan), F32(0))
        ),
    ),
    known(
        "negative-codes-unsigned",
        "stores negative 4- and 2-bit codes without extending the sign",
        "FMT-1",
        ("quantize", "encode"),
        pitfall="nibbles",
        cast_code=lambda p, v, form: (
            v.astype(form.code_dtype) & np.array(2**form.bits - 1).astype(form.code_dtype)
        ),
    ),
    known(
        "codes-in-int32",
        "returns codes as int32",
        "FMT-1",
        ("quantize", "encode"),
        cast_code=lambda p, v, form: v.astype(np.int32),
    ),
    known(
        "uint8-codes-in-int8",
        "returns unsigned codes as int8",
        "FMT-1",
        ("quantize", "encode"),
        cast_code=lambda p, v, form: v.astype(form.code_dtype).view(np.int8),
    ),
    known(
        "subnormal-scale-flushed",
        "reads subnormal scales as zero",
        "Q-8",
        APPLIED,
        pitfall="subnormals",
        scale_used=lambda p, s: wrong.flushed(s),
    ),
    known(
        "e8m0-least-scale-flushed",
        "reads the scale 2^-127 as zero",
        "Q-8",
        APPLIED,
        pitfall="e8m0",
        scale_used=lambda p, s: np.where(s == F32(2.0**-127), F32(0), s),
    ),
    known(
        "infinite-scale-clamped",
        "clamps an infinite scale to the greatest float32",
        "QP-8 Q-8",
        ("dequantize", "fake_quantize"),
        scale_used=lambda p, s: np.minimum(s, np.finfo(F32).max),
    ),
    known(
        "nan-scale-as-one",
        "reads a NaN scale as 1",
        "Q-8 QP-8",
        ("quantize", "dequantize", "fake_quantize", "gradient"),
        pitfall="nan",
        scale_used=lambda p, s: np.where(np.isnan(s), F32(1), s),
    ),
    known(
        "e8m0-nan-scale-as-infinity",
        "reads the scale code 255 as 2^128",
        "Q-8 FMT-3",
        ("quantize", "dequantize", "gradient"),
        pitfall="e8m0",
        scale_used=lambda p, s: np.where(np.isnan(s), F32(np.inf), s),
    ),
)
