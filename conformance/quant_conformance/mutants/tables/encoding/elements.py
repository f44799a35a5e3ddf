"""Mutants that round to float formats wrongly (SPEC.md, FMT, ENC, Q-5)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, Step, patched
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import CODES, FLOATS
from quant_conformance.mutants.tables.steps import Place
from quant_conformance.protocol import Array
from quant_reference import Format

E2M1_TIES = {0.25: 1, 0.75: 1, 1.25: 3, 1.75: 3, 2.5: 5, 3.5: 5, 5.0: 7}
"""The magnitude of each tie of float4_e2m1fn -> the odd code beside it."""


def _tie_to_odd(tie: float) -> Step:
    def encode_element(p: Mutated, values: Array, form: Format) -> Array:
        codes = p.right.encode_element(values, form)
        hit = (np.abs(values) == tie) & (form.bits == 4)
        return np.where(hit, codes & 8 | E2M1_TIES[tie], codes).astype(np.uint8)

    return encode_element


def _through(dtype: Any) -> Step:
    convert = wrong.through(dtype)
    return lambda p, values, form: p.right.encode_element(convert(values), form)


def _of_16_bit(dtype: Any) -> Step:
    """Flush subnormals of one 16-bit dtype of x."""

    def widen(p: Mutated, x: Array) -> Array:
        return p.right.widen(wrong.flushed(x) if x.dtype == dtype else x)

    return widen


def _replace_code(p: Mutated, values: Array, form: Format, code: int, by: int) -> Array:
    codes = p.right.encode_element(values, form)
    return np.where(codes == code, by, codes).astype(np.uint8)


_UP = patched(round_element=lambda p, steps, form: wrong.ties_up(steps))
_DOWN = patched(round_element=lambda p, steps, form: wrong.ties_down(steps))
_FP8 = Mutated()

_ELEMENT = Place("round_element", "ENC-1 Q-5", FLOATS, operands=2)

ENCODING = (
    _ELEMENT(
        "code-ties-away",
        "rounds ties between float codes away from zero",
        lambda steps, form: wrong.ties_away(steps),
        pitfall="ties",
    ),
    _ELEMENT(
        "code-ties-to-zero",
        "rounds ties between float codes toward zero",
        lambda steps, form: wrong.ties_to_zero(wrong.ties_down(steps)),
    ),
    known(
        "code-ties-up",
        "rounds ties between float codes up",
        "ENC-1 Q-5",
        FLOATS,
        encode_element=lambda p, v, form: np.where(
            v > 0,
            _UP.encode_element(v, form),
            _DOWN.encode_element(v, form),
        ),
    ),
    _ELEMENT(
        "code-ties-to-odd",
        "rounds ties between float codes to the odd code",
        lambda steps, form: wrong.ties_to_odd(steps),
    ),
    _ELEMENT("code-truncation", "truncates to float codes", lambda steps, form: np.trunc(steps)),
    _ELEMENT(
        "code-ceil", "rounds away from zero to float codes", lambda steps, form: np.ceil(steps)
    ),
    _ELEMENT(
        "code-subnormal-ties-away",
        "rounds ties between subnormal codes away from zero",
        lambda steps, form: np.where(
            steps < 1 << form.mantissa_bits, wrong.ties_away(steps), np.rint(steps)
        ),
        clauses="ENC-1 ENC-2",
        pitfall="ties",
    ),
    _ELEMENT(
        "code-carry-lost",
        "does not carry into the exponent where the fraction rounds up to 2",
        lambda steps, form: np.minimum(np.rint(steps), (2 << form.mantissa_bits) - 1),
        clauses="ENC-1",
    ),
    _ELEMENT(
        "code-tail-ties-away",
        "rounds ties between float codes away in the last n % 8 elements",
        lambda steps, form: wrong.ties_away(steps),
        clauses="ENC-1",
        pitfall="tail",
        where=wrong.tail(8),
    ),
    _ELEMENT(
        "code-tail-truncation",
        "truncates to float codes in the last n % 16 elements",
        lambda steps, form: np.trunc(steps),
        clauses="ENC-1",
        pitfall="tail",
        where=wrong.tail(16),
    ),
    _ELEMENT(
        "code-truncation-of-float16",
        "truncates to float codes if x is float16",
        lambda steps, form: np.trunc(steps),
        clauses="ENC-1",
        families=CODES,
        pitfall="truncation",
        where=wrong.of_dtype(wrong.FLOAT16),
    ),
    _ELEMENT(
        "code-ties-away-of-bfloat16",
        "rounds ties between float codes away if x is bfloat16",
        lambda steps, form: wrong.ties_away(steps),
        clauses="ENC-1",
        families=CODES,
        where=wrong.of_dtype(wrong.BFLOAT16),
    ),
    _ELEMENT(
        "code-ties-away-of-negatives",
        "rounds ties between float codes away where x is negative",
        lambda steps, form: wrong.ties_away(steps),
        clauses="ENC-1",
        where=wrong.negative,
    ),
    *(
        known(
            f"e2m1-tie-{tie:g}-to-odd",
            f"rounds ±{tie:g} to the odd float4 code",
            "ENC-1 Q-5",
            FLOATS,
            pitfall="e2m1-ties",
            encode_element=_tie_to_odd(tie),
        )
        for tie in E2M1_TIES
    ),
    known(
        "code-through-float16",
        "rounds to a float code by way of float16",
        "ENC-1",
        FLOATS,
        pitfall="double-rounding",
        encode_element=_through(np.float16),
    ),
    known(
        "code-through-bfloat16",
        "rounds to a float code by way of bfloat16",
        "ENC-1",
        FLOATS,
        pitfall="double-rounding",
        encode_element=_through(wrong.BFLOAT16),
    ),
    known(
        "float4-through-float8",
        "rounds to float4 by way of float8_e4m3fn",
        "ENC-1",
        FLOATS,
        pitfall="double-rounding",
        encode_element=lambda p, v, form: (
            p.right.encode_element(
                _FP8.decode(_FP8.encode(v, "float8_e4m3fn"), "float8_e4m3fn"), form
            )
            if form.bits == 4
            else p.right.encode_element(v, form)
        ),
    ),
    _ELEMENT(
        "code-tiny-never-zero",
        "rounds whatever is not zero to at least the least subnormal code",
        lambda steps, form: np.where((steps > 0) & (steps < 0.5), 1, np.rint(steps)),
        clauses="ENC-2",
    ),
    _ELEMENT(
        "code-least-tie-up",
        "rounds half the least subnormal up instead of to zero",
        lambda steps, form: np.where(steps == 0.5, 1, np.rint(steps)),
        clauses="ENC-2",
    ),
    known(
        "code-subnormals-flushed",
        "flushes subnormal codes to zero",
        "ENC-2 Q-5",
        FLOATS,
        pitfall="subnormals",
        magnitude_code=lambda p, exponent, steps, form: np.where(
            steps < 1 << form.mantissa_bits, 0, p.right.magnitude_code(exponent, steps, form)
        ),
    ),
    known(
        "code-subnormals-shifted",
        "encodes subnormals as if their exponent were -bias",
        "ENC-2 FMT-2",
        FLOATS,
        pitfall="subnormals",
        least_exponent=lambda p, form: -form.bias,
    ),
    known(
        "float16-subnormals-flushed",
        "reads float16 subnormals of x as zero",
        "ENC-2 Q-1",
        CODES,
        pitfall="subnormals",
        widen=_of_16_bit(wrong.FLOAT16),
    ),
    known(
        "bfloat16-subnormals-flushed",
        "reads bfloat16 subnormals of x as zero",
        "Q-1",
        CODES,
        pitfall="subnormals",
        widen=_of_16_bit(wrong.BFLOAT16),
    ),
    known(
        "float32-subnormals-flushed",
        "reads float32 subnormals of x as zero",
        "Q-1",
        CODES,
        pitfall="subnormals",
        widen=_of_16_bit(np.dtype(np.float32)),
    ),
    known(
        "negative-zero-lost",
        "encodes -0, and what rounds to it, as +0",
        "ENC-3 Q-5",
        FLOATS,
        pitfall="negative-zero",
        encode_element=lambda p, v, form: _replace_code(p, v, form, 1 << (form.bits - 1), 0),
    ),
    known(
        "negative-zero-of-x-lost",
        "encodes -0 as +0, but small negative values as -0",
        "ENC-3 Q-5",
        FLOATS,
        pitfall="negative-zero",
        sign_bit=lambda p, v, form: np.where(v == 0, 0, p.right.sign_bit(v, form)),
    ),
    known(
        "negative-zero-as-nan",
        "encodes a negative zero result as a NaN code",
        "ENC-3 Q-5",
        FLOATS,
        pitfall="negative-zero",
        encode_element=lambda p, v, form: _replace_code(p, v, form, 128, 255),
    ),
    known(
        "negative-tiny-lost",
        "encodes small negative values as +0, but -0 as -0",
        "ENC-3 Q-5",
        FLOATS,
        pitfall="negative-zero",
        encode_element=lambda p, v, form: np.where(
            v < 0,
            _replace_code(p, v, form, 1 << (form.bits - 1), 0),
            p.right.encode_element(v, form),
        ).astype(np.uint8),
    ),
)
