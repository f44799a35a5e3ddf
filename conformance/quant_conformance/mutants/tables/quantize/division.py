"""Mutants that divide wrongly (SPEC.md, Q-1)."""

from __future__ import annotations

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import CODES, CODES_AND_GRADIENT
from quant_conformance.mutants.tables.steps import Place
from quant_conformance.mutants.wrong import F32

_QUOTIENT = Place("divide", "Q-1", CODES, operands=2)

DIVISION = (
    _QUOTIENT(
        "multiply-by-reciprocal",
        "multiplies by 1/scale instead of dividing",
        lambda x, s: x * (F32(1) / s),
        families=CODES_AND_GRADIENT,
        pitfall="reciprocal",
    ),
    _QUOTIENT(
        "multiply-by-float64-reciprocal",
        "multiplies by 1/scale in float64 and rounds that to an integer",
        lambda x, s: wrong.float64(x) * (1 / wrong.float64(s)),
        families=CODES_AND_GRADIENT,
        pitfall="reciprocal",
    ),
    _QUOTIENT(
        "multiply-by-float16-reciprocal",
        "multiplies by 1/scale rounded to float16",
        lambda x, s: x * wrong.through(np.float16)(F32(1) / s),
        pitfall="reciprocal",
    ),
    _QUOTIENT(
        "reciprocal-in-body",
        "multiplies by 1/scale except in the last n % 4 elements",
        lambda x, s: x * (F32(1) / s),
        pitfall="reciprocal",
        where=wrong.body(4),
    ),
    _QUOTIENT(
        "reciprocal-of-negatives",
        "multiplies by 1/scale where x is negative",
        lambda x, s: x * (F32(1) / s),
        pitfall="reciprocal",
        where=wrong.negative,
    ),
    _QUOTIENT(
        "approximate-division",
        "divides by a 12-bit reciprocal estimate and one Newton step",
        lambda x, s: x * _newton(s),
        pitfall="reciprocal",
    ),
    _QUOTIENT(
        "float64-quotient",
        "keeps the quotient in float64",
        lambda x, s: wrong.float64(x) / wrong.float64(s),
        families=CODES_AND_GRADIENT,
    ),
    known(
        "quotient-in-dtype-of-x",
        "rounds the quotient to the dtype of x",
        "Q-1",
        CODES,
        pitfall="double-rounding",
        quotient=lambda p, x, s: wrong.through(x.dtype)(p.divide(p.widen(x), s)),
    ),
    known(
        "scale-in-dtype-of-x",
        "rounds the scale to the dtype of x before dividing",
        "Q-1",
        CODES,
        pitfall="double-rounding",
        quotient=lambda p, x, s: p.divide(p.widen(x), wrong.through(x.dtype)(s)),
    ),
    _QUOTIENT(
        "quotient-through-float16",
        "rounds the quotient to float16 before rounding it to an integer",
        lambda x, s: wrong.through(np.float16)(x / s),
        clauses="Q-1 Q-2",
        families=CODES_AND_GRADIENT,
        pitfall="double-rounding",
    ),
    _QUOTIENT(
        "quotient-through-bfloat16",
        "rounds the quotient to bfloat16 before rounding it to an integer",
        lambda x, s: wrong.through(wrong.BFLOAT16)(x / s),
        clauses="Q-1 Q-2",
        families=CODES_AND_GRADIENT,
        pitfall="double-rounding",
    ),
    known(
        "x-through-float16",
        "rounds x to float16 first",
        "Q-1",
        CODES,
        pitfall="double-rounding",
        widen=lambda p, x: wrong.through(np.float16)(x),
    ),
    known(
        "x-through-bfloat16",
        "rounds x to bfloat16 first",
        "Q-1",
        CODES,
        pitfall="double-rounding",
        widen=lambda p, x: wrong.through(wrong.BFLOAT16)(x),
    ),
    known(
        "writes-into-x",
        "divides in place and so changes its input",
        "Q-1",
        CODES,
        quotient=lambda p, x, s: p.divide(p.widen(_halved(x)), s),
    ),
)


def _newton(scale: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> object:
    bits = (F32(1) / scale).view(np.int32) & np.int32(-(1 << 11))
    estimate = bits.view(np.float32)
    return estimate * (F32(2) - scale * estimate)


def _halved(x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> object:
    x *= x.dtype.type(0.5)
    return x
