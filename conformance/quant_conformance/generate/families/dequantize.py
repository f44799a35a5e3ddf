"""dequantize: codes to numbers (DQ-1 to DQ-4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.elementwise import ask, params_of, zero_points
from quant_conformance.generate.families.elementwise_cover import any_codes
from quant_conformance.generate.families.quantize_float import float_kinds
from quant_conformance.generate.families.quantize_rounding import integer_kinds
from quant_conformance.generate.floats import FLOAT32_MAX
from quant_conformance.generate.layouts import QUICK_TAILS, integer_formats, make_spec
from quant_conformance.generate.rivals import fma
from quant_conformance.generate.streams import reals
from quant_reference import QuantizationSpec

Array = NDArray[Any]

_INF = float("inf")


def build(builder: Builder) -> None:
    """Add the targeted part of the family."""
    for index, kind in enumerate([*integer_kinds(), *float_kinds()]):
        _every_code(builder, kind, index)
    for dtype in integer_formats():
        _zero_points(builder, f"{dtype}-asym-zp")
        _dropped_code(builder, f"{dtype}-clip-zp")
        _minval(builder, f"{dtype}-asym-minval")
    for kind in ("int8-sym-zp", "uint8-asym-zp", "int4-sym-minval", *float_kinds()):
        _extreme_scales(builder, kind)
        _shapes(builder, kind)
    for kind in float_kinds():
        _specials(builder, kind)
    _tails(builder)


def codes_of(spec: QuantizationSpec) -> Array:
    """Return every code of the spec's format; of a float format those that are not NaN."""
    fmt = spec.format
    if fmt.is_integer:
        every = np.arange(int(fmt.quant_min), int(fmt.quant_max) + 1)
        return np.asarray(every.astype(fmt.code_dtype))
    half = np.arange({"float8_e4m3fn": 127, "float8_e5m2": 124, "float4_e2m1fn": 8}[fmt.name])
    return np.asarray(np.concatenate([half, half + 2 ** (fmt.bits - 1)]).astype(np.uint8))


def _scale(label: str, spec: QuantizationSpec, count: int = 1) -> Array:
    drawn = np.abs(reals(label, (count,), exponents=(-9, 0)))
    if spec.scale_dtype is None:
        return np.asarray(drawn)
    powers: Array = np.ldexp(np.float32(1), np.frexp(drawn)[1]).astype(np.float32)
    return powers


def _every_code(builder: Builder, kind: str, index: int) -> None:
    spec = make_spec(kind)
    codes = codes_of(spec)
    points = zero_points(spec) if spec.format.is_integer else [0]
    for part, chunk in enumerate(np.array_split(codes, max(1, codes.size // 128))):
        label = f"dequantize/{kind}/{part}"
        params = params_of(spec, _scale(label, spec), points[(index + part) % len(points)])
        ask(
            builder,
            f"every-code/{kind}-{part}",
            "dequantize",
            spec,
            params,
            chunk,
            "NarrowIntermediate SignExtension",
            "every code at a scale with a full fraction",
            clauses="DQ-4",
        )


def _zero_points(builder: Builder, kind: str) -> None:
    """The difference q - zero_point over its whole width, exact, and only then multiplied."""
    spec = make_spec(kind)
    low, high = int(spec.quant_min), int(spec.quant_max)
    codes = np.unique([low, low + 1, -1, 0, 1, 2, (low + high) // 2, high - 1, high])
    codes = codes[(codes >= low) & (codes <= high)].astype(spec.format.code_dtype)
    for point in zero_points(spec):
        scale = _scale(f"dequantize/{kind}/zero-point{point}", spec)
        ask(
            builder,
            f"zero-point/{kind}-{point}",
            "dequantize",
            spec,
            params_of(spec, scale, point),
            np.append(codes, codes.dtype.type(point)),
            "ZeroPointWidth ZeroPointOffByOne",
            "codes against a zero point; the zero point itself gives +0",
        )
    # Scales for which q*scale - zero_point*scale differs in its last bits.
    every = codes_of(spec)[:: 1 if every_few(spec) else 5]
    for part, scale in enumerate(_scale(f"dequantize/{kind}/distributed", spec, 3)):
        point = zero_points(spec)[part % len(zero_points(spec))]
        ask(
            builder,
            f"zero-point/{kind}-distributed{part}",
            "dequantize",
            spec,
            params_of(spec, scale, point),
            every,
            "WiderIntermediate ZeroPointWidth",
            "differs if computed as q*scale - zero_point*scale",
            target="weight",
        )


def every_few(spec: QuantizationSpec) -> bool:
    """Tell whether the format has so few codes that all of them fit into a small case."""
    return spec.format.bits < 8


def _dropped_code(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    codes = np.array([spec.format.quant_min, spec.quant_min, 0, spec.quant_max]).astype(
        spec.format.code_dtype
    )
    ask(
        builder,
        f"dropped-code/{kind}",
        "dequantize",
        spec,
        params_of(spec, 0.3),
        codes,
        "ClippedMinimum",
        "the code that clipping drops is dequantized like any other",
        clauses="DQ-4",
    )


def _minval(builder: Builder, kind: str) -> None:
    """Scales and lower ends for which one rounding instead of two shows."""
    spec = make_spec(kind)
    codes = codes_of(spec)
    steps = codes.astype(np.float32) - np.float32(spec.quant_min)
    found: list[tuple[int, int, Any, Any]] = []
    drawn = _scale(f"dequantize/{kind}/minval", spec, 64)
    shares = np.abs(reals(f"dequantize/{kind}/share", (64,), exponents=(-2, 6)))
    for scale, share in zip(drawn, shares, strict=True):
        minval = -(scale * share)
        two_roundings = steps * scale + minval
        fused = fma(steps, scale, minval)
        moved = codes.astype(np.float32) * scale + (minval - np.float32(spec.quant_min) * scale)
        telling = np.count_nonzero(two_roundings != fused) + np.count_nonzero(
            two_roundings != moved
        )
        found.append((-int(telling), len(found), scale, minval))
    for part, (_, _, scale, minval) in enumerate(sorted(found)[:3]):
        ask(
            builder,
            f"minval/{kind}-{part}",
            "dequantize",
            spec,
            params_of(spec, scale, None, 1, minval),
            codes,
            "MinvalFormula WiderIntermediate",
            "a product and a sum, each rounded; no fused multiply-add",
            target="weight",
        )
    ask(
        builder,
        f"minval/{kind}-positive",
        "dequantize",
        spec,
        params_of(spec, 0.1, None, 1, 0.7),
        codes[:9],
        "MinvalFormula",
        "a lower end above zero is added like any other",
    )


def _extreme_scales(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    codes = codes_of(spec)
    codes = codes[:: max(1, codes.size // 24)]
    scales = {
        "least": 2.0**-127,
        "normal": 2.0**-126,
        "greatest": 2.0**127,
        "large": 2.0**120,
        "small": 2.0**-118,
    }
    if spec.scale_dtype is None:
        scales |= {
            "subnormal": 2.0**-149,
            "odd": 7 * 2.0**-149,
            "fraction": 1.3 * 2.0**-127,
            "max": FLOAT32_MAX,
        }
    for name, scale in scales.items():
        flags = "Subnormals" if scale < 1 else "Infinity"
        flags += " E8M0Extremes" if spec.scale_dtype else ""
        ask(
            builder,
            f"scale/{kind}-{name}",
            "dequantize",
            spec,
            params_of(spec, np.float32(scale), None, 1, np.float32(-3 * min(scale, 1e37))),
            codes,
            flags,
            f"a scale of {scale:g}: products that are subnormal or overflow",
            clauses="Q-8",
        )
    for name, scale in {
        "nan": np.nan,
        **({"infinite": _INF} if spec.scale_dtype is None else {}),
    }.items():
        ask(
            builder,
            f"scale/{kind}-{name}",
            "dequantize",
            spec,
            params_of(spec, scale, None, 1, -1.0),
            codes,
            "NaNInRange" if name == "nan" else "Infinity",
            f"a scale that is {name}",
            clauses="Q-8",
        )


def _specials(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    fmt = spec.format
    every = np.arange(2**fmt.bits, dtype=np.uint8)
    signs = np.array([0, 2 ** (fmt.bits - 1)], np.uint8)
    ask(
        builder,
        f"zeros/{kind}",
        "dequantize",
        spec,
        params_of(spec, 0.5),
        signs,
        "NegativeZero",
        "a code of -0 gives -0",
    )
    ask(
        builder,
        f"subnormal-codes/{kind}",
        "dequantize",
        spec,
        params_of(spec, 4.0),
        np.concatenate([s + np.arange(2**fmt.mantissa_bits, dtype=np.uint8) for s in signs]),
        "Subnormals",
        "subnormal codes",
    )
    if fmt.has_nan:
        magnitude = every & 0x7F
        wild = every[magnitude >= (0x7F if fmt.name == "float8_e4m3fn" else 0x7C)]
        ask(
            builder,
            f"nan/{kind}",
            "dequantize",
            spec,
            params_of(spec, 0.5),
            wild,
            "NaNEncoding Infinity",
            "codes of NaN and of infinity",
        )


def _tails(builder: Builder) -> None:
    for kind in ("int8-sym-zp", "uint8-asym-zp", "float8_e4m3fn-scale32", "float4_e2m1fn-e8m0"):
        spec = make_spec(kind)
        params = params_of(spec, 0.25 if spec.scale_dtype else 0.3, 7 if "asym" in kind else None)
        for length in sorted(QUICK_TAILS)[:: 1 if kind == "int8-sym-zp" else 3]:
            codes = any_codes(f"dequantize/tail/{kind}/{length}", (length,), spec)
            ask(
                builder,
                f"tail/{kind}-length{length}",
                "dequantize",
                spec,
                params,
                codes,
                "TailElements",
                f"{length} codes: every vector width has its tail",
            )


def _shapes(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    for name, shape in {
        "scalar": (),
        "single": (1,),
        "ones": (1, 1, 1, 1),
        "tall": (5, 1),
        "empty": (0, 2),
    }.items():
        codes = any_codes(f"dequantize/shape/{kind}/{name}", shape, spec)
        ask(
            builder,
            f"shape/{kind}-{name}",
            "dequantize",
            spec,
            params_of(spec, 0.25, None, len(shape)),
            codes,
            "EmptyAndScalar",
            f"codes of shape {shape}",
        )
