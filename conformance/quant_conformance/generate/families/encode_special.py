"""encode: beyond the greatest value, NaN, and shapes (ENC-1, ENC-4, ENC-5)."""

from __future__ import annotations

import numpy as np

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.encode import add, greatest
from quant_conformance.generate.floats import FLOAT32_MAX, around, f32, from_bits, step
from quant_conformance.generate.layouts import float_formats
from quant_conformance.generate.streams import reals

_SHAPES = {"scalar": (), "single": (1,), "matrix": (3, 5), "cube": (2, 1, 7)}


def build(builder: Builder) -> None:
    """Add the part of the family."""
    for name in float_formats():
        _near_max(builder, name)
        _nan(builder, name)
        _shapes(builder, name)
    for name in ("float8_e4m3fn", "float8_e5m2"):
        _overflow(builder, name)


def _near_max(builder: Builder, name: str) -> None:
    largest = greatest(name)
    beyond = {"float8_e4m3fn": 464.0, "float8_e5m2": float(step(f32(61440), -1)[0])}
    if name == "float4_e2m1fn":
        x = f32(
            5,
            5.5,
            6,
            6.0000005,
            6.9999995,
            7,
            7.0000005,
            8,
            12,
            1e3,
            65504,
            1e30,
            FLOAT32_MAX,
            np.inf,
        )
        comment = "beyond 6 there is nothing: neither infinity nor NaN"
    else:
        x = np.concatenate(
            [
                around(f32(largest)).ravel(),
                f32(largest * 1.01, largest * 1.03),
                step(f32(beyond[name]), -1),
                f32(beyond[name]),
            ]
        )
        comment = "beyond max, but not beyond the midpoint to the next value"
    add(builder, "near-max", name, np.concatenate([x, -x]), "ENC-5", "Saturation", comment)


def _overflow(builder: Builder, name: str) -> None:
    e4m3 = name == "float8_e4m3fn"
    edge = step(f32(464), [1, 2, 64]) if e4m3 else step(f32(61440), [0, 1, 64])
    finite = f32(465, 472, 480, 496, 512, 513, 672, 57344, 65504, 448512, 1e9, 1e30, FLOAT32_MAX)
    finite = (
        finite if e4m3 else f32(61441, 65504, 65520, 65536, 98304, 131072, 1e9, 1e30, FLOAT32_MAX)
    )
    for case, x, flags, comment in (
        ("overflow-edge", edge, "Overflow", "the least values that overflow"),
        (
            "overflow-finite",
            finite,
            "Overflow Saturation",
            "finite values of every size beyond max",
        ),
        (
            "overflow-all",
            np.concatenate([f32(1, 300), edge, finite, f32(np.inf)]),
            "Overflow Infinity",
            "ordinary values, finite overflow and infinities in one tensor",
        ),
        ("overflow-infinity", f32(np.inf, 1.0, np.inf), "Overflow Infinity", "infinities"),
    ):
        add(builder, f"{case}-plus", name, x, "ENC-5", flags, comment, policy="overflow")
        add(builder, f"{case}-minus", name, -x, "ENC-5", flags, comment, policy="overflow")


NANS = (0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FA00000)


def _nan(builder: Builder, name: str) -> None:
    policy = "nan_in_e2m1" if name == "float4_e2m1fn" else "nan_payload"
    nans = from_bits(*NANS)
    for case, x, comment in (
        ("nan", nans[:1], "a NaN"),
        ("nan-minus", nans[1:2], "a NaN with its sign bit set"),
        ("nan-payloads", nans, "NaNs of every sign and payload, quiet and signalling"),
        (
            "nan-among-numbers",
            np.concatenate([f32(1, -2, 0.5), nans[:2], f32(-0.0, 3, 0.25)]),
            "NaNs among numbers leave the numbers alone",
        ),
    ):
        add(builder, case, name, x, "ENC-4", "NaNEncoding", comment, policy=policy)


def _shapes(builder: Builder, name: str) -> None:
    for word, shape in _SHAPES.items():
        x = reals(f"encode/{name}/{word}", shape, exponents=(-3, 1))
        add(
            builder,
            f"shape-{word}",
            name,
            x,
            "ENC-1",
            "EmptyAndScalar",
            f"a tensor of shape {shape}",
        )
    for word, shape in {"empty": (0,), "empty-matrix": (3, 0)}.items():
        add(
            builder,
            f"shape-{word}",
            name,
            np.zeros(shape, np.float32),
            "ENC-1",
            "EmptyAndScalar",
            "nothing in, nothing out",
        )
