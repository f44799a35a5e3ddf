"""Mutants of dequantize (SPEC.md, DQ-1 to DQ-3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import VALUES
from quant_conformance.mutants.tables.steps import Place
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import QuantizationSpec


def _fused(p: Any, codes: Array, spec: QuantizationSpec, scale: Array, minval: Array) -> Array:
    return wrong.fma(codes - F32(p.codes_in_use(spec)[0]), scale, minval)


_PRODUCT = Place("multiply", "DQ-1 DQ-3", VALUES, operands=2)

_DIFFERENCE = Place("less_zero_point", "DQ-1", VALUES, operands=2)

VALUE_BUGS = (
    _DIFFERENCE(
        "zero-point-not-subtracted",
        "does not subtract the zero point",
        lambda codes, z: codes,
        pitfall="zero-point",
    ),
    _DIFFERENCE(
        "zero-point-difference-in-8-bits",
        "subtracts the zero point in 8 bits, which wraps",
        lambda codes, z: np.where(np.isnan(codes), codes, ((codes - z + 128) % 256) - 128),
        pitfall="zero-point",
    ),
    known(
        "zero-point-difference-wraps-unsigned",
        "subtracts the zero point of unsigned formats in uint8, which wraps",
        "DQ-1",
        VALUES,
        pitfall="zero-point",
        values_of=lambda p, codes, spec, s, offset: (
            p.multiply((codes - offset) % 256, s)
            if (spec.format.kind, spec.qformulation) == ("uint", "zp")
            else p.right.values_of(codes, spec, s, offset)
        ),
    ),
    _DIFFERENCE(
        "zero-point-difference-saturates",
        "saturates code - zero_point to -128 … 127",
        lambda codes, z: np.clip(codes - z, F32(-128), F32(127)),
        pitfall="zero-point",
    ),
    known(
        "products-subtracted",
        "computes q * scale - zero_point * scale",
        "DQ-1",
        VALUES,
        values_of=lambda p, codes, spec, s, offset: (
            codes * s - offset * s
            if spec.format.is_integer and spec.qformulation == "zp"
            else p.right.values_of(codes, spec, s, offset)
        ),
    ),
    _PRODUCT(
        "product-in-float16",
        "multiplies by the scale in float16",
        lambda codes, s: wrong.through(np.float16)(codes * wrong.through(np.float16)(s)),
        pitfall="double-rounding",
    ),
    _PRODUCT(
        "product-through-bfloat16",
        "rounds the product to bfloat16",
        lambda codes, s: wrong.through(wrong.BFLOAT16)(codes * s),
        pitfall="double-rounding",
    ),
    _PRODUCT(
        "product-subnormals-flushed",
        "flushes subnormal results to zero",
        lambda codes, s: wrong.flushed(codes * s),
        pitfall="subnormals",
    ),
    _PRODUCT(
        "product-by-division",
        "divides by 1/scale instead of multiplying",
        lambda codes, s: codes / (F32(1) / s),
        pitfall="reciprocal",
    ),
    _PRODUCT(
        "zero-times-infinity-is-zero",
        "gives 0 for a zero code whatever the scale",
        lambda codes, s: np.where(codes == 0, codes, codes * s),
        clauses="DQ-3 DQ-1 QP-8",
        families=("dequantize",),
    ),
    known(
        "dequantize-nan-as-zero",
        "dequantizes NaN codes as 0",
        "DQ-3",
        VALUES,
        pitfall="nan",
        multiply=lambda p, codes, s: (
            np.nan_to_num(codes, nan=0.0, posinf=np.inf, neginf=-np.inf) * s
        ),
        with_nan=lambda p, values, clamped, form: values,
    ),
    known(
        "minval-added-fused",
        "computes fma(q - quant_min, scale, minval)",
        "DQ-2",
        VALUES,
        minval_values=_fused,
    ),
    known(
        "minval-added-in-float16",
        "adds minval in float16",
        "DQ-2",
        VALUES,
        pitfall="double-rounding",
        minval_values=lambda p, codes, spec, s, m: wrong.through(np.float16)(
            p.right.minval_values(codes, spec, s, m)
        ),
    ),
    known(
        "minval-not-added",
        "does not add minval",
        "DQ-2",
        VALUES,
        minval_values=lambda p, codes, spec, s, m: p.multiply(codes - F32(spec.quant_min), s),
    ),
    known(
        "minval-without-quant-min-in-values",
        "does not subtract quant_min under minval",
        "DQ-2",
        VALUES,
        minval_values=lambda p, codes, spec, s, m: p.multiply(codes, s) + m,
    ),
    known(
        "minval-divided-out",
        "computes (q - quant_min + minval / scale) * scale",
        "DQ-2",
        VALUES,
        minval_values=lambda p, codes, spec, s, m: (codes - F32(spec.quant_min) + m / s) * s,
    ),
)
