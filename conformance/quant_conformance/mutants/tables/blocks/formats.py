"""Mutants of the formats that no spec names (SPEC.md, FMT-5 to FMT-8, ENC-8 to ENC-11, PACK-4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import Mutant, known
from quant_conformance.protocol import Array
from quant_reference import Format, get_format

ENCODE, DECODE, PACK = ("format_encode",), ("format_decode",), ("format_pack",)
BOTH = (*ENCODE, *DECODE)
FLOATS = (
    "float8_e3m4", "float8_e4m3ieee", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz",
    "float6_e2m3fn", "float6_e3m2fn",
)  # fmt: skip
FNUZ = tuple(name for name in FLOATS if name.endswith("fnuz"))


def _format(name: str, **changes: Any) -> Step:
    """A format that is declared wrongly."""

    def get_format_(_: Mutated, wanted: Any) -> Format:
        form = get_format(wanted)
        return replace(form, **changes) if form.name == name else form

    return get_format_


def _as(name: str, other: str) -> Step:
    """A format that is taken for another one."""

    def get_format_(_: Mutated, wanted: Any) -> Format:
        form = get_format(wanted)
        return get_format(other) if form.name == name else form

    return get_format_


def _rounded(rounding: Any, chosen: Any) -> Step:
    def round_element(p: Mutated, steps: Array, form: Format) -> Array:
        return np.asarray(rounding(steps)) if chosen(form) else p.right.round_element(steps, form)

    return round_element


def _biases() -> list[Mutant]:
    return [
        known(
            f"{name}-bias-off-by-{step:+d}", f"takes {get_format(name).bias + step} for its bias",
            "FMT-5", BOTH, get_format=_format(name, bias=get_format(name).bias + step),
        )
        for name in FLOATS
        for step in (1, -1)
    ]  # fmt: skip


def _limits() -> list[Mutant]:
    wrong_limits = {
        "float8_e3m4": 14.0, "float8_e4m3ieee": 224.0, "float8_e4m3fnuz": 224.0,
        "float8_e4m3b11fnuz": 28.0, "float8_e5m2fnuz": 49152.0, "float6_e2m3fn": 6.0,
        "float6_e3m2fn": 24.0, "float8_ue4m3": 240.0,
    }  # fmt: skip
    return [
        known(
            f"{name}-greatest-{limit:g}", f"saturates {name} at {limit:g}", "ENC-5", ENCODE,
            get_format=_format(name, quant_max=limit, quant_min=-limit if name in FLOATS else 0.0),
        )
        for name, limit in wrong_limits.items()
    ]  # fmt: skip


def _roundings() -> list[Mutant]:
    places = {
        "six-bit": lambda form: form.bits == 6,
        "fnuz": lambda form: not form.negative_zero,
        "ieee": lambda form: form.name in ("float8_e3m4", "float8_e4m3ieee"),
        "unsigned": lambda form: not form.signed,
    }
    mistakes = {
        "ties-away": wrong.ties_away, "ties-to-odd": wrong.ties_to_odd, "truncation": np.trunc,
        "up": np.ceil,
    }  # fmt: skip
    clause = {"six-bit": "ENC-1", "fnuz": "ENC-8", "ieee": "ENC-1", "unsigned": "ENC-10"}
    return [
        known(
            f"{place}-{mistake}", f"rounds {place} floats by {mistake}", clause[place], ENCODE,
            round_element=_rounded(rounding, chosen),
        )
        for place, chosen in places.items()
        for mistake, rounding in mistakes.items()
    ]  # fmt: skip


def _wide(dtype: Any) -> Step:
    return lambda p, values, form: p.right.encode_element(wrong.through(dtype)(values), form)


def _wrapped_fixed(p: Mutated, values: Array, form: Format) -> Array:
    p.check_not_nan(values, "ENC-9")
    steps = np.clip(p.fixed_steps(values, form), -(2.0**31), 2.0**31 - 200)
    return np.asarray(steps.astype(np.int64).astype(np.int8))


def _stream_of_seven(p: Mutated, codes: Array, fmt: Any, order: str) -> Array:
    form = get_format(fmt)
    if form.bits != 7:
        return np.asarray(p.right.pack(codes, fmt, order))
    rows = np.unpackbits(codes.reshape(-1, 1), axis=1, bitorder="little")[:, :7]
    return np.packbits(rows.reshape(-1), bitorder="little")


def _byte_each(p: Mutated, fields: Array, form: Format, order: str) -> Array:
    return fields


def _swapped(p: Mutated, fields: Array, form: Format, order: Any) -> Array:
    other: Any = "high_first" if order == "low_first" else "low_first"
    return np.asarray(p.right.bytes_of_stream(fields, form, other))


def _read_swapped(p: Mutated, packed: Array, form: Format, order: str) -> Array:
    other = "high_first" if order == "low_first" else "low_first"
    return np.asarray(p.right.codes_of_stream(packed, form, other))


def _without_rest(p: Mutated, fields: Array, form: Format, order: Any) -> Array:
    whole = fields.size // 4 * 3
    return np.asarray(p.right.bytes_of_stream(fields, form, order))[:whole]


SMALL_FORMATS = (
    *_biases(),
    *_limits(),
    *_roundings(),
    known("e4m3ieee-as-e4m3fn", "takes ml_dtypes' float8_e4m3 for float8_e4m3fn", "FMT-4 FMT-5",
          BOTH, get_format=_as("float8_e4m3ieee", "float8_e4m3fn")),
    known("e4m3-name-accepted", "takes the name float8_e4m3 for one of its two formats", "FMT-4",
          BOTH, codec_format=lambda p, name: p.get_format(name)),
    known("six-bit-formats-swapped", "takes float6_e2m3fn for float6_e3m2fn", "FMT-5", BOTH,
          get_format=_as("float6_e2m3fn", "float6_e3m2fn")),
    known("fnuz-negative-zero-is-nan", "gives the code of the sign bit for -0, which is NaN",
          "ENC-8", ENCODE, pitfall="negative-zero",
          without_negative_zero=lambda p, codes, form: codes),
    known("fnuz-nan-is-all-ones", "stores S.1111.111 for NaN in a format that has a number there",
          "ENC-8 FMT-5", ENCODE, pitfall="nan",
          nan_code=lambda p, sign, form: (
              p.right.nan_code(sign, form) if form.negative_zero else sign | 0x7F)),
    known("fnuz-nan-is-zero", "stores 0 for NaN in a format without -0", "ENC-8", ENCODE,
          pitfall="nan", nan_code=lambda p, sign, form: (
              p.right.nan_code(sign, form) if form.negative_zero else sign * 0)),
    known("fnuz-sign-bit-alone-is-zero", "reads the code of the sign bit alone as -0", "FMT-5",
          DECODE, nan_of_sign=lambda p, values, bits, form: values),
    known("fnuz-all-ones-are-nan", "reads S.1111.111 as NaN in a format that has a number there",
          "FMT-5", DECODE, nan_of_sign=lambda p, values, bits, form: np.where(
              bits & 0x7F == 0x7F, np.float32(np.nan), p.right.nan_of_sign(values, bits, form))),
    known("ieee-infinity-is-a-number", "reads infinities as the next power of two", "FMT-5",
          DECODE, special_value=lambda p, magnitude, field, fraction, form: (
              magnitude if form.has_inf else
              p.right.special_value(magnitude, field, fraction, form))),
    known("six-bit-nan-is-one", "stores the code 1 for NaN", "ENC-4", ENCODE, pitfall="nan",
          nan_code=lambda p, sign, form: (
              np.ones_like(sign) if form.bits == 6 else p.right.nan_code(sign, form))),
    known("small-floats-through-float16", "rounds by way of float16", "ENC-1", ENCODE,
          pitfall="double-rounding", encode_element=_wide(np.float16)),
    known("small-floats-through-bfloat16", "rounds by way of bfloat16", "ENC-1", ENCODE,
          pitfall="double-rounding", encode_element=_wide(wrong.BFLOAT16)),
    known("small-subnormals-flushed", "flushes subnormal codes to zero", "ENC-2", ENCODE,
          magnitude_code=lambda p, exponent, steps, form: np.where(
              steps < 1 << form.mantissa_bits, 0,
              p.right.magnitude_code(exponent, steps, form))),
    known("small-subnormals-read-as-zero", "reads subnormal codes as zero", "FMT-5", DECODE,
          subnormal_value=lambda p, fraction, form: np.zeros(fraction.shape, np.float32)),
    known("mxint8-whole-steps", "takes mxint8 for int8", "FMT-6", BOTH,
          fixed_unit=lambda p, form: 1.0),
    known("mxint8-seven-bits-behind-the-point", "has steps of 2^-7", "FMT-6", BOTH,
          fixed_unit=lambda p, form: 2.0**-7),
    known("mxint8-ties-away", "rounds ties away from zero", "ENC-9", ENCODE, pitfall="ties",
          fixed_steps=lambda p, v, form: wrong.ties_away(v * np.float32(64))),
    known("mxint8-truncation", "truncates", "ENC-9", ENCODE,
          fixed_steps=lambda p, v, form: np.trunc(v * np.float32(64))),
    known("mxint8-wraps", "keeps the low 8 bits of what it cannot hold", "ENC-9", ENCODE,
          pitfall="saturation", encode_fixed=_wrapped_fixed),
    known("mxint8-ends-at-126", "never gives its greatest code", "ENC-9", ENCODE,
          fixed_bounds=lambda p, form: (-128.0, 126.0)),
    known("small-formats-accept-nan", "gives NaN a code where there is none", "ENC-9 ENC-11",
          ENCODE, check_not_nan=lambda p, values, clause="": None),
    known("unsigned-accepts-negatives", "drops the sign of what has none", "ENC-10", ENCODE,
          check_not_negative=lambda p, values, form: None),
    known("unsigned-nan-is-greatest", "stores 126 for NaN", "ENC-10", ENCODE,
          nan_code=lambda p, sign, form: (
              np.full_like(sign, 126) if not form.signed else p.right.nan_code(sign, form))),
    known("unsigned-nan-is-480", "reads code 127 as 480", "FMT-7", DECODE,
          special_value=lambda p, magnitude, field, fraction, form: (
              magnitude if not form.signed else
              p.right.special_value(magnitude, field, fraction, form))),
    known("unsigned-e5m2", "reads unsigned scales with five bits of exponent", "FMT-7", DECODE,
          get_format=_format("float8_ue4m3", exponent_bits=5, mantissa_bits=2, bias=15)),
    known("nf4-reversed", "has the table the other way round", "FMT-8", DECODE,
          get_format=_format("nf4", values=tuple(reversed(get_format("nf4").values)))),
    known("nf4-even-steps", "has sixteen values at equal distances", "FMT-8", DECODE,
          get_format=_format("nf4", values=tuple(i / 7.5 - 1 for i in range(16)))),
    known("nf4-ties-up", "rounds ties to the upper code", "ENC-11", ENCODE,
          encode_table=lambda p, v, form: (p.check_not_nan(v, "ENC-11"), np.searchsorted(
              p.table_limits(form), v.astype(np.float64), "right").astype(np.uint8))[1]),
    known("nf4-lower-code", "takes the next lower value and not the nearest", "ENC-11", ENCODE,
          table_limits=lambda p, form: np.array(form.values[1:])),
    known("nf4-two-digits", "has midpoints of two digits", "ENC-11", ENCODE,
          table_limits=lambda p, form: np.round(p.right.table_limits(form), 2)),
    known("six-bit-codes-a-byte-each", "packs a code of six bits in a byte", "PACK-4", PACK,
          bytes_of_stream=_byte_each),
    known("six-bit-order-swapped", "packs six bits in the other order", "PACK-4", PACK,
          pitfall="nibbles", bytes_of_stream=_swapped),
    known("six-bit-read-in-other-order", "unpacks six bits in the other order", "PACK-4", PACK,
          pitfall="nibbles", codes_of_stream=_read_swapped),
    known("six-bit-rest-dropped", "drops codes behind the last three bytes", "PACK-4", PACK,
          bytes_of_stream=_without_rest),
    known("seven-bit-stream", "packs codes of seven bits without a gap", "PACK-4", PACK,
          pack=_stream_of_seven),
)  # fmt: skip
