"""Mutants of e8m0 scales (SPEC.md, QP-7, QP-8)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import QPARAMS, SCALES
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import Format


def _bumped(bump: Any) -> Step:
    """The exponent field after ``bump`` was added to the bits of max_abs."""

    def e8m0_exponent(p: Any, max_abs: Array, form: Format) -> Array:
        bits = max_abs.view(np.int32) + np.int32(bump)
        return np.asarray((bits >> 23 & 255) - 127 - form.max_pow2)

    return e8m0_exponent


def _logarithm(change: Any) -> Step:
    """The exponent by a formula in floating point: ``change(max_abs, format)``."""

    def e8m0_exponent(p: Any, max_abs: Array, form: Format) -> Array:
        exponent = np.nan_to_num(change(max_abs, form), nan=0.0, posinf=200.0, neginf=-200.0)
        return np.asarray(exponent.astype(np.int32))

    return e8m0_exponent


def _shift(by: Any) -> Step:
    def e8m0_exponent(p: Any, max_abs: Array, form: Format) -> Array:
        right = (max_abs.view(np.int32) >> 23 & 255) - 127 - form.max_pow2
        return np.asarray(right + by(form))

    return e8m0_exponent


E8M0 = (
    known(
        "e8m0-ceil",
        "rounds the shared exponent up",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_exponent=_bumped(0x7FFFFF),
    ),
    known(
        "e8m0-round",
        "rounds the shared exponent to nearest: up from 1.5",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_exponent=_bumped(0x400000),
    ),
    known(
        "e8m0-even",
        "rounds max_abs to the element's fraction before it takes the exponent",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_exponent=lambda p, max_abs, form: _bumped(1 << (22 - form.mantissa_bits))(
            p, max_abs, form
        ),
    ),
    known(
        "e8m0-round-in-logarithm",
        "computes round(log2(max_abs)): up from the square root of 2",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_exponent=_logarithm(lambda v, form: np.rint(np.log2(v)) - form.max_pow2),
    ),
    known(
        "e8m0-float32-logarithm",
        "computes floor(log2(max_abs)) in float32, which rounds up just below powers of two",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_exponent=_logarithm(
            lambda v, form: np.floor(np.log2(v.astype(np.float64)).astype(F32)) - form.max_pow2
        ),
    ),
    known(
        "e8m0-quotient-ceil",
        "computes ceil(log2(max_abs / max))",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_exponent=_logarithm(lambda v, form: np.ceil(np.log2(v / F32(form.quant_max)))),
    ),
    known(
        "e8m0-quotient-floor",
        "computes floor(log2(max_abs / max))",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_exponent=_logarithm(lambda v, form: np.floor(np.log2(v / F32(form.quant_max)))),
    ),
    known(
        "e8m0-exponent-one-more",
        "gives an exponent one too great",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_exponent=_shift(lambda form: 1),
    ),
    known(
        "e8m0-exponent-one-less",
        "gives an exponent one too small, as a bias of 128 does",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_exponent=_shift(lambda form: -1),
    ),
    known(
        "e8m0-element-exponent-ignored",
        "does not subtract the greatest exponent of the elements",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_exponent=_shift(lambda form: form.max_pow2),
    ),
    known(
        "e8m0-element-exponent-of-float4",
        "subtracts 2 for every element format",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_exponent=_shift(lambda form: form.max_pow2 - 2),
    ),
    known(
        "e8m0-least-scale-2^-127",
        "lets the scale go down to 2^-127",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_scale=lambda p, exponent: np.ldexp(F32(1), exponent),
    ),
    known(
        "e8m0-exponent-wraps",
        "lets exponents below -127 wrap around",
        "QP-7",
        SCALES,
        pitfall="e8m0",
        e8m0_scale=lambda p, exponent: np.ldexp(
            F32(1), np.maximum((exponent + 127) % 256 - 127, -126)
        ),
    ),
    known(
        "e8m0-zero-as-one",
        "gives the scale 1 for a block of zeros",
        "QP-7",
        SCALES,
        pitfall="observer-ranges",
        e8m0_nonfinite=lambda p, scale, max_abs: np.where(
            max_abs == 0, F32(1), p.right.e8m0_nonfinite(scale, max_abs)
        ),
    ),
    known(
        "e8m0-least-scale-eps",
        "keeps e8m0 scales at least 2^-23",
        "QP-7 QP-1",
        SCALES,
        e8m0_scale=lambda p, exponent: np.maximum(np.ldexp(F32(1), exponent), F32(2.0**-23)),
    ),
    known(
        "e8m0-in-dtype-of-x",
        "rounds the scale to float16, which has no exponents below -24 or above 15",
        "QP-7",
        QPARAMS,
        pitfall="double-rounding",
        e8m0_nonfinite=lambda p, scale, max_abs: p.right.e8m0_nonfinite(
            scale.astype(np.float16).astype(F32), max_abs
        ),
    ),
    known(
        "float8-ignores-e8m0",
        "gives float32 scales though scale_dtype is float8_e8m0fnu",
        "SPEC-3 QP-7",
        SCALES,
        e8m0_exponent=lambda p, max_abs, form: (max_abs, form),
        e8m0_scale=lambda p, pair: p.right.least_scale(pair[0] / F32(pair[1].quant_max)),
    ),
    known(
        "e8m0-nan-block-as-2^127",
        "gives the greatest scale for a block with NaN or infinity",
        "QP-8",
        SCALES,
        pitfall="e8m0",
        e8m0_nonfinite=lambda p, scale, max_abs: np.where(
            np.isfinite(max_abs), scale, F32(2.0**127)
        ),
    ),
    known(
        "e8m0-nan-block-as-least",
        "gives the least scale for a block with NaN",
        "QP-8",
        SCALES,
        pitfall="nan",
        e8m0_nonfinite=lambda p, scale, max_abs: np.where(
            np.isnan(max_abs), F32(2.0**-126), p.right.e8m0_nonfinite(scale, max_abs)
        ),
    ),
    known(
        "e8m0-infinite-block-as-infinity",
        "gives an infinite scale for a block with an infinity",
        "QP-8",
        SCALES,
        pitfall="e8m0",
        e8m0_nonfinite=lambda p, scale, max_abs: np.where(
            np.isinf(max_abs), max_abs, p.right.e8m0_nonfinite(scale, max_abs)
        ),
    ),
)
