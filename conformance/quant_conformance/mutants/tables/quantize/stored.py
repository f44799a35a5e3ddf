"""Mutants of what is stored for NaN, of code dtypes and of unusual scales (SPEC.md, Q-6, Q-8)."""

from __future__ import annotations

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import APPLIED, CODES
from quant_conformance.mutants.tables.steps import scale_read
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import QParams, QuantizationSpec


def _nan_by_its_sign(p: Mutated, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
    codes: Array = p.right.quantize(x, spec, qparams)
    if not spec.format.is_integer:
        return codes
    scale, offset = (
        p.spread(each, x.shape) for each in p.checked_params(x.shape, spec, qparams, "")
    )
    with np.errstate(all="ignore"):
        nan = np.isnan(p.unclamped_codes(x, spec, scale, offset))
    least, greatest = p.codes_in_use(spec)
    by_sign = np.where(np.signbit(p.widen(x)), least, greatest).astype(codes.dtype)
    return np.where(nan, by_sign, codes)


STORED = (
    known(
        "nan-as-minus-one",
        "stores NaN as a code of all ones",
        "Q-6",
        ("quantize",),
        pitfall="nan",
        code_of_nan=lambda p, spec, offset: -1 if spec.format.kind == "int" else 255,
    ),
    known(
        "nan-as-one",
        "stores NaN as 1",
        "Q-6",
        ("quantize",),
        pitfall="nan",
        code_of_nan=lambda p, spec, offset: 1,
    ),
    known(
        "nan-by-its-sign",
        "stores NaN as it stores an infinity of its sign",
        "Q-6",
        ("quantize",),
        pitfall="nan",
        quantize=_nan_by_its_sign,
    ),
    known(
        "nan-in-tail-differs",
        "stores NaN as quant_max in the last n % 8 elements",
        "Q-6",
        ("quantize",),
        pitfall="tail",
        where=wrong.tail(8),
        code_of_nan=lambda p, spec, offset: p.codes_in_use(spec)[1],
    ),
    known(
        "nan-spreads",
        "lets one NaN make NaN of the whole tensor",
        "Q-6 FQ-2",
        CODES,
        pitfall="nan",
        quotient=lambda p, x, s: (
            p.right.quotient(x, s) + np.where(np.isnan(p.widen(x)).any(), F32(np.nan), F32(0))
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
        checked_params=scale_read(wrong.flushed),
    ),
    known(
        "e8m0-least-scale-flushed",
        "reads the scale 2^-127 as zero",
        "Q-8",
        APPLIED,
        pitfall="e8m0",
        checked_params=scale_read(lambda s: np.where(s == F32(2.0**-127), F32(0), s)),
    ),
    known(
        "infinite-scale-clamped",
        "clamps an infinite scale to the greatest float32",
        "QP-8 Q-8",
        ("dequantize", "fake_quantize"),
        checked_params=scale_read(lambda s: np.minimum(s, np.finfo(F32).max)),
    ),
    known(
        "nan-scale-as-one",
        "reads a NaN scale as 1",
        "Q-8 QP-8",
        ("quantize", "dequantize", "fake_quantize", "gradient"),
        pitfall="nan",
        checked_params=scale_read(lambda s: np.where(np.isnan(s), F32(1), s)),
    ),
    known(
        "e8m0-nan-scale-as-infinity",
        "reads the scale code 255 as 2^128",
        "Q-8 FMT-3",
        ("quantize", "dequantize", "gradient"),
        pitfall="e8m0",
        checked_params=scale_read(lambda s: np.where(np.isnan(s), F32(np.inf), s)),
    ),
)
