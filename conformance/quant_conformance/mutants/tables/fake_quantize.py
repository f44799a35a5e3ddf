"""Mutants of fake_quantize (SPEC.md, FQ-1 to FQ-4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, patched
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import FAKE
from quant_conformance.mutants.tables.steps import Place, scale_read, zero_point_codes
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import QParams, QuantizationSpec


def _in_dtype(dtype: np.dtype[Any]) -> Mutated:
    to = wrong.through(dtype)
    return patched(
        checked_params=scale_read(to),
        multiply=lambda p, codes, s: to(codes * s),
    )


_IN_DTYPE = {
    dtype.name: _in_dtype(dtype) for dtype in (np.dtype(F32), wrong.FLOAT16, wrong.BFLOAT16)
}


def _with_sign_of_x(p: Mutated, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
    values = p.right.fake_quantize(x, spec, qparams)
    signed = np.copysign(p.widen(values), p.widen(x)).astype(values.dtype)
    of_integers = spec.format.is_integer and spec.qformulation == "zp"
    return np.where((values == 0) & of_integers, signed, values)


_CAST = Place("cast_back", "FQ-3", FAKE, operands=2)

FAKES = (
    known(
        "clamp-without-rounding",
        "clamps to the range of values and does not round",
        "FQ-1",
        FAKE,
        round_code=lambda p, v: v,
        encode_element=lambda p, v, form: v,
        decode_codes=lambda p, codes, form: codes,
    ),
    known(
        "fused-half-step",
        "computes floor((x + scale / 2) / scale) in fake_quantize",
        "FQ-1 Q-2",
        FAKE,
        pitfall="fusion",
        unclamped_codes=zero_point_codes(
            lambda p, x, s, z: np.floor((p.widen(x) + s * F32(0.5)) / s) + z
        ),
    ),
    known(
        "fused-remainder",
        "computes x - fmod(x, scale) in fake_quantize, which truncates",
        "FQ-1 Q-2",
        FAKE,
        pitfall="fusion",
        unclamped_codes=zero_point_codes(
            lambda p, x, s, z: p.quotient(p.widen(x) - np.fmod(p.widen(x), s), s) + z
        ),
    ),
    known(
        "fake-quantize-in-dtype-of-x",
        "computes scale and product in the dtype of x",
        "FQ-1 FQ-3",
        FAKE,
        pitfall="double-rounding",
        fake_quantize=lambda p, x, *rest: _IN_DTYPE[x.dtype.name].fake_quantize(x, *rest),
    ),
    known(
        "fake-nan-as-zero",
        "gives what the zero point stands for where x is NaN",
        "FQ-2",
        FAKE,
        pitfall="nan",
        with_nan=lambda p, values, clamped, form: np.where(np.isnan(clamped), F32(0), values),
    ),
    known(
        "fake-nan-of-float4-as-zero",
        "gives 0 where x is NaN in float4_e2m1fn, which has no NaN",
        "FQ-2",
        FAKE,
        pitfall="nan",
        with_nan=lambda p, values, clamped, form: np.where(
            np.isnan(clamped) & (form.name == "float4_e2m1fn"), F32(0), values
        ),
    ),
    known(
        "fake-nan-clamped",
        "clamps NaN to quant_min as fmax and fmin do",
        "FQ-2",
        FAKE,
        pitfall="nan",
        clamp=lambda p, v, low, high: np.fmin(np.fmax(v, F32(low)), F32(high)),
        clamp_float=lambda p, v, low, high: np.fmin(np.fmax(v, F32(low)), F32(high)),
    ),
    _CAST(
        "float32-result", "returns float32 whatever the dtype of x", lambda values, dtype: values
    ),
    _CAST(
        "cast-back-truncates",
        "rounds toward zero on the way back to float16 or bfloat16",
        lambda values, dtype: wrong.toward_zero(values, dtype),
        pitfall="truncation",
    ),
    _CAST(
        "cast-back-saturates",
        "saturates at 65504 on the way back to float16",
        lambda values, dtype: (
            np.clip(values, F32(-65504), F32(65504)).astype(dtype)
            if dtype == np.float16
            else values.astype(dtype)
        ),
        pitfall="saturation",
    ),
    _CAST(
        "cast-back-through-float16",
        "rounds to float16 on the way back to bfloat16",
        lambda values, dtype: (
            values.astype(dtype) if dtype == F32 else values.astype(np.float16).astype(dtype)
        ),
        pitfall="double-rounding",
    ),
    _CAST(
        "cast-back-flushes",
        "flushes float16 subnormals on the way back",
        lambda values, dtype: (
            wrong.flushed(values.astype(dtype)) if dtype == np.float16 else values.astype(dtype)
        ),
        pitfall="subnormals",
    ),
    known(
        "integer-negative-zero",
        "keeps the sign of x where an integer format gives zero",
        "FQ-4",
        FAKE,
        pitfall="negative-zero",
        fake_quantize=_with_sign_of_x,
    ),
    known(
        "fake-negative-zero-lost",
        "gives +0 for every zero, also in float formats",
        "FQ-4 ENC-3",
        FAKE,
        pitfall="negative-zero",
        values_of=lambda p, codes, spec, scale, offset: (
            p.right.values_of(codes, spec, scale, offset) + F32(0)
        ),
    ),
)
