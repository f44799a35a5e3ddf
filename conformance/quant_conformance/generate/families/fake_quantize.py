"""fake_quantize: quantize and dequantize in one step, in the dtype of x (FQ-1 to FQ-4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.data import at_codes
from quant_conformance.generate.families.elementwise import (
    ask,
    half_codes,
    params_of,
    zero_points,
)
from quant_conformance.generate.families.quantize_float import float_kinds
from quant_conformance.generate.families.quantize_rounding import integer_kinds
from quant_conformance.generate.families.quantize_special import NANS
from quant_conformance.generate.floats import (
    DTYPES,
    cast,
    f32,
    from_bits,
    midpoints,
)
from quant_conformance.generate.layouts import make_spec
from quant_reference import PerChannel, QuantizationSpec

Array = NDArray[Any]

_INF = float("inf")


def build(builder: Builder) -> None:
    """Add the targeted part of the family."""
    for index, kind in enumerate([*integer_kinds(), *float_kinds()]):
        _ties(builder, kind, index)
        _zeros(builder, kind, index)
        _not_finite(builder, kind, index)
        _cast_back(builder, kind, index)


def tie_values(spec: QuantizationSpec, params: Any, zero_point: int) -> Array:
    """Return real numbers on ties, at the scale of the qparams."""
    if spec.format.is_integer:
        return at_codes(half_codes(spec, zero_point), spec, params)
    halves = midpoints(spec.dtype)[:: 1 if spec.format.bits == 4 else 3].astype(np.float64)
    return np.concatenate([halves, -halves]) * float(params.scale[0])


def zero_point_of(spec: QuantizationSpec, index: int) -> int:
    """Return one of the zero points that the spec allows, by turns."""
    points = zero_points(spec) if spec.format.is_integer else [0]
    return points[index % len(points)]


def _ties(builder: Builder, kind: str, index: int) -> None:
    spec, dtype = make_spec(kind), DTYPES[index % 3]
    point = zero_point_of(spec, index)
    params = params_of(spec, 0.25, point)
    for name in dict.fromkeys(("float32", dtype)):
        x = cast(tie_values(spec, params, point), name)
        extra = "FQ-3" if name != "float32" else ""
        ask(
            builder,
            f"ties/{kind}-{name}",
            "fake_quantize",
            spec,
            params,
            x,
            "TieOffByOne TiesToEven",
            "nothing but ties: fused and unfused must agree",
            clauses=extra,
        )


def _zeros(builder: Builder, kind: str, index: int) -> None:
    spec, dtype = make_spec(kind), DTYPES[index % 3]
    small = np.array([0.0, 2.0**-149, 2.0**-130, 2.0**-24, 1e-9, 0.01, 0.2])
    x = cast(np.concatenate([small, -small]), dtype)
    zp = spec.format.is_integer and spec.qformulation == "zp"
    clauses = "FQ-4" if zp else "ENC-3" if not spec.format.is_integer else ""
    ask(
        builder,
        f"zeros/{kind}-{dtype}",
        "fake_quantize",
        spec,
        params_of(spec, 0.5, zero_point_of(spec, index)),
        x,
        "NegativeZero Subnormals",
        "an integer format has no -0; a float format keeps it",
        clauses=clauses,
    )


def _not_finite(builder: Builder, kind: str, index: int) -> None:
    spec = make_spec(kind)
    for dtype in DTYPES if spec.dtype == "float4_e2m1fn" else (DTYPES[index % 3],):
        nans = from_bits(*NANS[dtype], dtype=dtype)
        numbers = np.array([1.0, -2.0, 3e9, -3e9, 1e38, -1e38, 65504.0, _INF, -_INF])
        x = np.concatenate([nans[:2], cast(numbers, dtype), nans[2:]])
        ask(
            builder,
            f"not-finite/{kind}-{dtype}",
            "fake_quantize",
            spec,
            params_of(spec, 0.5, zero_point_of(spec, index)),
            x,
            "NaNEncoding NaNToInteger Infinity CastBeforeClamp",
            "NaN stays NaN, everything else is clamped",
            clauses="FQ-2 Q-7",
        )
    x = f32(1e38, -1e38, 1e33, 2.0**-20, 0.0)
    ask(
        builder,
        f"quotient-overflow/{kind}",
        "fake_quantize",
        spec,
        params_of(spec, np.float32(2.0**-23), zero_point_of(spec, index)),
        x,
        "Infinity CastBeforeClamp",
        "quotients beyond float32 are clamped like any other",
        clauses="Q-7",
    )
    rows = make_spec(kind, PerChannel(0))
    wild = [0.5, np.nan, 2.0] if spec.scale_dtype else [0.5, np.nan, _INF]
    x = f32(1.0, 0.0, -1.0, 2.0, 0.0, -3.0, 4.0, 0.0, -0.5).reshape(3, 3)
    ask(
        builder,
        f"scale-not-finite/{kind}",
        "fake_quantize",
        rows,
        params_of(rows, wild, zero_point_of(spec, index), 2, [-1.0, -1.0, -2.0]),
        x,
        "NaNInRange Infinity",
        "every output of a block whose scale is not finite is NaN",
        clauses="FQ-2 Q-8 QP-8",
        target="weight",
    )


def _cast_back(builder: Builder, kind: str, index: int) -> None:
    """Results that are half-way between two numbers of x's dtype, or beyond them."""
    spec = make_spec(kind)
    point = zero_point_of(spec, index)
    if spec.scale_dtype is None:
        low = min(int(spec.quant_min), 0) if spec.format.is_integer else -12
        steps = np.arange(low, min(int(spec.quant_max), 60) + 1).astype(np.float64)
        pairs = (("bfloat16", 2.0**-8), ("float16", 2.0**-11))
        brief = spec.qformulation == "minval"
        for dtype, fraction in pairs[index % 2 :][:1] if brief else pairs:
            for odd in (1,) if index % 4 == 0 else (3,):
                # (1 + odd/256) * q sits on a bfloat16 tie for small q, above or below an even one.
                params = params_of(spec, 1 + odd * fraction, point)
                x = steps if not spec.format.is_integer else at_codes(steps, spec, params)
                ask(
                    builder,
                    f"cast-back/{kind}-{dtype}-{odd}",
                    "fake_quantize",
                    spec,
                    params,
                    cast(x, dtype),
                    "CastBack NarrowIntermediate",
                    f"products that {dtype} cannot hold",
                    clauses="FQ-3",
                )
    scale = 65520.0 / max(abs(spec.quant_min), spec.quant_max) / (2 if "asym" in kind else 1)
    scale = np.ldexp(1.0, np.frexp(scale)[1]) if spec.scale_dtype else scale
    params = params_of(spec, np.float32(scale), point)
    x = cast(np.array([65504, 60000, 32768, -65504, -60000, 40000, -2000, _INF, -_INF]), "float16")
    ask(
        builder,
        f"cast-back/{kind}-overflow",
        "fake_quantize",
        spec,
        params,
        x,
        "CastBack Infinity",
        "results beyond 65520 become infinite in float16",
        clauses="FQ-3",
    )
    steps = np.arange(-4.0, 5.0).astype(np.float64)
    small = params_of(spec, 2.0**-24, point, 1, -(2.0**-22))
    x = at_codes(steps, spec, small) if spec.format.is_integer else steps * 2.0**-24
    ask(
        builder,
        f"cast-back/{kind}-subnormal",
        "fake_quantize",
        spec,
        small,
        cast(x, "float16"),
        "CastBack Subnormals",
        "results that are subnormal in float16",
        clauses="FQ-3",
    )
