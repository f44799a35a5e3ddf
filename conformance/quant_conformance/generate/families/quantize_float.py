"""quantize to float formats (Q-1, Q-5)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.elementwise import ask, params_of
from quant_conformance.generate.families.quantize_search import make_rows
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
from quant_conformance.generate.layouts import QUICK_TAILS, make_spec, spec_kinds
from quant_conformance.generate.rivals import DIVISIONS, Rival, keep
from quant_conformance.generate.streams import reals
from quant_reference import QuantizationSpec, encode

Array = NDArray[Any]

_INF = float("inf")


def float_kinds() -> list[str]:
    """Names of the kinds of spec with float formats."""
    return [kind for kind, members in spec_kinds().items() if "qscheme" not in members]


def build(builder: Builder) -> None:
    """Add the part of the family."""
    for index, kind in enumerate(float_kinds()):
        _midpoints(builder, kind)
        _clamped(builder, kind)
        _zeros(builder, kind)
        _nan(builder, kind)
        _scales(builder, kind)
        _tails(builder, kind, index)
        if not kind.endswith("e8m0"):
            for name, (rival, flag) in DIVISIONS.items():
                _division(builder, kind, "float32", name, rival, flag)
            for dtype, name in (("float16", "float16-quotient"), ("bfloat16", "bfloat16-quotient")):
                _division(builder, kind, dtype, name, *DIVISIONS[name])


def _ties(spec: QuantizationSpec) -> Array:
    halves = midpoints(spec.dtype)
    return np.concatenate([halves, -halves])


def _tie_flags(spec: QuantizationSpec) -> str:
    return "TiesToEven E2M1Ties" if spec.dtype == "float4_e2m1fn" else "TiesToEven"


def _midpoints(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    for dtype in DTYPES:
        scale = 2.0**-4
        x = cast(_ties(spec).astype(np.float64) * scale, dtype)
        for part, chunk in enumerate(np.array_split(x, max(1, x.size // 128))):
            ask(
                builder,
                f"midpoints/{kind}-{dtype}-{part}",
                "quantize",
                spec,
                params_of(spec, scale),
                chunk,
                _tie_flags(spec),
                "midpoints between codes, times the scale",
                clauses="ENC-1 ENC-2",
            )
            if dtype == "float32":
                near = around(chunk, (-1, 1)).ravel()
                ask(
                    builder,
                    f"beside-midpoints/{kind}-{part}",
                    "quantize",
                    spec,
                    params_of(spec, scale),
                    near,
                    "DoubleRounding",
                    "one float32 step beside midpoints",
                    clauses="ENC-1 ENC-2",
                )


def _clamped(builder: Builder, kind: str) -> None:
    """Beyond max everything is max: quantize does not depend on the policy of a raw cast."""
    spec = make_spec(kind)
    top = spec.quant_max
    for dtype in DTYPES:
        for scale in (1.0, 0.25):
            beyond = (
                np.array([1, 1.0001, 1.02, 1.035, 1.04, 1.07, 1.15, 1.25, 1.5, 2, 100, 1e9])
                * top
                * scale
            )
            x = cast(
                np.concatenate([beyond, -beyond, [FLOAT32_MAX, -FLOAT32_MAX, _INF, -_INF]]), dtype
            )
            ask(
                builder,
                f"clamped/{kind}-{dtype}-{scale:g}",
                "quantize",
                spec,
                params_of(spec, scale),
                x,
                "Saturation Infinity",
                "values and infinities beyond max times the scale",
                clauses="ENC-5",
            )
    edge = around(f32(top), (-2, -1, 0, 1, 2)).ravel()
    ask(
        builder,
        f"clamped/{kind}-edge",
        "quantize",
        spec,
        params_of(spec, 1.0),
        np.concatenate([edge, -edge]),
        "Saturation",
        "max and the numbers beside it",
        clauses="ENC-5",
    )


def _zeros(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    for dtype in DTYPES:
        small = np.array([0.0, 2.0**-149, 2.0**-133, 2.0**-24, 2.0**-20, 2.0**-13, 2.0**-10])
        x = cast(np.concatenate([small, -small]), dtype)
        ask(
            builder,
            f"zeros/{kind}-{dtype}",
            "quantize",
            spec,
            params_of(spec, 0.5),
            x,
            "NegativeZero Subnormals",
            "zeros and trifles of both signs",
            clauses="ENC-2 ENC-3",
        )


def _nan(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    policy = "nan_in_e2m1" if spec.dtype == "float4_e2m1fn" else "nan_payload"
    for dtype in DTYPES:
        nans = from_bits(*NANS[dtype], dtype=dtype)
        x = np.concatenate([cast(np.array([1.0, -2.0]), dtype), nans, cast(np.array([0.5]), dtype)])
        ask(
            builder,
            f"nan/{kind}-{dtype}",
            "quantize",
            spec,
            params_of(spec, 0.5),
            x,
            "NaNEncoding",
            "NaNs among numbers",
            clauses="ENC-4",
            policy=policy,
        )
    rows = make_rows(spec)
    ask(
        builder,
        f"nan/{kind}-scale",
        "quantize",
        rows,
        params_of(rows, [0.5, np.nan, 2.0], None, 2),
        f32(1, -2, 3, -4, 5, -6).reshape(3, 2),
        "NaNEncoding NaNInRange",
        "a channel whose scale is NaN",
        clauses="ENC-4 Q-8",
        target="weight",
        policy=policy,
    )
    if spec.scale_dtype is None:
        ask(
            builder,
            f"nan/{kind}-infinite-quotient",
            "quantize",
            spec,
            params_of(spec, _INF),
            f32(_INF, 1.0, -_INF, -0.0),
            "NaNEncoding Infinity",
            "infinity over infinity is a NaN with the sign of x",
            clauses="ENC-4 Q-8",
            policy=policy,
        )


def _scales(builder: Builder, kind: str) -> None:
    """The least and greatest scales, and quotients that are subnormal or overflow."""
    spec = make_spec(kind)
    ties = _ties(spec)[:: 1 if _ties(spec).size < 32 else 9]
    scales = {
        "least": 2.0**-127,
        "normal": 2.0**-126,
        "greatest": 2.0**127,
        "large": 2.0**100,
        "small": 2.0**-100,
        "mx": 2.0**-9,
    }
    if spec.scale_dtype is None:
        scales |= {
            "subnormal": 2.0**-149,
            "odd": 5 * 2.0**-149,
            "fraction": 1.7 * 2.0**-127,
            "huge": 3e38,
        }
    for name, scale in scales.items():
        with np.errstate(all="ignore"):
            x = (ties.astype(np.float64) * scale).astype(np.float32)
        x = np.concatenate([x[np.isfinite(x)], f32(0.0, 1.0, -1.0, 1e-40, -1e-40, 3e38, 1e30)])
        flags = "E8M0Extremes Subnormals" if scale < 2.0**-125 else "E8M0Extremes"
        flags = flags if spec.scale_dtype else "Subnormals" if scale < 2.0**-125 else "Rounding"
        ask(
            builder,
            f"scale/{kind}-{name}",
            "quantize",
            spec,
            params_of(spec, np.float32(scale)),
            x,
            flags,
            f"a scale of {scale:g}",
            clauses="Q-8",
        )
    if spec.scale_dtype is None:
        ask(
            builder,
            f"scale/{kind}-infinite",
            "quantize",
            spec,
            params_of(spec, _INF),
            f32(1.0, -1.0, 0.0, -0.0, 3e38, -3e38),
            "Infinity NegativeZero",
            "every number over infinity is a zero with its sign",
            clauses="Q-8",
        )


def _tails(builder: Builder, kind: str, index: int) -> None:
    spec = make_spec(kind)
    ties = _ties(spec)
    for length in sorted(QUICK_TAILS):
        if index % 2 and length % 4 == 1:
            continue
        x = ties[(np.arange(length) * 5 + length) % ties.size] * np.float32(0.25)
        ask(
            builder,
            f"tail/{kind}-length{length}",
            "quantize",
            spec,
            params_of(spec, 0.25),
            x,
            "TailElements " + _tie_flags(spec),
            f"{length} midpoints: every vector width has its tail",
        )


def _division(builder: Builder, kind: str, dtype: str, name: str, rival: Rival, flag: str) -> None:
    """Quotients near midpoints for which the rival gives another code."""
    spec = make_spec(kind)
    found = []
    for scale in np.abs(reals(f"quantize/search/{kind}/{dtype}/{name}", (16,), exponents=(-7, -1))):
        x = around(
            cast(_ties(spec).astype(np.float64) * float(scale), dtype), (-2, -1, 0, 1, 2)
        ).ravel()
        wide = x.astype(np.float32)
        with np.errstate(all="ignore"):
            right = _codes(wide / scale, spec)
            wrong = _codes(rival(wide, scale).astype(np.float32), spec)
        found.append((scale, x[keep(right != wrong, 24)]))
    found.sort(key=lambda entry: -entry[1].size)
    scale, x = found[0]
    if x.size == 0:
        return
    ask(
        builder,
        f"division/{kind}-{dtype}-{name}",
        "quantize",
        spec,
        params_of(spec, scale),
        x,
        flag,
        f"differs if x/scale is computed as {name}",
    )
    width = min(4, found[5][1].size)
    if width == 0:
        return
    rows = make_rows(spec)
    x = np.stack([tensor[keep(np.ones(tensor.size, bool), width)] for _, tensor in found[:6]])
    ask(
        builder,
        f"division/{kind}-{dtype}-{name}-rows",
        "quantize",
        rows,
        params_of(rows, [scale for scale, _ in found[:6]], None, 2),
        x,
        flag,
        f"differs if x/scale is computed as {name}",
        target="weight",
    )


def _codes(quotient: Array, spec: QuantizationSpec) -> Array:
    finite = np.where(np.isnan(quotient), np.float32(0), quotient)
    return encode(np.clip(finite, -spec.quant_max, spec.quant_max).astype(np.float32), spec.dtype)
