"""Elementwise operations on float16 subnormals with scales of their own size (Q-8).

Kernels that compute in float16 on hardware that flushes it see zeros here. All of x is subnormal,
and every element but the smallest answers differently once it is zero.
"""

from __future__ import annotations

import numpy as np

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.data import levels
from quant_conformance.generate.families.elementwise import ask, params_of
from quant_conformance.generate.floats import cast
from quant_conformance.generate.layouts import make_spec
from quant_reference import PerChannel, QuantizationSpec

_UNIT = 2.0**-24
"""The least float16 number above zero; 1023 of them are the greatest subnormal."""
_KINDS = (
    "int8-sym-zp",
    "uint8-asym-zp",
    "int8-asym-minval",
    "uint4-sym-minval",
    "int4-asym-minval",
    "float8_e4m3fn-scale32",
    "float4_e2m1fn-e8m0",
)


def build(builder: Builder) -> None:
    """Add the cases to their families."""
    counts = np.array([3.0, 511, 1023])
    x = cast(np.concatenate([counts, -counts]) * _UNIT, "float16")
    for kind in _KINDS:
        spec = make_spec(kind)
        params = params_of(spec, 2.0**-20 if spec.scale_dtype else 1.25 * 2.0**-20)
        for operation in ("quantize", "fake_quantize"):
            ask(
                builder,
                f"float16-subnormal/{kind}",
                operation,
                spec,
                params,
                x,
                "Subnormals",
                "every input is subnormal in float16, the scale too",
                clauses="Q-8",
            )
        ask(
            builder,
            f"float16-subnormal/{kind}",
            "gradient",
            spec,
            params_of(spec, _reaching(spec)),
            x,
            "ClippedGradient Subnormals",
            "subnormal in float16, and the largest two lie outside the range",
            grad=cast(np.arange(1.0, 7.0), "float16"),
            clauses="Q-8",
        )
    rows = make_spec("int8-sym-zp", PerChannel(0))
    ask(
        builder,
        "float16-subnormal/int8-sym-zp-rows",
        "quantize",
        rows,
        params_of(rows, [2.0**-20, 1.5 * 2.0**-20], None, 2),
        x.reshape(2, 3),
        "Subnormals",
        "rows of float16 subnormals",
        clauses="Q-8",
        target="weight",
    )


def _reaching(spec: QuantizationSpec) -> np.float32:
    """A scale with which the range ends between 511 and 1023 units."""
    reach = 700 * _UNIT
    if spec.format.is_integer:
        return np.float32(2 * reach / levels(spec))
    scale = reach / spec.quant_max
    return np.float32(2.0 ** np.round(np.log2(scale)) if spec.scale_dtype else scale)
