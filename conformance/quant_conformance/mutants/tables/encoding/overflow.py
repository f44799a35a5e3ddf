"""Mutants of NaN, infinities and overflow (SPEC.md, ENC-4, ENC-5, Q-5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import CODES, FLOATS
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import Format


def _saturate(change: Callable[[Array, float], Any]) -> Step:
    """Saturate magnitudes by ``change(magnitude, max)``."""

    def saturate(_: Mutated, values: Array, form: Format) -> Array:
        magnitude = np.abs(values)
        bounded = np.where(magnitude > form.quant_max, change(magnitude, form.quant_max), magnitude)
        return np.asarray(np.copysign(bounded, values)).astype(np.float32)

    return saturate


def _keep(_: Mutated, values: Array, *rest: Any) -> Array:
    return values


def _nonsaturating(beyond: Callable[[Array, Format], Any]) -> dict[str, Step]:
    """Steps that make NaN, or infinity if the format has one, of magnitudes that are ``beyond``."""

    def encode_element(p: Mutated, values: Array, form: Format) -> Array:
        within = np.clip(values, F32(form.quant_min), F32(form.quant_max))
        codes = p.right.encode_element(within, form)
        if form.nan_code is None:
            return codes
        special = p.sign_bit(values, form) | (0x7C if form.has_inf else form.nan_code)
        return np.where(beyond(np.abs(values), form), special, codes).astype(np.uint8)

    return {"saturate": _keep, "clamp_float": _keep, "encode_element": encode_element}


def _wrapped(p: Mutated, exponent: Array, steps: Array, form: Format) -> Array:
    """Lets an exponent that is too great overflow its field."""
    code: Array = p.right.magnitude_code(exponent, steps, form) & (2 ** (form.bits - 1) - 1)
    return code


def _midpoint(form: Format) -> float:
    """Between the greatest value and what would follow it (ENC-5)."""
    return form.quant_max + 2.0 ** (form.max_pow2 - form.mantissa_bits - 1)


def _correct_overflow(magnitude: Array, form: Format) -> Any:
    tie = magnitude == _midpoint(form)
    return (magnitude > _midpoint(form)) | (tie & form.has_inf)


def _to_240(_: Mutated, values: Array, *rest: Any) -> Array:
    greatest = rest[0].quant_max if len(rest) == 1 else rest[1]
    bound = F32(240 if greatest == 448 else greatest)
    return np.asarray(np.clip(values, -bound, bound))


OVERFLOW = (
    known(
        "nan-encoded-as-zero",
        "encodes NaN as 0 in formats that have a NaN",
        "ENC-4 Q-5",
        ("encode", "quantize"),
        pitfall="nan",
        nan_code=lambda p, sign, form: sign * 0,
    ),
    known(
        "nan-encoded-as-max",
        "encodes NaN as the greatest value, with the sign of the NaN",
        "ENC-4 Q-5",
        ("encode", "quantize"),
        pitfall="nan",
        nan_code=lambda p, sign, form: (
            sign | {"float8_e4m3fn": 0x7E, "float8_e5m2": 0x7B}.get(form.name, 7)
        ),
    ),
    known(
        "nan-encoded-as-infinity",
        "encodes NaN with a fraction of zero: infinity, or 256 in float8_e4m3fn",
        "ENC-4 Q-5",
        ("encode", "quantize"),
        pitfall="nan",
        nan_code=lambda p, sign, form: sign | ((2**form.exponent_bits - 1) << form.mantissa_bits),
    ),
    known(
        "float4-nan-as-other-zero",
        "encodes NaN as a float4 zero of the other sign",
        "ENC-4",
        ("encode", "quantize"),
        pitfall="nan",
        nan_code=lambda p, sign, form: p.right.nan_code(sign, form) if form.bits == 8 else sign ^ 8,
    ),
    known(
        "nan-lost-in-clamp",
        "clamps as minps and maxps do, which return a number beside NaN",
        "ENC-4 Q-5",
        FLOATS,
        pitfall="nan",
        saturate=lambda p, v, form: np.fmin(np.fmax(v, F32(form.quant_min)), F32(form.quant_max)),
        clamp_float=lambda p, v, low, high: np.fmin(np.fmax(v, F32(low)), F32(high)),
    ),
    known(
        "overflow-wraps",
        "lets the exponent of large values overflow its field",
        "ENC-5",
        ("encode",),
        pitfall="saturation",
        saturate=lambda p, v, form: np.clip(v, F32(-(2**20)), F32(2**20)),
        magnitude_code=_wrapped,
    ),
    known(
        "quotient-overflow-wraps",
        "does not clamp the quotient, so that its exponent overflows the field",
        "Q-5",
        CODES,
        pitfall="saturation",
        clamp_float=lambda p, v, low, high: np.clip(v, F32(-(2**20)), F32(2**20)),
        magnitude_code=_wrapped,
    ),
    known(
        "quotient-not-clamped",
        "encodes the quotient without clamping it: overflow becomes NaN or infinity",
        "Q-5",
        CODES,
        pitfall="saturation",
        **_nonsaturating(_correct_overflow),
    ),
    known(
        "infinity-encoded-as-zero",
        "encodes infinities as 0",
        "ENC-5 Q-5",
        FLOATS,
        pitfall="saturation",
        saturate=_saturate(lambda v, high: np.where(np.isinf(v), 0, high)),
        clamp_float=lambda p, v, low, high: np.where(
            np.isinf(v), F32(0), np.clip(v, F32(low), F32(high))
        ),
    ),
    known(
        "infinity-of-x-as-nan",
        "makes NaN of infinities that are to be clamped",
        "Q-5",
        CODES,
        pitfall="saturation",
        clamp_float=lambda p, v, low, high: np.where(
            np.isinf(v), F32(np.nan), np.clip(v, F32(low), F32(high))
        ),
    ),
    known(
        "finite-overflow-as-nan",
        "makes NaN of finite values beyond the greatest, but saturates infinities",
        "ENC-5",
        ("encode",),
        pitfall="saturation",
        saturate=_saturate(lambda v, high: np.where(np.isinf(v), high, np.nan)),
    ),
    known(
        "only-positive-overflow-saturates",
        "makes NaN of values below -max and saturates those above max",
        "ENC-5 Q-5",
        FLOATS,
        pitfall="saturation",
        saturate=lambda p, v, form: np.where(
            v < form.quant_min, np.nan, np.fmin(v, form.quant_max)
        ).astype(np.float32),
        clamp_float=lambda p, v, low, high: np.where(v < low, np.nan, np.clip(v, low, high)).astype(
            np.float32
        ),
    ),
    known(
        "overflow-from-max-on",
        "makes NaN or infinity of all beyond ±max, also of what rounds back to it",
        "ENC-5",
        ("encode",),
        pitfall="saturation",
        **_nonsaturating(lambda v, form: v > form.quant_max),
    ),
    known(
        "overflow-from-next-value-on",
        "saturates up to 480 or 65536 and makes NaN or infinity of what follows",
        "ENC-5",
        ("encode",),
        pitfall="saturation",
        **_nonsaturating(lambda v, form: v >= 2 * _midpoint(form) - form.quant_max),
    ),
    known(
        "overflow-tie-up",
        "makes NaN of the boundary 464, whose tie goes down to 448",
        "ENC-5",
        ("encode",),
        pitfall="saturation",
        **_nonsaturating(lambda v, form: v >= _midpoint(form)),
    ),
    known(
        "overflow-tie-down",
        "rounds the boundary 61440 down to 57344, though its tie goes up to infinity",
        "ENC-5",
        ("encode",),
        pitfall="saturation",
        **_nonsaturating(lambda v, form: v > _midpoint(form)),
    ),
    known(
        "float8-max-240",
        "takes 240 for the greatest float8_e4m3fn",
        "FMT-2 Q-5 ENC-5",
        FLOATS,
        pitfall="saturation",
        saturate=_to_240,
        clamp_float=_to_240,
    ),
)
