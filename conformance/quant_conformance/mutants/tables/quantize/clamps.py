"""Mutants that clamp or cast wrongly (SPEC.md, FMT-1, SPEC-6, Q-3, Q-7)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import CAST, CODES, CODES_AND_GRADIENT
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import QuantizationSpec


def _clamp(to: Any) -> Step:
    """Clamp to other bounds: ``to(least, greatest)``."""

    def clamp(_: Mutated, values: Array, least: float, greatest: float) -> Array:
        low, high = to(least, greatest)
        return np.clip(values, F32(low), F32(high))

    return clamp


def _in_use(change: Any) -> Step:
    """Other codes in use: ``change(spec, (least, greatest))``."""

    def codes_in_use(_: Mutated, spec: QuantizationSpec) -> Any:
        return change(spec, (spec.quant_min, spec.quant_max))

    return codes_in_use


def _unsigned_magnitude(
    p: Mutated, x: Array, spec: QuantizationSpec, scale: Array, offset: Any
) -> Any:
    unsigned = spec.format.kind == "uint" and spec.qformulation == "zp"
    return p.right.unclamped_codes(np.abs(x) if unsigned else x, spec, scale, offset)


CLAMPS = (
    known(
        "clamp-low-one-more",
        "clamps to quant_min + 1: -127 for -128",
        "Q-3 SPEC-6",
        CODES,
        pitfall="zero-point",
        clamp=_clamp(lambda low, high: (low + 1, high)),
    ),
    known(
        "clamp-high-one-less",
        "clamps to quant_max - 1",
        "Q-3",
        CODES,
        clamp=_clamp(lambda low, high: (low, high - 1)),
    ),
    known(
        "clamp-to-int8-always",
        "clamps 4- and 2-bit codes to the range of 8 bits",
        "Q-3 FMT-1",
        CODES,
        pitfall="int2",
        clamp=_clamp(lambda low, high: (-128, 127) if low < 0 else (0, 255)),
    ),
    known(
        "clamp-unsigned-as-signed",
        "clamps unsigned codes at the least signed one: -2 in uint2 is stored as 254",
        "Q-3 FMT-1 ENC-7",
        ("encode", "quantize"),
        pitfall="saturation",
        clamp=_clamp(lambda low, high: (-(high + 1) / 2 if low == 0 else low, high)),
        cast_code=lambda p, v, form: v.astype(np.int16).astype(form.code_dtype),
    ),
    known(
        "clamp-int2-as-int4",
        "clamps 2-bit codes to the range of 4 bits",
        "Q-3 FMT-1",
        CODES,
        pitfall="int2",
        clamp=_clamp(
            lambda low, high: {(-2, 1): (-8, 7), (0, 3): (0, 15)}.get((low, high), (low, high))
        ),
    ),
    known(
        "clamp-int2-symmetric",
        "clamps int2 to -1 … 1 in every scheme",
        "Q-3 FMT-1",
        CODES,
        pitfall="int2",
        clamp=_clamp(lambda low, high: (-1, 1) if high == 1 else (low, high)),
    ),
    known(
        "clamp-missing-below",
        "clamps at the upper end only and keeps the low bits below",
        "Q-3",
        ("quantize",),
        pitfall="saturation",
        clamp=lambda p, v, low, high: wrong.cast_first(32, "int8")(
            p, np.minimum(v, F32(high)), -256, 256
        ),
    ),
    known(
        "magnitude-below-zero",
        "stores the magnitude of a negative code in unsigned formats instead of clamping it",
        "Q-3 ENC-7",
        CAST,
        pitfall="magnitude",
        clamp=lambda p, v, low, high: np.clip(np.abs(v) if low == 0 else v, F32(low), F32(high)),
    ),
    known(
        "magnitude-of-unsigned-quotient",
        "takes the magnitude of the quotient in unsigned formats",
        "Q-3",
        CODES,
        pitfall="magnitude",
        unclamped_codes=_unsigned_magnitude,
    ),
    known(
        "clipping-keeps-least-code",
        "keeps the least code under symmetric_with_clipping",
        "SPEC-6 Q-3",
        CODES,
        pitfall="zero-point",
        codes_in_use=lambda p, spec: (spec.format.quant_min, spec.format.quant_max),
    ),
    known(
        "least-code-dropped-always",
        "drops the least code of signed formats in every scheme",
        "SPEC-6 Q-3",
        CODES_AND_GRADIENT,
        pitfall="zero-point",
        codes_in_use=_in_use(
            lambda spec, used: (
                (spec.format.quant_min + 1, used[1]) if spec.format.kind == "int" else used
            )
        ),
    ),
    known(
        "clipping-of-unsigned",
        "drops the code 0 of unsigned formats under symmetric_with_clipping",
        "SPEC-6",
        CODES,
        codes_in_use=_in_use(
            lambda spec, used: (
                (1, used[1])
                if (spec.format.kind, spec.qscheme) == ("uint", "symmetric_with_clipping")
                else used
            )
        ),
    ),
    known(
        "int8-cast-before-clamp",
        "casts to int8 or uint8 before clamping, which keeps the low bits",
        "Q-7 ENC-7",
        CAST,
        pitfall="cast-before-clamp",
        clamp=lambda p, v, low, high: wrong.cast_first(64, "int8" if low < 0 else "uint8")(
            p, v, low, high
        ),
    ),
    known(
        "int16-cast-before-clamp",
        "casts to int16 before clamping, which keeps the low bits",
        "Q-7 ENC-7",
        CAST,
        pitfall="cast-before-clamp",
        clamp=wrong.cast_first(64, "int16"),
    ),
    known(
        "int32-cast-before-clamp",
        "casts to int32 before clamping: 3e9 becomes the least integer",
        "Q-7 ENC-7",
        CAST,
        pitfall="cast-before-clamp",
        clamp=wrong.cast_first(32),
    ),
    known(
        "int64-cast-before-clamp",
        "casts to int64 before clamping: infinity becomes the least integer",
        "Q-7 ENC-7",
        CAST,
        pitfall="cast-before-clamp",
        clamp=wrong.cast_first(64),
    ),
    known(
        "infinity-as-nan",
        "stores an infinite quotient as it stores NaN",
        "Q-7",
        CODES,
        clamp=lambda p, v, low, high: np.where(
            np.isinf(v), F32(np.nan), np.clip(v, F32(low), F32(high))
        ),
    ),
)
