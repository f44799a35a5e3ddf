"""qparams with e8m0 scales (QP-7, QP-8)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.qparams import add, add_rows
from quant_conformance.generate.floats import DTYPES, FLOAT32_MAX, cast, f32, step
from quant_conformance.generate.layouts import make_spec, spec_kinds
from quant_reference import PerBlock

Array = NDArray[Any]

_INF, _NAN = float("inf"), float("nan")


def build(builder: Builder) -> None:
    """Add the part of the family with e8m0 scales."""
    for kind, members in spec_kinds().items():
        if members.get("scale_dtype"):
            _exponents(builder, kind)
            _fractions(builder, kind)
            _extremes(builder, kind)
            _data(builder, kind)
            _fixed(builder, kind)
            _not_finite(builder, kind)


def _two_sided(sizes: Array) -> Array:
    """Rows whose greatest magnitude is given, on alternating sides, beside something smaller."""
    side = np.where(np.arange(sizes.size) % 2 == 0, 1, -1).astype(sizes.dtype)
    return np.stack([sizes * side, sizes * -side / sizes.dtype.type(2)], axis=1)


def _exponents(builder: Builder, kind: str) -> None:
    """Every exponent of float32, at 1, just under 2, and where ceil and round go up."""
    for part, exponents in enumerate(np.array_split(np.arange(-127, 128), 16)):
        sizes = np.ldexp(
            f32(1.0, 1.4142135, 1.5, 1.75, 1.9999999)[None, :], exponents[:, None]
        ).ravel()
        edge = part in (0, 15)
        add_rows(
            builder,
            f"e8m0/{kind}-exponents{part}",
            _two_sided(sizes.astype(np.float32)),
            kind,
            "QP-7",
            "E8M0Scale" + (" E8M0Extremes" if edge else ""),
            "max_abs over a stretch of exponents: always the floor",
            full=not edge and part % 4 != 0,
        )


def _fractions(builder: Builder, kind: str) -> None:
    """One float step around the fractions at which some rule changes its mind."""
    fractions = f32(1.0, 1.25, 1.5, 1.75, 1.875, 1.9375)
    for dtype in DTYPES:
        base = cast(fractions, dtype)
        sizes = np.concatenate([step(base, -1), base, step(base, 1)])
        for exponent in (-3, 0, 5):
            scaled = (sizes.astype(np.float32) * np.float32(2.0**exponent)).astype(sizes.dtype)
            add_rows(
                builder,
                f"e8m0/{kind}-fractions-{dtype}-{exponent}",
                _two_sided(scaled),
                kind,
                "QP-7",
                "E8M0Scale",
                "at and beside powers of two, 1.5, 1.75: floor, never ceil or round",
            )


def _extremes(builder: Builder, kind: str) -> None:
    tiny = f32(
        0, 2**-149, 2**-148, 2**-130, 2**-127, 2**-126, 2**-125, 2**-124, 2**-123, 1.5 * 2**-126
    )
    large = f32(FLOAT32_MAX, 2.0**127, 2.0**126, 1.5 * 2.0**127, 1e38)
    for name, sizes, flags in (
        ("tiny", tiny, "E8M0Extremes Subnormals ObserverZeroRange"),
        ("large", large, "E8M0Extremes"),
    ):
        add_rows(
            builder,
            f"e8m0/{kind}-{name}",
            _two_sided(sizes),
            kind,
            "QP-7",
            flags,
            "the least scale is 2**-126; zero and subnormals read as exponent -127",
        )
        add(
            builder,
            f"e8m0/{kind}-{name}-tensor",
            sizes,
            make_spec(kind),
            "QP-7",
            flags,
            "one block from tiny to large",
        )
    add_rows(
        builder,
        f"e8m0/{kind}-bfloat16-extremes",
        _two_sided(cast(np.concatenate([tiny, large]), "bfloat16")),
        kind,
        "QP-7",
        "E8M0Extremes Subnormals",
        "bfloat16 has the exponents of float32",
    )
    half = cast(f32(2**-24, 2**-23, 2**-15, 2**-14, 3 * 2**-24, 65504, 32768, 0), "float16")
    add_rows(
        builder,
        f"e8m0/{kind}-float16-extremes",
        _two_sided(half),
        kind,
        "QP-7",
        "E8M0Extremes Subnormals",
        "a subnormal float16 is a normal float32",
    )


def _data(builder: Builder, kind: str) -> None:
    rows = np.array(
        [
            [0.0, 0.0],
            [-0.0, 0.0],
            [1.5, 1.5],
            [-6.0, 5.0],
            [448.0, -1.0],
            [3.0, 0.1],
            [-57344.0, 2.0],
            [0.3, -0.3],
        ]
    )
    for dtype in DTYPES:
        add_rows(
            builder,
            f"e8m0/{kind}-data-{dtype}",
            cast(rows, dtype),
            kind,
            "QP-7 QP-4",
            "E8M0Scale ObserverZeroRange OneSidedRange",
            "zeros, one-sided and lopsided channels",
        )
    # The layout of MX: blocks of 32 along the last axis.
    sizes = np.ldexp(1.0, (np.arange(128) * 5) % 11 - 5) * (1 + (np.arange(128) % 8) / 8)
    x = cast(sizes.reshape(2, 64) * np.where(np.arange(64) % 3 == 0, -1, 1), "float32")
    spec = make_spec(kind, PerBlock(1, 32))
    for target in ("weight", "activation"):
        add(
            builder,
            f"e8m0/{kind}-blocks32-{target}",
            x,
            spec,
            "QP-7 GRAN-3 GRAN-4",
            "E8M0Scale InterleavedBlocks",
            "blocks of 32 along the last axis",
            target,
        )


def _fixed(builder: Builder, kind: str) -> None:
    x = cast(f32(1.0, -2.0, 0.5, 9.0), "float32")
    for name, pair in (("lo", (-3.0, None)), ("hi", (None, 6.0)), ("both", (-1.0, 12.0))):
        add(
            builder,
            f"e8m0/{kind}-fixed-{name}",
            x,
            make_spec(kind, float_range=pair),
            "QP-7 RANGE-2",
            "FixedRange",
            f"float_range {pair}",
        )


def _not_finite(builder: Builder, kind: str) -> None:
    rows = np.array(
        [[1.0, 2.0, -3.0], [_NAN, 1.0, -2.0], [1.0, -_INF, 2.0], [_INF, 0.5, 0.0], [7.0, 0.1, 0.0]]
    )
    for dtype in DTYPES:
        add_rows(
            builder,
            f"e8m0/{kind}-not-finite-{dtype}",
            cast(rows, dtype),
            kind,
            "QP-8 QP-7",
            "NaNInRange Infinity",
            "channels with NaN or an infinity, among others that have none",
            policy="e8m0_nonfinite_range",
        )
    for name, values in (("nan", [1.0, _NAN]), ("infinity", [1.0, _INF]), ("minus", [-_INF, 1.0])):
        add(
            builder,
            f"e8m0/{kind}-{name}",
            cast(np.array(values), "float32"),
            make_spec(kind),
            "QP-8 QP-7",
            "NaNInRange" if name == "nan" else "Infinity",
            f"a tensor with {name}",
            policy="e8m0_nonfinite_range",
        )
