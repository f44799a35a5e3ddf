"""Mutants that place the offset wrongly: zero point and minval (SPEC.md, Q-3, Q-4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import CODES, CODES_AND_GRADIENT
from quant_conformance.mutants.tables.steps import minval_codes, zero_point_codes
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import QuantizationSpec

INT32_MIN = -(2.0**31)


def _clamp_then_offset(
    p: Mutated, x: Array, spec: QuantizationSpec, scale: Array, offset: Any
) -> Any:
    if not spec.format.is_integer or spec.qformulation == "minval":
        return p.right.unclamped_codes(x, spec, scale, offset)
    low, high = spec.quant_min, spec.quant_max
    return np.clip(p.round_code(p.quotient(x, scale)), F32(low), F32(high)) + offset


def _int32_sum(beyond: tuple[float, float]) -> Step:
    """Add the zero point in int32; numbers below and above int32 have become ``beyond``."""

    def formula(p: Mutated, x: Array, scale: Array, zero: Array) -> Array:
        rounded = wrong.float64(p.round_code(p.quotient(x, scale)))  # float32 has no 2^31 - 1
        fits = np.where(rounded >= 2.0**31, beyond[1], rounded)
        fits = np.nan_to_num(np.where(rounded < -(2.0**31), beyond[0], fits)).astype(np.int64)
        total = (fits + zero.astype(np.int64)).astype(np.int32).astype(F32)
        return np.where(np.isnan(rounded), F32(np.nan), total)

    return zero_point_codes(formula)


OFFSETS = (
    known(
        "zero-point-before-rounding",
        "adds the zero point before rounding",
        "Q-3",
        CODES_AND_GRADIENT,
        pitfall="zero-point",
        unclamped_codes=zero_point_codes(lambda p, x, s, z: p.round_code(p.quotient(x, s) + z)),
    ),
    known(
        "zero-point-fused",
        "computes rint(fma(x, 1/scale, zero_point))",
        "Q-1 Q-3",
        CODES,
        pitfall="zero-point",
        unclamped_codes=zero_point_codes(
            lambda p, x, s, z: p.round_code(wrong.fma(p.widen(x), F32(1) / s, z))
        ),
    ),
    known(
        "zero-point-by-reciprocal-before-rounding",
        "computes rint(x * (1/scale) + zero_point)",
        "Q-1 Q-3",
        CODES_AND_GRADIENT,
        pitfall="zero-point",
        unclamped_codes=zero_point_codes(
            lambda p, x, s, z: p.round_code(p.widen(x) * (F32(1) / s) + z)
        ),
    ),
    known(
        "zero-point-after-clamp",
        "clamps before it adds the zero point, then clamps again",
        "Q-3",
        CODES_AND_GRADIENT,
        pitfall="zero-point",
        unclamped_codes=_clamp_then_offset,
    ),
    known(
        "zero-point-ignored",
        "does not add the zero point",
        "Q-3",
        CODES_AND_GRADIENT,
        pitfall="zero-point",
        unclamped_codes=zero_point_codes(lambda p, x, s, z: p.round_code(p.quotient(x, s))),
    ),
    known(
        "zero-point-subtracted",
        "subtracts the zero point instead of adding it",
        "Q-3",
        CODES_AND_GRADIENT,
        pitfall="zero-point",
        unclamped_codes=zero_point_codes(lambda p, x, s, z: p.round_code(p.quotient(x, s)) - z),
    ),
    known(
        "zero-point-added-off-by-one",
        "adds one less than the zero point of unsigned formats: 127 for 128",
        "Q-3",
        CODES_AND_GRADIENT,
        pitfall="zero-point",
        unclamped_codes=lambda p, x, spec, s, offset: (
            p.right.unclamped_codes(x, spec, s, offset)
            - F32((spec.format.kind, spec.qformulation) == ("uint", "zp"))
        ),
    ),
    known(
        "zero-point-read-as-int8",
        "reads zero points above 127 as negative",
        "Q-3 Q-8",
        CODES_AND_GRADIENT,
        pitfall="zero-point",
        unclamped_codes=zero_point_codes(
            lambda p, x, s, z: p.round_code(p.quotient(x, s)) + np.where(z > 127, z - 256, z)
        ),
    ),
    known(
        "zero-point-read-as-uint8",
        "reads negative zero points as 256 more",
        "Q-3 Q-8",
        CODES_AND_GRADIENT,
        pitfall="zero-point",
        unclamped_codes=zero_point_codes(
            lambda p, x, s, z: p.round_code(p.quotient(x, s)) + np.where(z < 0, z + 256, z)
        ),
    ),
    known(
        "int32-cast-before-zero-point",
        "casts to int32, so that 3e9 becomes the least integer, then adds the zero point, wrapping",
        "Q-3 Q-7",
        CODES,
        pitfall="cast-before-clamp",
        unclamped_codes=_int32_sum((INT32_MIN, INT32_MIN)),
    ),
    known(
        "zero-point-sum-wraps",
        "converts to int32 with saturation, then adds the zero point, which wraps",
        "Q-3 Q-7",
        CODES,
        pitfall="cast-before-clamp",
        unclamped_codes=_int32_sum((INT32_MIN, 2.0**31 - 1)),
    ),
    known(
        "minval-in-dtype-of-x",
        "subtracts minval in the dtype of x",
        "Q-4",
        CODES,
        pitfall="double-rounding",
        above_minval=lambda p, x, m: p.narrow(p.widen(x) - m, x.dtype),
    ),
    known(
        "minval-after-division",
        "computes x/scale - minval/scale",
        "Q-4",
        CODES_AND_GRADIENT,
        unclamped_codes=minval_codes(
            lambda p, x, s, m, least: p.round_code(p.quotient(x, s) - m / s) + least
        ),
    ),
    known(
        "minval-as-zero-point",
        "computes a zero point from minval: rint(x/scale) - rint(minval/scale)",
        "Q-4",
        CODES,
        unclamped_codes=minval_codes(
            lambda p, x, s, m, least: p.round_code(p.quotient(x, s)) - p.round_code(m / s) + least
        ),
    ),
    known(
        "minval-ignored",
        "does not subtract minval",
        "Q-4",
        CODES_AND_GRADIENT,
        above_minval=lambda p, x, m: p.widen(x),
    ),
    known(
        "minval-without-quant-min",
        "does not add quant_min under minval",
        "Q-4",
        CODES_AND_GRADIENT,
        unclamped_codes=minval_codes(
            lambda p, x, s, m, least: p.round_code(p.divide(p.above_minval(x, m), s))
        ),
    ),
    known(
        "minval-in-float64",
        "subtracts and divides in float64",
        "Q-4",
        CODES,
        above_minval=lambda p, x, m: wrong.float64(p.widen(x)) - wrong.float64(m),
    ),
    known(
        "minval-quant-min-before-rounding",
        "adds quant_min before rounding",
        "Q-4",
        CODES,
        unclamped_codes=minval_codes(
            lambda p, x, s, m, least: p.round_code(p.divide(p.above_minval(x, m), s) + least)
        ),
    ),
)
