"""Mutants of zero points, minval and infinite ranges (SPEC.md, QP-4, QP-5, QP-8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import QPARAMS, SCALES
from quant_conformance.mutants.tables.steps import Place, least
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import QParams, QuantizationSpec

INT32_MIN = -(2**31)


def _zero(change: Any) -> Step:
    """A zero point by another formula: ``change(low, high, scale, (least, greatest))``."""

    def zero_point(p: Any, low: Array, high: Array, scale: Array, spec: Any, dtype: Any) -> Array:
        used = p.codes_in_use(spec)
        return np.asarray(p.clamp_zero_point(change(low, high, scale, used), *used))

    return zero_point


def _minval(symmetric: Any = None, asymmetric: Any = None) -> Step:
    """Another minval of integer formats: ``formula(low, high, scale)``, None where it is right."""

    def compute_qparams(p: Mutated, lo: Array, hi: Array, spec: QuantizationSpec) -> QParams:
        found: QParams = p.right.compute_qparams(lo, hi, spec)
        formula = asymmetric if spec.qscheme == "asymmetric" else symmetric
        if formula is None or found.minval is None:
            return found
        with np.errstate(all="ignore"):
            minval = formula(p.widen(lo), p.widen(hi), found.scale) + F32(0)
        return replace(found, minval=minval.astype(F32))

    return compute_qparams


_ROUNDED = Place("round_zero_point", "QP-4", SCALES)

ZERO_POINTS = (
    _ROUNDED(
        "zero-point-rounded-away",
        "rounds the ties of lo/scale away from zero",
        wrong.ties_away,
        pitfall="zero-point",
    ),
    _ROUNDED(
        "zero-point-rounded-up",
        "rounds the ties of lo/scale up",
        wrong.ties_up,
        pitfall="zero-point",
    ),
    _ROUNDED("zero-point-truncated", "truncates lo/scale", np.trunc, pitfall="zero-point"),
    _ROUNDED("zero-point-floored", "rounds lo/scale down", np.floor, pitfall="zero-point"),
    known(
        "zero-point-not-rounded-to-dtype",
        "does not round lo/scale to the dtype of the range",
        "QP-4 QP-9",
        SCALES,
        zero_point=_zero(lambda low, high, scale, used: F32(used[0]) - np.rint(low / scale)),
    ),
    known(
        "zero-point-in-float64",
        "computes lo/scale in float64",
        "QP-4 QP-9",
        SCALES,
        zero_point=_zero(
            lambda low, high, scale, used: (
                used[0] - np.rint(wrong.float64(low) / wrong.float64(scale))
            )
        ),
    ),
    known(
        "zero-point-by-reciprocal",
        "computes lo * (1/scale)",
        "QP-4",
        SCALES,
        pitfall="reciprocal",
        zero_point=lambda p, low, high, scale, spec, dtype: p.clamp_zero_point(
            F32(spec.quant_min) - np.rint(p.narrow(low * (F32(1) / scale), dtype)),
            spec.quant_min,
            spec.quant_max,
        ),
    ),
    known(
        "zero-point-subtracted-before-rounding",
        "computes rint(quant_min - lo/scale)",
        "QP-4",
        SCALES,
        pitfall="zero-point",
        zero_point=lambda p, low, high, scale, spec, dtype: p.clamp_zero_point(
            np.rint(F32(spec.quant_min) - p.narrow(low / scale, dtype)),
            spec.quant_min,
            spec.quant_max,
        ),
    ),
    known(
        "zero-point-from-hi",
        "computes quant_max - rint(hi/scale)",
        "QP-4",
        SCALES,
        zero_point=_zero(lambda low, high, scale, used: F32(used[1]) - np.rint(high / scale)),
    ),
    known(
        "zero-point-not-clamped",
        "does not clamp the zero point",
        "QP-4",
        SCALES,
        pitfall="zero-point",
        clamp_zero_point=lambda p, zero, least, greatest: zero,
    ),
    _ROUNDED(
        "zero-point-one-more",
        "gives a zero point one too great: -127 for -128",
        lambda v: np.rint(v) - 1,
        pitfall="zero-point",
    ),
    _ROUNDED(
        "zero-point-one-less",
        "gives a zero point one too small",
        lambda v: np.rint(v) + 1,
        pitfall="zero-point",
    ),
    known(
        "zero-point-without-quant-min",
        "gives -rint(lo/scale), as for unsigned formats",
        "QP-4",
        SCALES,
        zero_point=_zero(lambda low, high, scale, used: -np.rint(low / scale)),
    ),
    known(
        "zero-point-of-unclamped-scale",
        "computes the zero point with the scale before eps",
        "QP-4 QP-1",
        SCALES,
        zero_point=lambda p, low, high, scale, spec, dtype: p.right.zero_point(
            low, high, p.asymmetric_scale(low, high, spec, dtype), spec, dtype
        ),
    ),
    known(
        "unsigned-zero-code-127",
        "takes 127, 7 and 1 for the zero code of unsigned formats",
        "QP-4",
        SCALES,
        pitfall="zero-point",
        zero_code=lambda p, form: 0 if form.kind == "int" else (1 << (form.bits - 1)) - 1,
    ),
    known(
        "unsigned-zero-code-0",
        "takes 0 for the zero code of unsigned formats",
        "QP-4",
        SCALES,
        zero_code=lambda p, form: 0,
    ),
    known(
        "clipped-zero-point-off-by-half",
        "takes the middle of -127 … 127 and 0 … 255 rounded down: 0 and 127",
        "QP-4 SPEC-6",
        SCALES,
        pitfall="zero-point",
        zero_code=lambda p, form: int((form.quant_min + form.quant_max) // 2),
    ),
    known(
        "minval-of-lo",
        "takes lo for minval in symmetric schemes",
        "QP-5",
        SCALES,
        compute_qparams=_minval(symmetric=lambda low, high, scale: low),
    ),
    known(
        "minval-from-scale",
        "computes minval as -scale * 127.5 from the scale",
        "QP-5",
        SCALES,
        compute_qparams=_minval(
            symmetric=lambda low, high, scale: np.where(
                np.maximum(-low, high) == 0, F32(0), -scale * F32(127.5)
            )
        ),
    ),
    known(
        "minval-from-zero-point",
        "computes minval from the zero point in asymmetric schemes",
        "QP-5",
        SCALES,
        compute_qparams=_minval(asymmetric=lambda low, high, scale: np.rint(low / scale) * scale),
    ),
    known(
        "minval-positive",
        "loses the sign of minval",
        "QP-5",
        SCALES,
        compute_qparams=_minval(
            symmetric=lambda low, high, scale: np.maximum(-low, high),
            asymmetric=lambda low, high, scale: -low,
        ),
    ),
    known(
        "scale-of-nan-is-eps",
        "loses a NaN where eps is applied",
        "QP-8 QP-1",
        SCALES,
        pitfall="nan",
        least_scale=least(lambda scale: np.fmax(scale, F32(2.0**-23))),
    ),
    known(
        "max-abs-drops-nan",
        "loses a NaN in one bound where the greatest magnitude is taken",
        "QP-8",
        QPARAMS,
        pitfall="nan",
        max_abs=lambda p, low, high: np.fmax(-low, high),
    ),
    known(
        "infinite-scale-as-greatest",
        "clamps an infinite scale to the greatest float32",
        "QP-8",
        SCALES,
        least_scale=least(lambda scale: np.clip(scale, F32(2.0**-23), np.finfo(F32).max)),
    ),
    known(
        "infinite-scale-as-nan",
        "gives a NaN scale for an infinite range",
        "QP-8",
        SCALES,
        least_scale=least(
            lambda scale: np.where(np.isinf(scale), F32(np.nan), np.maximum(scale, F32(2.0**-23)))
        ),
    ),
    known(
        "zero-point-of-nan-int-min",
        "casts a NaN zero point to int32, which gives the least one",
        "QP-8",
        SCALES,
        pitfall="nan",
        zero_code_nonfinite=lambda p, form: INT32_MIN,
    ),
    known(
        "zero-point-of-infinite-scale",
        "gives quant_min for the zero point beside an infinite scale",
        "QP-8",
        SCALES,
        zero_code_nonfinite=lambda p, form: form.quant_min,
    ),
    known(
        "zero-point-of-nan-zero",
        "gives 0 for the zero point beside a NaN scale, also in unsigned formats",
        "QP-8",
        SCALES,
        zero_code_nonfinite=lambda p, form: 0,
    ),
)
