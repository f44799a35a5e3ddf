"""Mutants that round to integers wrongly (SPEC.md, Q-2, ENC-7)."""

from __future__ import annotations

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import CODES, CODES_AND_GRADIENT, INTEGERS

ROUNDING = (
    known(
        "ties-away",
        "rounds ties away from zero",
        "Q-2 ENC-7",
        INTEGERS,
        pitfall="ties",
        round_code=lambda p, v: wrong.ties_away(v),
    ),
    known(
        "ties-up",
        "rounds ties up",
        "Q-2 ENC-7",
        INTEGERS,
        pitfall="ties",
        round_code=lambda p, v: wrong.ties_up(v),
    ),
    known(
        "ties-down",
        "rounds ties down",
        "Q-2 ENC-7",
        INTEGERS,
        round_code=lambda p, v: wrong.ties_down(v),
    ),
    known(
        "ties-to-zero",
        "rounds ties toward zero",
        "Q-2 ENC-7",
        INTEGERS,
        round_code=lambda p, v: wrong.ties_to_zero(v),
    ),
    known(
        "ties-to-odd",
        "rounds ties to the odd integer",
        "Q-2 ENC-7",
        INTEGERS,
        round_code=lambda p, v: wrong.ties_to_odd(v),
    ),
    known(
        "truncation",
        "truncates instead of rounding",
        "Q-2 ENC-7",
        INTEGERS,
        round_code=lambda p, v: np.trunc(v),
    ),
    known(
        "floor",
        "rounds down always",
        "Q-2 ENC-7",
        INTEGERS,
        round_code=lambda p, v: np.floor(v),
    ),
    known(
        "ceil",
        "rounds up always",
        "Q-2 ENC-7",
        INTEGERS,
        round_code=lambda p, v: np.ceil(v),
    ),
    known(
        "add-half-and-floor",
        "computes floor(v + 0.5), whose sum rounds 0.49999997 up to 1",
        "Q-2 ENC-7",
        INTEGERS,
        round_code=lambda p, v: wrong.half_and_floor(v),
    ),
    known(
        "just-below-half",
        "rounds the float32 below a half up, as floor(v + 0.5) does, but ties to even",
        "Q-2",
        CODES,
        round_code=lambda p, v: np.where(
            v - np.floor(v) == 0.5, np.rint(v), wrong.half_and_floor(v)
        ),
    ),
    known(
        "add-half-and-truncate",
        "computes trunc(v + copysign(0.5, v))",
        "Q-2 ENC-7",
        INTEGERS,
        round_code=lambda p, v: wrong.half_and_truncate(v),
    ),
    *(
        known(
            f"ties-away-in-tail-of-{width}",
            f"rounds ties away in the last n % {width} elements only",
            "Q-2",
            CODES,
            pitfall="tail",
            where=wrong.tail(width),
            round_code=lambda p, v: wrong.ties_away(v),
        )
        for width in (4, 8, 16, 32)
    ),
    known(
        "ties-away-in-row-tail",
        "rounds ties away in the last n % 8 elements of each row only",
        "Q-2",
        CODES,
        pitfall="tail",
        where=wrong.row_tail(8),
        round_code=lambda p, v: wrong.ties_away(v),
    ),
    known(
        "ties-up-in-body",
        "rounds ties up except in the last n % 16 elements",
        "Q-2",
        CODES,
        pitfall="tail",
        where=wrong.body(16),
        round_code=lambda p, v: wrong.ties_up(v),
    ),
    known(
        "truncation-in-tail",
        "truncates the last n % 8 elements",
        "Q-2",
        CODES,
        pitfall="tail",
        where=wrong.tail(8),
        round_code=lambda p, v: np.trunc(v),
    ),
    known(
        "truncation-of-float16",
        "truncates if x is float16",
        "Q-2",
        CODES,
        pitfall="truncation",
        where=wrong.of_dtype(wrong.FLOAT16),
        round_code=lambda p, v: np.trunc(v),
    ),
    known(
        "truncation-of-bfloat16",
        "truncates if x is bfloat16",
        "Q-2",
        CODES,
        pitfall="truncation",
        where=wrong.of_dtype(wrong.BFLOAT16),
        round_code=lambda p, v: np.trunc(v),
    ),
    known(
        "ties-away-of-float16",
        "rounds ties away if x is float16",
        "Q-2",
        CODES_AND_GRADIENT,
        where=wrong.of_dtype(wrong.FLOAT16),
        round_code=lambda p, v: wrong.ties_away(v),
    ),
    known(
        "ties-away-of-bfloat16",
        "rounds ties away if x is bfloat16",
        "Q-2",
        CODES_AND_GRADIENT,
        where=wrong.of_dtype(wrong.BFLOAT16),
        round_code=lambda p, v: wrong.ties_away(v),
    ),
    known(
        "ties-away-of-negatives",
        "rounds ties of negative values away from zero",
        "Q-2",
        CODES,
        where=wrong.negative,
        round_code=lambda p, v: wrong.ties_away(v),
    ),
    known(
        "ties-away-of-positives",
        "rounds ties of positive values away from zero",
        "Q-2",
        CODES,
        where=wrong.positive,
        round_code=lambda p, v: wrong.ties_away(v),
    ),
    known(
        "only-half-ties-away",
        "rounds ±0.5 away from zero and other ties to even",
        "Q-2",
        CODES,
        round_code=lambda p, v: np.where(np.abs(v) == 0.5, np.sign(v), np.rint(v)),
    ),
)
