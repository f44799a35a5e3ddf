"""Mutants that round to integers wrongly (SPEC.md, Q-2, ENC-7)."""

from __future__ import annotations

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.tables.families import CODES, CODES_AND_GRADIENT, INTEGERS
from quant_conformance.mutants.tables.steps import Place

_CODE = Place("round_code", "Q-2 ENC-7", INTEGERS)

ROUNDING = (
    _CODE("ties-away", "rounds ties away from zero", wrong.ties_away, pitfall="ties"),
    _CODE("ties-up", "rounds ties up", wrong.ties_up, pitfall="ties"),
    _CODE("ties-down", "rounds ties down", wrong.ties_down),
    _CODE("ties-to-zero", "rounds ties toward zero", wrong.ties_to_zero),
    _CODE("ties-to-odd", "rounds ties to the odd integer", wrong.ties_to_odd),
    _CODE("truncation", "truncates instead of rounding", np.trunc),
    _CODE("floor", "rounds down always", np.floor),
    _CODE("ceil", "rounds up always", np.ceil),
    _CODE(
        "add-half-and-floor",
        "computes floor(v + 0.5), whose sum rounds 0.49999997 up to 1",
        wrong.half_and_floor,
    ),
    _CODE(
        "just-below-half",
        "rounds the float32 below a half up, as floor(v + 0.5) does, but ties to even",
        lambda v: np.where(v - np.floor(v) == 0.5, np.rint(v), wrong.half_and_floor(v)),
        clauses="Q-2",
        families=CODES,
    ),
    _CODE("add-half-and-truncate", "computes trunc(v + copysign(0.5, v))", wrong.half_and_truncate),
    *(
        _CODE(
            f"ties-away-in-tail-of-{width}",
            f"rounds ties away in the last n % {width} elements only",
            wrong.ties_away,
            clauses="Q-2",
            families=CODES,
            pitfall="tail",
            where=wrong.tail(width),
        )
        for width in (4, 8, 16, 32)
    ),
    _CODE(
        "ties-away-in-row-tail",
        "rounds ties away in the last n % 8 elements of each row only",
        wrong.ties_away,
        clauses="Q-2",
        families=CODES,
        pitfall="tail",
        where=wrong.row_tail(8),
    ),
    _CODE(
        "ties-up-in-body",
        "rounds ties up except in the last n % 16 elements",
        wrong.ties_up,
        clauses="Q-2",
        families=CODES,
        pitfall="tail",
        where=wrong.body(16),
    ),
    _CODE(
        "truncation-in-tail",
        "truncates the last n % 8 elements",
        np.trunc,
        clauses="Q-2",
        families=CODES,
        pitfall="tail",
        where=wrong.tail(8),
    ),
    _CODE(
        "truncation-of-float16",
        "truncates if x is float16",
        np.trunc,
        clauses="Q-2",
        families=CODES,
        pitfall="truncation",
        where=wrong.of_dtype(wrong.FLOAT16),
    ),
    _CODE(
        "truncation-of-bfloat16",
        "truncates if x is bfloat16",
        np.trunc,
        clauses="Q-2",
        families=CODES,
        pitfall="truncation",
        where=wrong.of_dtype(wrong.BFLOAT16),
    ),
    _CODE(
        "ties-away-of-float16",
        "rounds ties away if x is float16",
        wrong.ties_away,
        clauses="Q-2",
        families=CODES_AND_GRADIENT,
        where=wrong.of_dtype(wrong.FLOAT16),
    ),
    _CODE(
        "ties-away-of-bfloat16",
        "rounds ties away if x is bfloat16",
        wrong.ties_away,
        clauses="Q-2",
        families=CODES_AND_GRADIENT,
        where=wrong.of_dtype(wrong.BFLOAT16),
    ),
    _CODE(
        "ties-away-of-negatives",
        "rounds ties of negative values away from zero",
        wrong.ties_away,
        clauses="Q-2",
        families=CODES,
        where=wrong.negative,
    ),
    _CODE(
        "ties-away-of-positives",
        "rounds ties of positive values away from zero",
        wrong.ties_away,
        clauses="Q-2",
        families=CODES,
        where=wrong.positive,
    ),
    _CODE(
        "only-half-ties-away",
        "rounds ±0.5 away from zero and other ties to even",
        lambda v: np.where(np.abs(v) == 0.5, np.sign(v), np.rint(v)),
        clauses="Q-2",
        families=CODES,
    ),
)
