"""Mutants of the scale's arithmetic (SPEC.md, QP-2, QP-3, QP-6, QP-9)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import SCALES
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import QuantizationSpec


def _divisor(change: Any) -> Step:
    """A symmetric scale by another divisor: ``change(spec, right divisor)``."""

    def symmetric_scale(p: Any, max_abs: Array, spec: QuantizationSpec, dtype: Any) -> Array:
        divisor = change(spec, p.levels(spec) / 2)
        return np.asarray(p.narrow(p.divide_range(max_abs, F32(divisor)), dtype))

    return symmetric_scale


def _span(change: Any) -> Step:
    """An asymmetric scale by another formula: ``change(low, high, levels)``, rounded once."""

    def asymmetric_scale(p: Any, low: Array, high: Array, spec: Any, dtype: Any) -> Array:
        return np.asarray(p.narrow(change(low, high, F32(p.levels(spec))), dtype))

    return asymmetric_scale


def _doubled(p: Any, max_abs: Array, spec: QuantizationSpec, dtype: Any) -> Array:
    twice = p.narrow(F32(2) * max_abs, dtype)
    return np.asarray(p.narrow(p.divide_range(twice, F32(p.levels(spec))), dtype))


SCALE_BUGS = (
    known(
        "scale-by-127",
        "divides a symmetric range by quant_max: 127 for 127.5",
        "QP-2",
        SCALES,
        symmetric_scale=_divisor(
            lambda spec, right: spec.quant_max if spec.format.kind == "int" else right
        ),
    ),
    known(
        "scale-by-128",
        "divides a symmetric range by -quant_min: 128 for 127.5",
        "QP-2",
        SCALES,
        symmetric_scale=_divisor(
            lambda spec, right: -spec.quant_min if spec.format.kind == "int" else right
        ),
    ),
    known(
        "unsigned-scale-by-255",
        "divides a symmetric range of unsigned formats by quant_max",
        "QP-2",
        SCALES,
        symmetric_scale=_divisor(
            lambda spec, right: spec.quant_max if spec.format.kind == "uint" else right
        ),
    ),
    known(
        "unsigned-scale-by-127",
        "divides a symmetric range of unsigned formats by 127 or 7",
        "QP-2",
        SCALES,
        symmetric_scale=_divisor(
            lambda spec, right: right - 0.5 if spec.format.kind == "uint" else right
        ),
    ),
    known(
        "clipped-scale-by-127.5",
        "divides by 127.5 under symmetric_with_clipping",
        "QP-2 SPEC-6",
        SCALES,
        symmetric_scale=_divisor(lambda spec, right: 2 ** (spec.format.bits - 1) - 0.5),
    ),
    known(
        "range-doubled-first",
        "computes 2 * max_abs / 255, which overflows in float16",
        "QP-2 QP-9",
        SCALES,
        symmetric_scale=_doubled,
    ),
    known(
        "range-by-reciprocal",
        "multiplies the range by the reciprocal of the number of steps",
        "QP-2 QP-3 QP-6",
        SCALES,
        pitfall="reciprocal",
        divide_range=lambda p, a, b: a * (F32(1) / b),
    ),
    known(
        "max-abs-of-hi",
        "takes hi for the greatest magnitude",
        "QP-2 QP-6",
        SCALES,
        pitfall="observer-ranges",
        max_abs=lambda p, low, high: high,
    ),
    known(
        "max-abs-of-lo",
        "takes -lo for the greatest magnitude",
        "QP-2 QP-6",
        SCALES,
        pitfall="observer-ranges",
        max_abs=lambda p, low, high: -low,
    ),
    known(
        "scale-by-256",
        "divides an asymmetric range by the number of codes: 256 for 255",
        "QP-3",
        SCALES,
        asymmetric_scale=_span(lambda low, high, levels: (high - low) / (levels + 1)),
    ),
    known(
        "scale-by-254",
        "divides an asymmetric range by one step too few",
        "QP-3",
        SCALES,
        asymmetric_scale=_span(lambda low, high, levels: (high - low) / (levels - 1)),
    ),
    known(
        "span-divided-apart",
        "computes hi/255 - lo/255",
        "QP-3 QP-9",
        SCALES,
        asymmetric_scale=_span(lambda low, high, levels: high / levels - low / levels),
    ),
    known(
        "span-not-rounded",
        "does not round hi - lo to the dtype of the range",
        "QP-9 QP-3",
        SCALES,
        asymmetric_scale=_span(lambda low, high, levels: (high - low) / levels),
    ),
    known(
        "span-in-float64",
        "computes (hi - lo)/255 in float64",
        "QP-9 QP-8 QP-3",
        SCALES,
        asymmetric_scale=_span(
            lambda low, high, levels: (wrong.float64(high) - wrong.float64(low)) / float(levels)
        ),
    ),
    known(
        "qparams-in-float32",
        "does not round to the dtype of the range",
        "QP-9",
        SCALES,
        narrow=lambda p, values, dtype: np.asarray(values).astype(F32),
    ),
    known(
        "qparams-in-bfloat16",
        "rounds to bfloat16 where the range is float16",
        "QP-9",
        SCALES,
        narrow=lambda p, values, dtype: wrong.through(
            wrong.BFLOAT16 if dtype == np.float16 else dtype
        )(values),
    ),
    known(
        "scale-truncated-to-dtype",
        "rounds the scale toward zero to the dtype of the range",
        "QP-9",
        SCALES,
        pitfall="truncation",
        narrow=lambda p, values, dtype: wrong.toward_zero(np.asarray(values, F32), dtype).astype(
            F32
        ),
    ),
    known(
        "float8-scale-by-240",
        "divides by 240 for float8_e4m3fn",
        "QP-6",
        SCALES,
        float_scale=lambda p, max_abs, form, dtype: p.narrow(
            max_abs / F32(240 if form.quant_max == 448 else form.quant_max), dtype
        ),
    ),
    known(
        "float8-scale-by-448-always",
        "divides by 448 for float8_e5m2 too",
        "QP-6",
        SCALES,
        float_scale=lambda p, max_abs, form, dtype: p.narrow(max_abs / F32(448), dtype),
    ),
    known(
        "float8-scale-power-of-two",
        "rounds the scale of float8 down to a power of two",
        "QP-6",
        SCALES,
        float_scale=lambda p, max_abs, form, dtype: np.ldexp(
            F32(1), np.frexp(max_abs / F32(form.quant_max))[1] - 1
        ),
    ),
    known(
        "float8-scale-inverted",
        "gives max / max_abs",
        "QP-6",
        SCALES,
        float_scale=lambda p, max_abs, form, dtype: p.narrow(F32(form.quant_max) / max_abs, dtype),
    ),
)
