"""quantize to integers: beyond the range, NaN, infinities, subnormals, shapes (Q-3, Q-6 to Q-8)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.elementwise import ask, params_of, zero_points
from quant_conformance.generate.families.quantize_rounding import clamp_flag, integer_kinds
from quant_conformance.generate.floats import DTYPES, FLOAT32_MAX, cast, f32, from_bits
from quant_conformance.generate.layouts import make_spec
from quant_conformance.generate.streams import reals
from quant_reference import PerChannel

Array = NDArray[Any]

_INF = float("inf")
NANS = {
    "float32": (0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF),
    "float16": (0x7E00, 0xFE00, 0x7C01, 0xFFFF),
    "bfloat16": (0x7FC0, 0xFFC0, 0x7F81, 0xFFFF),
}
_HUGE = (
    127.5, 128, 129, 255, 255.5, 256, 257, 384, 511, 32767, 32768, 40000, 65535, 65536, 65537,
    2.0**31, 2.0**31 + 256, 2.0**32, 2.0**32 + 512, 3e9, 2.0**63, 2.0**64, 1e19, 1e38, FLOAT32_MAX,
)  # fmt: skip


def build(builder: Builder) -> None:
    """Add the part of the family."""
    for index, kind in enumerate(integer_kinds()):
        _huge(builder, kind, index)
        _nan(builder, kind, index)
        _trifles(builder, kind, index)
    for kind in (
        "int8-sym-zp",
        "uint8-asym-zp",
        "int4-asym-minval",
        "int2-sym-zp",
        "uint4-sym-minval",
    ):
        _subnormal_scales(builder, kind)
        _scales_not_finite(builder, kind)
        _shapes(builder, kind)


def _point(kind: str, index: int) -> int:
    points = zero_points(make_spec(kind))
    return points[index % len(points)]


def _huge(builder: Builder, kind: str, index: int) -> None:
    spec = make_spec(kind)
    point = _point(kind, index)
    for offset, dtype in enumerate(("float32", DTYPES[1 + index % 2])):
        for scale in (
            (1.0, 2.0**-20)[index % 2 :]
            if dtype == "float32"
            else ((1.0, 0.3)[(index + offset) % 2],)
        ):
            values = np.array([*_HUGE, _INF])
            x = cast(np.concatenate([values, -values]), dtype)
            flags = f"CastBeforeClamp Infinity {clamp_flag(spec)}"
            ask(
                builder,
                f"huge/{kind}-{dtype}-{scale:g}",
                "quantize",
                spec,
                params_of(spec, scale, point),
                x,
                flags,
                "numbers that no integer type holds, and infinities",
                clauses="Q-7",
            )


def _nan(builder: Builder, kind: str, index: int) -> None:
    spec = make_spec(kind)
    # A zero point that differs from 0, quant_min and quant_max tells all four behaviours apart.
    point = {2: 2, 4: 5, 8: 37}[spec.format.bits] if spec.qscheme == "asymmetric" else None
    if point is not None and point > spec.quant_max:
        point = -1
    dtype = DTYPES[index % 3]
    for name, chosen in (("one", dtype), ("all", DTYPES[(index + 1) % 3])):
        nans = from_bits(*NANS[chosen], dtype=chosen)[: 1 if name == "one" else None]
        numbers = cast(np.array([1.0, -0.5, 0.0, 2.0]), chosen)
        x = np.concatenate([numbers[:2], nans, numbers[2:]])
        ask(
            builder,
            f"nan/{kind}-{name}",
            "quantize",
            spec,
            params_of(spec, 0.25, point),
            x,
            "NaNToInteger",
            "NaNs among numbers",
            clauses="Q-6",
            policy="nan_to_integer",
        )
    if "asym" in kind:
        x = np.ones(35, np.float32)
        x[[0, 9, 15, 31, 32, 34]] = from_bits(0x7FC00000)
        ask(
            builder,
            f"nan/{kind}-wide",
            "quantize",
            spec,
            params_of(spec, 0.25, point),
            x,
            "NaNToInteger",
            "NaNs in the body and in the tail of a vector",
            clauses="Q-6",
            policy="nan_to_integer",
        )
        rows = make_spec(kind, PerChannel(0))
        params = params_of(rows, [0.25, np.nan, 0.5], [point, point, point], 2, [-1.0, -1.0, -2.0])
        ask(
            builder,
            f"nan/{kind}-scale",
            "quantize",
            rows,
            params,
            np.ones((3, 2), np.float32) / 2,
            "NaNToInteger NaNInRange",
            "a channel whose scale is NaN",
            clauses="Q-6 Q-8",
            target="weight",
            policy="nan_to_integer",
        )
        both = params_of(spec, _INF, point, 1, -1.0)
        ask(
            builder,
            f"nan/{kind}-infinite-quotient",
            "quantize",
            spec,
            both,
            f32(1.0, _INF, -_INF, 0.0),
            "NaNToInteger Infinity",
            "infinity over infinity is NaN",
            clauses="Q-6 Q-8",
            policy="nan_to_integer",
        )


def _trifles(builder: Builder, kind: str, index: int) -> None:
    spec = make_spec(kind)
    dtype = DTYPES[index % 3]
    small = np.array([0.0, 2.0**-149, 2.0**-130, 2.0**-24, 1e-20, 0.1, 0.2499, 0.25])
    x = cast(np.concatenate([small, -small]), dtype)
    ask(
        builder,
        f"trifles/{kind}-{dtype}",
        "quantize",
        spec,
        params_of(spec, 0.5, _point(kind, index)),
        x,
        "NegativeZero Subnormals",
        "zeros of both signs, subnormals and what is below half a step",
    )


def _subnormal_scales(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    low, high = int(spec.quant_min), int(spec.quant_max)
    codes = np.arange(max(low, -12) - 2, min(high, 12) + 3, dtype=np.float64)
    for name, scale in (
        ("least", 2.0**-149), ("odd", 3 * 2.0**-149), ("subnormal", 2.0**-130),
        ("border", 2.0**-127), ("normal", 2.0**-126), ("fraction", 1.3 * 2.0**-128),
    ):  # fmt: skip
        with np.errstate(under="ignore"):
            x = np.concatenate([codes * scale, (codes + 0.5) * scale]).astype(np.float32)
        params = params_of(spec, np.float32(scale), None, 1, np.float32(-3 * scale))
        ask(
            builder,
            f"subnormal/{kind}-{name}",
            "quantize",
            spec,
            params,
            x,
            "Subnormals",
            f"the scale is {name} ({scale:g}); nothing is flushed",
            clauses="Q-8",
        )
    x = cast(np.arange(-9, 10) * 2.0**-24, "float16")
    ask(
        builder,
        f"subnormal/{kind}-float16",
        "quantize",
        spec,
        params_of(spec, 2.0**-23, None, 1, -(2.0**-22)),
        x,
        "Subnormals",
        "subnormal float16 numbers are ordinary float32 numbers",
        clauses="Q-8",
    )
    x = (np.arange(-9, 10) * 2.0**-133).astype(np.float32)
    ask(
        builder,
        f"subnormal/{kind}-bfloat16",
        "quantize",
        spec,
        params_of(spec, np.float32(2.0**-132), None, 1, np.float32(-(2.0**-131))),
        cast(x, "bfloat16"),
        "Subnormals",
        "subnormal bfloat16 numbers",
        clauses="Q-8",
    )


def _scales_not_finite(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    params = params_of(spec, _INF, None, 1, -1.0)
    x = f32(0.0, -0.0, 1.0, -1.0, 1e30, -1e30, 2.0**-140)
    ask(
        builder,
        f"infinite-scale/{kind}",
        "quantize",
        spec,
        params,
        x,
        "Infinity",
        "every number over infinity is zero",
        clauses="Q-8",
    )
    for name, scale in (("large", 1e30), ("greatest", FLOAT32_MAX)):
        params = params_of(spec, np.float32(scale), None, 1, -1.0)
        x = f32(1e30, 1.5e30, 2.5e30, -2.5e30, FLOAT32_MAX, -FLOAT32_MAX, 1.0, 1.7e38)
        ask(
            builder,
            f"large-scale/{kind}-{name}",
            "quantize",
            spec,
            params,
            x,
            "Rounding",
            f"a scale of {scale:g}",
            clauses="Q-8",
        )


def _shapes(builder: Builder, kind: str) -> None:
    for name, shape in {
        "scalar": (),
        "single": (1,),
        "ones": (1, 1, 1, 1),
        "thin": (1, 5),
        "tall": (5, 1),
    }.items():
        spec = make_spec(kind)
        x = reals(f"quantize/shape/{kind}/{name}", shape, exponents=(-1, 2))
        params = params_of(spec, 0.3, None, len(shape))
        ask(
            builder,
            f"shape/{kind}-{name}",
            "quantize",
            spec,
            params,
            x,
            "EmptyAndScalar",
            f"a tensor of shape {shape}",
        )
    for name, shape in {"empty": (0,), "empty-matrix": (2, 0)}.items():
        spec = make_spec(kind)
        ask(
            builder,
            f"shape/{kind}-{name}",
            "quantize",
            spec,
            params_of(spec, 0.3, None, len(shape)),
            np.zeros(shape, np.float32),
            "EmptyAndScalar",
            "nothing in, nothing out",
        )
