"""quantize: ties, division, zero points, minval and tails (Q-1 to Q-4)."""

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
from quant_conformance.generate.floats import DTYPES, around, cast, f32
from quant_conformance.generate.layouts import QUICK_TAILS, integer_formats, make_spec, spec_kinds
from quant_reference import PerBlock, PerChannel, QuantizationSpec

Array = NDArray[Any]


def integer_kinds(ending: str = "") -> list[str]:
    """Names of the integer kinds of spec that end so."""
    return [k for k, m in spec_kinds().items() if "qscheme" in m and k.endswith(ending)]


def build(builder: Builder) -> None:
    """Add the part of the family."""
    for index, kind in enumerate(integer_kinds()):
        _ties(builder, kind, index)
    for dtype in integer_formats():
        _zero_points(builder, f"{dtype}-asym-zp")
        _fractions(builder, f"{dtype}-sym-zp")
    _tails(builder)


def clamp_flag(spec: QuantizationSpec) -> str:
    """Name the flag of a wrong clamp for a spec."""
    if spec.format.bits == 2:
        return "Int2Clamp"
    return "ClippedMinimum" if spec.qscheme == "symmetric_with_clipping" else "Saturation"


def _ties(builder: Builder, kind: str, index: int) -> None:
    spec = make_spec(kind)
    for offset, dtype in enumerate(("float32", DTYPES[1 + index % 2])):
        points = zero_points(spec)
        zero_point = points[(index + offset) % len(points)]
        scale = (0.125, 0.75, 2.0)[(index + offset) % 3] if dtype != "bfloat16" else 0.25
        params = params_of(spec, scale, zero_point)
        halves = half_codes(spec, zero_point)
        x = cast(at_codes(halves, spec, params), dtype)
        ask(
            builder,
            f"ties/{kind}-{dtype}",
            "quantize",
            spec,
            params,
            x,
            f"TiesToEven {clamp_flag(spec)}",
            f"ties at scale {scale}, zero point {zero_point}",
        )
        if dtype != "float32":
            continue
        ask(
            builder,
            f"beside-ties/{kind}",
            "quantize",
            spec,
            params,
            around(x, (-1, 1)).ravel(),
            f"DoubleRounding {clamp_flag(spec)}",
            "one float32 step beside ties",
        )


def _zero_points(builder: Builder, kind: str) -> None:
    """Small ties under zero points of both parities: rounded before the zero point is added."""
    rows = make_spec(kind, PerChannel(0))
    points = zero_points(rows)
    quotients = around(f32(-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5)).ravel()
    for name, scale in (("one", 1.0), ("small", 2.0**-10)):
        x = np.stack([quotients * np.float32(scale)] * len(points))
        ask(
            builder,
            f"zero-point/{kind}-{name}",
            "quantize",
            rows,
            params_of(rows, [scale] * len(points), points, 2),
            x,
            "ZeroPointRounding ZeroPointWidth",
            "small ties and their neighbours under many zero points",
            target="weight",
        )
    spec = make_spec(kind)
    low, high = int(spec.quant_min), int(spec.quant_max)
    for point in points:
        # Codes over the whole range and far beyond it on the side that the zero point leaves open.
        codes = np.array(
            [low - 300, low - 1, low, low + 1, 0, high - 1, high, high + 1, high + 300]
        )
        params = params_of(spec, 0.5, point)
        ask(
            builder,
            f"zero-point/{kind}-clamp{point}",
            "quantize",
            spec,
            params,
            cast(at_codes(codes.astype(np.float64), spec, params), "float32"),
            f"ZeroPointOffByOne ZeroPointWidth {clamp_flag(spec)}",
            "the clamp comes after the zero point, not before",
        )


def _fractions(builder: Builder, kind: str) -> None:
    """16-bit input of every fraction: truncation shows on three of four values."""
    spec = make_spec(kind)
    whole = np.arange(0, min(spec.quant_max, 20) + 1, dtype=np.float64)[:, None]
    values = (whole + np.array([0.0, 0.25, 0.5, 0.75])).ravel()
    params = params_of(spec, 1.0)
    for dtype in ("float16", "bfloat16"):
        x = cast(np.concatenate([values, -values]), dtype)
        ask(
            builder,
            f"fractions/{kind}-{dtype}",
            "quantize",
            spec,
            params,
            x,
            "TruncationFloat16",
            "fractions of a quarter, a half and three quarters",
        )
        x = cast(np.concatenate([values, -values]) * 0.1, dtype)
        ask(
            builder,
            f"fractions/{kind}-{dtype}-tenth",
            "quantize",
            spec,
            params_of(spec, 0.1),
            x,
            "TruncationFloat16 NarrowIntermediate",
            "the same, at a scale that is no power of two",
        )


def _tails(builder: Builder) -> None:
    for kind, dtype, zero_point in (
        ("int8-sym-zp", "float32", None),
        ("uint8-asym-zp", "float32", 127),
        ("int8-asym-minval", "float32", None),
        ("int8-sym-zp", "float16", None),
    ):
        spec = make_spec(kind)
        params = params_of(spec, 0.25, zero_point)
        common = kind == "int8-sym-zp" and dtype == "float32"
        for length in range(1, 68) if common else sorted(QUICK_TAILS)[::2]:
            index = np.arange(length)
            codes = spec.quant_min + 0.5 + (index * 7 + length) % (spec.quant_max - spec.quant_min)
            x = cast(at_codes(codes, spec, params), dtype)
            ask(
                builder,
                f"tail/{kind}-{dtype}-length{length}",
                "quantize",
                spec,
                params,
                x,
                "TailElements TiesToEven",
                f"{length} ties: every vector width has its tail",
                full=length not in QUICK_TAILS,
            )
    for length in (1, 3, 5, 13, 18, 35):
        _row_tails(builder, length)


def _row_tails(builder: Builder, length: int) -> None:
    """Channels and blocks whose length is no multiple of a vector."""
    spec = make_spec("int8-sym-zp", PerChannel(0))
    params = params_of(spec, [0.5, 0.25, 3.0], None, 2)
    codes = (np.arange(3 * length) * 11 % 241 - 120.5).reshape(3, length)
    x = cast(at_codes(codes, spec, params), "float32")
    ask(
        builder,
        f"tail/rows-length{length}",
        "quantize",
        spec,
        params,
        x,
        "TailElements BlockAxis",
        f"channels of {length} ties",
        target="weight",
    )
    blocks = make_spec("int8-sym-zp", PerBlock(1, length))
    tiled = params_of(blocks, [0.5, 0.25], None, 2)
    tiled = type(tiled)(
        np.array([[0.5, 4.0, 0.125], [0.25, 1.0, 8.0]], np.float32), np.zeros((2, 3), np.int32)
    )
    codes = (np.arange(6 * length) * 11 % 241 - 120.5).reshape(2, 3 * length)
    x = cast(at_codes(codes, blocks, tiled), "float32")
    ask(
        builder,
        f"tail/blocks-length{length}",
        "quantize",
        blocks,
        tiled,
        x,
        "TailElements InterleavedBlocks",
        f"blocks of {length} ties",
        target="weight",
    )
