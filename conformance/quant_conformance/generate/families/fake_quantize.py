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
from quant_conformance.generate.families.quantize_rounding import QUICK_TAILS, integer_kinds
from quant_conformance.generate.families.quantize_special import NANS
from quant_conformance.generate.floats import (
    DTYPES,
    FLOAT32_MAX,
    around,
    cast,
    f32,
    from_bits,
    midpoints,
)
from quant_conformance.generate.layouts import make_spec
from quant_conformance.generate.rivals import DIVISIONS, fma, keep
from quant_conformance.generate.streams import reals
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
    for kind in ("int8-sym-zp", "uint8-asym-zp", "int4-asym-zp"):
        for name in ("reciprocal", "float64", "bfloat16-scale"):
            _division(builder, kind, name)
    for kind in ("int8-asym-minval", "uint4-asym-minval", "int8-sym-minval"):
        _minval(builder, kind)
    for kind in ("int8-sym-zp", "uint8-asym-zp", "int4-asym-minval", *float_kinds()):
        _scales(builder, kind)
        _shapes(builder, kind)
        _tails(builder, kind)


def _tie_values(spec: QuantizationSpec, params: Any, zero_point: int) -> Array:
    if spec.format.is_integer:
        return at_codes(half_codes(spec, zero_point), spec, params)
    halves = midpoints(spec.dtype)[:: 1 if spec.format.bits == 4 else 3].astype(np.float64)
    return np.concatenate([halves, -halves]) * float(params.scale[0])


def _point(spec: QuantizationSpec, index: int) -> int:
    points = zero_points(spec) if spec.format.is_integer else [0]
    return points[index % len(points)]


def _ties(builder: Builder, kind: str, index: int) -> None:
    spec, dtype = make_spec(kind), DTYPES[index % 3]
    point = _point(spec, index)
    params = params_of(spec, 0.25, point)
    for name in dict.fromkeys(("float32", dtype)):
        x = cast(_tie_values(spec, params, point), name)
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
        params_of(spec, 0.5, _point(spec, index)),
        x,
        "NegativeZero Subnormals",
        "an integer format has no -0; a float format keeps it",
        clauses=clauses,
    )


def _not_finite(builder: Builder, kind: str, index: int) -> None:
    spec = make_spec(kind)
    for dtype in (DTYPES[index % 3],):
        nans = from_bits(*NANS[dtype], dtype=dtype)
        numbers = np.array([1.0, -2.0, 3e9, -3e9, 1e38, -1e38, 65504.0, _INF, -_INF])
        x = np.concatenate([nans[:2], cast(numbers, dtype), nans[2:]])
        ask(
            builder,
            f"not-finite/{kind}-{dtype}",
            "fake_quantize",
            spec,
            params_of(spec, 0.5, _point(spec, index)),
            x,
            "NaNEncoding NaNToInteger Infinity CastBeforeClamp",
            "NaN stays NaN, everything else is clamped",
            clauses="FQ-2 Q-7",
        )
    rows = make_spec(kind, PerChannel(0))
    wild = [0.5, np.nan, 2.0] if spec.scale_dtype else [0.5, np.nan, _INF]
    x = f32(1.0, 0.0, -1.0, 2.0, 0.0, -3.0, 4.0, 0.0, -0.5).reshape(3, 3)
    ask(
        builder,
        f"scale-not-finite/{kind}",
        "fake_quantize",
        rows,
        params_of(rows, wild, _point(spec, index), 2, [-1.0, -1.0, -2.0]),
        x,
        "NaNInRange Infinity",
        "every output of a block whose scale is not finite is NaN",
        clauses="FQ-2 Q-8 QP-8",
        target="weight",
    )


def _cast_back(builder: Builder, kind: str, index: int) -> None:
    """Results that are half-way between two numbers of x's dtype, or beyond them."""
    spec = make_spec(kind)
    point = _point(spec, index)
    if spec.scale_dtype is None:
        low = min(int(spec.quant_min), 0) if spec.format.is_integer else -12
        steps = np.arange(low, min(int(spec.quant_max), 60) + 1).astype(np.float64)
        pairs = (("bfloat16", 2.0**-8), ("float16", 2.0**-11))
        brief = spec.qformulation == "minval"
        for dtype, fraction in pairs[index % 2 :][:1] if brief else pairs:
            for odd in (3,) if brief else (1, 3):
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
    scale = 2.0 ** np.ceil(np.log2(scale)) if spec.scale_dtype else scale
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


def _division(builder: Builder, kind: str, name: str) -> None:
    spec = make_spec(kind)
    rival, flag = DIVISIONS[name]
    for dtype in DTYPES:
        best = f32()
        chosen = np.float32(1)
        for scale in np.abs(
            reals(f"fake_quantize/{kind}/{dtype}/{name}", (16,), exponents=(-7, 0))
        ):
            x = around(cast(half_codes(spec) * float(scale), dtype), (-1, 0, 1)).ravel()
            wide = x.astype(np.float32)
            telling = x[keep(np.rint(wide / scale) != np.rint(rival(wide, scale)), 24)]
            if telling.size > best.size:
                best, chosen = telling, scale
        if best.size:
            ask(
                builder,
                f"division/{kind}-{dtype}-{name}",
                "fake_quantize",
                spec,
                params_of(spec, chosen, _point(spec, 5)),
                best,
                flag,
                f"differs if x/scale is computed as {name}",
            )


def _minval(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    steps = np.arange(int(spec.quant_max - spec.quant_min) + 1).astype(np.float32)
    best: tuple[Any, ...] = (-1,)
    scales = np.abs(reals(f"fake_quantize/{kind}/scale", (48,), exponents=(-6, 0)))
    shares = np.abs(reals(f"fake_quantize/{kind}/share", (48,), exponents=(-1, 6)))
    for scale, share in zip(scales, shares, strict=True):
        minval = -(scale * share)
        values = steps * scale + minval
        telling = int(np.count_nonzero(values != fma(steps, scale, minval)))
        if telling > best[0]:
            best = (telling, scale, minval, values)
    _, scale, minval, values = best
    x = values[:: max(1, values.size // 48)]
    for dtype in DTYPES:
        ask(
            builder,
            f"minval/{kind}-{dtype}",
            "fake_quantize",
            spec,
            params_of(spec, scale, None, 1, minval),
            cast(x, dtype),
            "MinvalFormula WiderIntermediate",
            "numbers on the grid; the product and the sum are rounded one after the other",
        )


def _scales(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    top = min(spec.quant_max, 12.0)
    steps = np.arange(-top - 1, top + 2, dtype=np.float64)
    scales = {"least": 2.0**-127, "normal": 2.0**-126, "greatest": 2.0**127, "small": 2.0**-100}
    if spec.scale_dtype is None:
        scales |= {"subnormal": 2.0**-149, "odd": 11 * 2.0**-149, "max": FLOAT32_MAX}
    for name, scale in scales.items():
        with np.errstate(all="ignore"):
            x = np.concatenate([steps * scale, (steps + 0.5) * scale]).astype(np.float32)
        x = x[np.isfinite(x)]
        flags = "Subnormals" if scale < 2.0**-120 else "Rounding"
        flags += " E8M0Extremes" if spec.scale_dtype else ""
        ask(
            builder,
            f"scale/{kind}-{name}",
            "fake_quantize",
            spec,
            params_of(spec, np.float32(scale), None, 1, np.float32(-3 * min(scale, 1e37))),
            x,
            flags,
            f"a scale of {scale:g}",
            clauses="Q-8",
        )


def _shapes(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    for index, (name, shape) in enumerate(
        {"scalar": (), "single": (1,), "ones": (1, 1, 1), "tall": (4, 1), "empty": (0, 2)}.items()
    ):
        x = reals(f"fake_quantize/shape/{kind}/{name}", shape, DTYPES[index % 3], exponents=(-1, 2))
        ask(
            builder,
            f"shape/{kind}-{name}",
            "fake_quantize",
            spec,
            params_of(spec, 0.25, None, len(shape)),
            x,
            "EmptyAndScalar",
            f"a tensor of shape {shape}",
        )


def _tails(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    params = params_of(spec, 0.25)
    values = _tie_values(spec, params, 0)
    for length in sorted(QUICK_TAILS)[:: 1 if kind == "int8-sym-zp" else 3]:
        x = cast(values[(np.arange(length) * 5 + length) % values.size], "float32")
        ask(
            builder,
            f"tail/{kind}-length{length}",
            "fake_quantize",
            spec,
            params,
            x,
            "TailElements TiesToEven",
            f"{length} ties: every vector width has its tail",
        )
