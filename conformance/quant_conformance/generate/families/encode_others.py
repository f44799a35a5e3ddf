"""encode: the scale format and the integer formats (ENC-6, ENC-7, FMT-1, FMT-3)."""

from __future__ import annotations

import numpy as np

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.encode import add
from quant_conformance.generate.families.encode_special import NANS
from quant_conformance.generate.floats import (
    FLOAT32_MAX,
    FLOAT32_TINY,
    around,
    f32,
    from_bits,
)
from quant_conformance.generate.layouts import integer_formats
from quant_conformance.generate.streams import reals
from quant_reference import get_format


def build(builder: Builder) -> None:
    """Add the part of the family."""
    _scale_format(builder)
    for name in integer_formats():
        _integers(builder, name)


def _scale_format(builder: Builder) -> None:
    name = "float8_e8m0fnu"
    powers = np.ldexp(np.float32(1), np.arange(-127, 128)).astype(np.float32)
    for part, chunk in enumerate(np.array_split(powers, 16)):
        flags = (
            "E8M0Extremes Subnormals"
            if part == 0
            else "E8M0Extremes"
            if part == 15
            else "E8M0Scale"
        )
        add(builder, f"powers{part}", name, chunk, "ENC-6 FMT-3", flags, "powers of two")
    add(
        builder,
        "extremes",
        name,
        powers[[0, 1, 254, 253, 127, 0]],
        "ENC-6 FMT-3",
        "E8M0Extremes Subnormals",
        "2**-127 is a subnormal float32 and has a code",
    )
    add(builder, "nan", name, from_bits(*NANS), "ENC-6 FMT-3", "NaNEncoding", "every NaN is 255")
    add(
        builder,
        "nan-among-powers",
        name,
        np.concatenate([powers[:3], from_bits(0x7FC00000), powers[200:]]),
        "ENC-6 FMT-3",
        "NaNEncoding",
        "a NaN among powers of two",
    )


def _integers(builder: Builder, name: str) -> None:
    fmt = get_format(name)
    low, high = int(fmt.quant_min), int(fmt.quant_max)
    halves = np.arange(low - 3, high + 3, dtype=np.float32) + np.float32(0.5)
    clamp = "Int2Clamp" if fmt.bits == 2 else "Saturation"
    for part, chunk in enumerate(np.array_split(halves, max(1, halves.size // 64))):
        add(builder, f"ties{part}", name, chunk, "ENC-7 FMT-1", f"TiesToEven {clamp}", "ties")
        add(
            builder,
            f"beside-ties{part}",
            name,
            around(chunk, (-1, 1)).ravel(),
            "ENC-7 FMT-1",
            "DoubleRounding",
            "one float32 step beside ties",
        )
    whole = np.arange(low - 2, high + 3, dtype=np.float32)
    add(
        builder,
        "whole",
        name,
        whole,
        "ENC-7 FMT-1",
        clamp,
        "whole numbers in the range and beside it",
    )
    huge = f32(
        127.5,
        128,
        255,
        256,
        257,
        32768,
        65536,
        2**31,
        2**31 + 256,
        2**32,
        3e9,
        2**63,
        2**64,
        1e19,
        1e38,
        FLOAT32_MAX,
        np.inf,
    )
    add(
        builder,
        "huge",
        name,
        np.concatenate([huge, -huge]),
        "ENC-7",
        "CastBeforeClamp Infinity",
        "numbers that no integer type holds, and infinities, saturate",
    )
    trifles = f32(0.0, FLOAT32_TINY, 1e-30, 0.25, 0.49999997, 0.5)
    add(
        builder,
        "trifles",
        name,
        np.concatenate([trifles, -trifles]),
        "ENC-7",
        "Rounding",
        "zeros of both signs and everything up to a half are 0",
    )
    x = reals(f"encode/{name}/random", (96,), exponents=(-2, fmt.bits))
    add(builder, "random", name, x, "ENC-7", "Rounding", "random numbers, some beyond the range")
