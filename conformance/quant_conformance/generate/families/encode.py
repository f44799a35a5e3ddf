"""encode: numbers to codes (ENC-1 to ENC-7, FMT-1 to FMT-3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.floats import (
    FLOAT32_TINY,
    around,
    f32,
    finite_codes,
    midpoints,
    step,
)
from quant_conformance.generate.layouts import QUICK_TAILS, float_formats
from quant_conformance.generate.streams import reals, words
from quant_reference import decode, get_format

Array = NDArray[Any]


def build(builder: Builder) -> None:
    """Add the family."""
    for name in float_formats():
        _codes(builder, name)
        _midpoints(builder, name)
        _double_rounding(builder, name)
        _small(builder, name)
        _tails(builder, name)
        _random(builder, name)


def add(
    builder: Builder,
    case: str,
    name: str,
    x: Array,
    clauses: str,
    flags: str,
    comment: str,
    **more: Any,
) -> None:
    """Add one case of the family."""
    builder.add(
        f"encode/{name}/{case}",
        "encode",
        clauses=clauses,
        flags=flags,
        comment=comment,
        arguments={"format": name},
        inputs={"x": x},
        **more,
    )


def _binades(name: str) -> dict[int, Array]:
    """Non-negative finite codes of a float format by exponent field."""
    fmt, codes = get_format(name), finite_codes(name, negative=False)
    fields = codes >> fmt.mantissa_bits
    return {int(field): codes[fields == field] for field in np.unique(fields)}


def _codes(builder: Builder, name: str) -> None:
    values = decode(finite_codes(name), name)
    add(
        builder,
        "every-value",
        name,
        values,
        "ENC-1 ENC-2 ENC-3 FMT-2",
        "Rounding Subnormals NegativeZero",
        "every finite value of the format encodes to its own code",
    )
    for field, codes in _binades(name).items():
        x = np.concatenate(
            [around(decode(codes, name)).ravel(), -around(decode(codes, name)).ravel()]
        )
        clauses = "ENC-1 ENC-2 ENC-3 FMT-2" if field == 0 else "ENC-1 FMT-2"
        add(
            builder,
            f"beside-values-binade{field}",
            name,
            np.clip(x, -greatest(name), greatest(name)),
            clauses,
            "Rounding",
            "each value and its float32 neighbours encode to the same code",
        )


def greatest(name: str) -> float:
    """Return the greatest finite value of a format."""
    return get_format(name).quant_max


def _midpoints(builder: Builder, name: str) -> None:
    halves = midpoints(name)
    fields = finite_codes(name, negative=False)[:-1] >> get_format(name).mantissa_bits
    for field in np.unique(fields):
        chosen = halves[fields == field]
        for sign, word in ((1, "plus"), (-1, "minus")):
            flags = "TiesToEven" + (" Subnormals NegativeZero" if field == 0 else "")
            flags += " E2M1Ties" if name == "float4_e2m1fn" else ""
            clauses = "ENC-1 ENC-2" + (" ENC-3" if sign < 0 else "") if field == 0 else "ENC-1"
            add(
                builder,
                f"midpoints-binade{field}-{word}",
                name,
                np.float32(sign) * around(chosen).ravel(),
                clauses,
                flags,
                "each midpoint between two codes and its float32 neighbours",
            )


def _double_rounding(builder: Builder, name: str) -> None:
    halves = midpoints(name)
    # Distances that float16, bfloat16 and tf32 round away: the second rounding then sees a tie.
    for bits, through in ((1, "float64"), (12, "float16"), (13, "tf32"), (15, "bfloat16")):
        near = [step(halves, 2**bits - 1), step(halves, -(2**bits) + 1)]
        x = np.concatenate([*near, *(-v for v in near)])
        for part, chunk in enumerate(np.array_split(x, max(1, x.size // 128))):
            add(
                builder,
                f"beside-midpoints-{through}-{part}",
                name,
                chunk,
                "ENC-1",
                "DoubleRounding",
                f"so near to midpoints that {through} may not tell them apart",
            )


def _small(builder: Builder, name: str) -> None:
    least = float(decode(np.array([1], np.uint8), name)[0])
    fmt = get_format(name)
    tiny = f32(0.0, FLOAT32_TINY, 2**-140, 2**-127, 2**-126, 2**-40, least / 4, least / 2)
    add(
        builder,
        "tiny-plus",
        name,
        np.concatenate([tiny, step(tiny[1:], -1)]),
        "ENC-2",
        "Subnormals",
        "everything up to half the least subnormal rounds to zero",
    )
    add(
        builder,
        "tiny-minus",
        name,
        -np.concatenate([tiny, step(tiny[1:], -1)]),
        "ENC-2 ENC-3",
        "Subnormals NegativeZero",
        "small negative numbers round to -0, not to +0 or NaN",
    )
    add(
        builder,
        "zeros",
        name,
        f32(0.0, -0.0, -0.0, 0.0, -0.0),
        "ENC-3",
        "NegativeZero",
        "the sign of zero survives",
    )
    count = 2**fmt.mantissa_bits
    grid = np.arange(4 * count + 1, dtype=np.float64) * (least / 4)
    add(
        builder,
        "subnormal-quarters",
        name,
        np.concatenate([grid, -grid]).astype(np.float32),
        "ENC-1 ENC-2 ENC-3",
        "Subnormals TiesToEven",
        "quarters of the subnormal step, over the whole subnormal range",
    )


def _tails(builder: Builder, name: str) -> None:
    halves = midpoints(name)
    # Every length for one format; the others share its kernels where they share anything.
    for length in range(1, 68) if name == "float8_e4m3fn" else sorted(QUICK_TAILS):
        # Every element is a tie, so whichever part of a kernel takes it is seen.
        x = (
            halves[(np.arange(length) * 5 + length) % halves.size]
            * f32(1, -1)[np.arange(length) % 2]
        )
        add(
            builder,
            f"tail-length{length}",
            name,
            x,
            "ENC-1",
            "TailElements TiesToEven",
            f"{length} ties: every vector width has its tail",
            full=length not in QUICK_TAILS,
        )


def _random(builder: Builder, name: str) -> None:
    for part in range(4):
        x = words(f"encode/{name}/random{part}", 128).view(np.float32)
        x = np.where(
            np.abs(x) <= np.float32(greatest(name)),
            x,
            reals(f"encode/{name}/in{part}", (128,), exponents=(-9, 2)),
        )
        add(
            builder,
            f"random{part}",
            name,
            x,
            "ENC-1 ENC-2 ENC-3",
            "Rounding",
            "random bit patterns in the format's range, mostly tiny ones",
        )
        bits = get_format(name)
        low = 1 - bits.bias - bits.mantissa_bits - 1
        spread = reals(f"encode/{name}/spread{part}", (128,), exponents=(low, bits.max_pow2 - 1))
        add(
            builder,
            f"spread{part}",
            name,
            spread,
            "ENC-1 ENC-2",
            "Rounding",
            "random numbers over all exponents of the format",
        )
