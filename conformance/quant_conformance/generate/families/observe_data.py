"""observe: orders of batches, NaN and infinities, fixed bounds, awkward ranges (OBS-1 to OBS-5)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.observe import KINDS, add, spec_of
from quant_conformance.generate.families.qparams_search import telling_ranges
from quant_conformance.generate.floats import DTYPES, cast, f32, step
from quant_conformance.generate.streams import reals
from quant_reference import PerChannel, PerTensor

Array = NDArray[Any]

_TYPICAL = (
    "int8-sym-zp",
    "uint8-asym-zp",
    "int4-asym-minval",
    "float8_e4m3fn-scale32",
    "float4_e2m1fn-e8m0",
)
_INF, _NAN = float("inf"), float("nan")


def build(builder: Builder) -> None:
    """Add the part of the family."""
    for kind in KINDS:
        for spec_kind in ("uint8-asym-zp", "int8-asym-zp"):
            _searched(builder, kind, spec_kind)
    for index, (kind, spec_kind) in enumerate((k, s) for k in KINDS for s in _TYPICAL):
        _orders(builder, kind, spec_kind, DTYPES[index % 3])
        _not_finite(builder, kind, spec_kind, DTYPES[(index + 1) % 3])
        for dtype in DTYPES if kind == "static" else DTYPES[index % 3 :][:1]:
            _awkward(builder, kind, spec_kind, dtype)
        if kind != "dynamic":
            _fixed(builder, kind, spec_kind, index)


def _orders(builder: Builder, kind: str, spec_kind: str, dtype: str) -> None:
    spec = spec_of(kind, spec_kind, PerTensor())
    up, down = [-0.5, 1.0, 0.25], [-2.0, 0.125, 0.75]
    sequences = {
        "single": ([up], "ObserverOrder"),
        "grow": ([up, [v * 3 for v in up], [v * 9 for v in down]], "ObserverOrder"),
        "shrink": ([[v * 9 for v in down], [v * 3 for v in up], up], "ObserverOrder"),
        "sides": ([[1.0, 2.0], [-1.0, -4.0], [0.5, 3.0]], "OneSidedRange ObserverOrder"),
        "above-zero": ([[3.0, 4.0], [2.0, 5.0]], "OneSidedRange"),
        "below-zero": ([[-3.0, -4.0], [-2.0, -5.0]], "OneSidedRange"),
        "zeros-first": ([[0.0, 0.0], up, down], "ObserverZeroRange ObserverOrder"),
        "zeros-last": ([up, down, [0.0, -0.0]], "ObserverZeroRange ObserverOrder"),
        "zeros-only": ([[0.0, 0.0], [-0.0, 0.0]], "ObserverZeroRange"),
        "same": ([up, up, up, up], "MovingAverage"),
        "lengths": ([up, [4.0], [0.1, -0.2, 0.3, -8.0, 0.5]], "EmptyAndScalar ObserverOrder"),
    }  # fmt: skip
    for name, (values, flags) in sequences.items():
        if kind in ("static", "dynamic") and name in ("grow", "same", "zeros-only", "below-zero"):
            continue
        batches = [cast(np.array(batch), dtype) for batch in values]
        constant = 0.25 if kind == "moving_average" else None
        add(
            builder,
            f"order/{kind}/{spec_kind}-{name}-{dtype}",
            kind,
            batches,
            spec,
            "RANGE-1",
            flags,
            f"batches: {name}",
            constant=constant,
        )


def _not_finite(builder: Builder, kind: str, spec_kind: str, dtype: str) -> None:
    """A NaN or an infinity in the first, a middle or the last batch, in one of three channels."""
    good = np.array([[1.0, -0.5], [2.0, -2.0], [-1.0, 0.25]])
    e8m0 = spec_kind.endswith("e8m0")
    for name, wild in (("nan", _NAN), ("infinity", _INF), ("minus-infinity", -_INF)):
        for place in range(3) if wild != _INF else (0, 2):
            batches = [good.copy(), good * 2, good / 4]
            batches[place][1, place % 2] = wild
            touched = place == 2 or kind in ("moving_average", "global_minmax")
            add(
                builder,
                f"not-finite/{kind}/{spec_kind}-{name}-in-{place}-{dtype}",
                kind,
                [cast(b, dtype) for b in batches],
                spec_of(kind, spec_kind, PerChannel(0)),
                "OBS-5 RANGE-4 QP-8",
                "NaNInRange" if name == "nan" else "Infinity NaNInRange",
                f"{name} in batch {place}: kept in a running range, gone from the others",
                "activation",
                0.1 if kind == "moving_average" else None,
                policy="e8m0_nonfinite_range" if e8m0 and touched else None,
                full=place == 1,
            )


def _constant(kind: str) -> float | None:
    return 0.1 if kind == "moving_average" else None


def _fixed(builder: Builder, kind: str, spec_kind: str, index: int) -> None:
    bounds: dict[str, tuple[float | None, float | None]] = {
        "lo": (-1.7, None),
        "hi": (None, 6.3),
        "both": _drifting(0.1),
        "zero-lo": (0.0, None),
        "zero-hi": (None, 0.0),
        "nan-lo": (-1.7, None),
    }
    for offset, (name, pair) in enumerate(bounds.items()):
        dtype = DTYPES[(index + offset) % 3]
        label = f"observe/fixed/{kind}/{spec_kind}"
        batches = [reals(f"{label}/{i}", (2, 3), dtype, exponents=(-1, 3)) for i in range(3)]
        flags, policy = "FixedRange", None
        if name == "both":
            # Not even a NaN moves a range that is fixed.
            batches[1] = np.full_like(batches[1], np.nan)
        if name == "nan-lo":
            batches[2][0, 1] = np.nan
            flags = "FixedRange NaNInRange"
            policy = "e8m0_nonfinite_range" if spec_kind.endswith("e8m0") else None
        spec = spec_of(kind, spec_kind, PerTensor(), float_range=pair)
        add(
            builder,
            f"fixed/{kind}/{spec_kind}-{name}-{dtype}",
            kind,
            batches,
            spec,
            "RANGE-2",
            flags,
            f"float_range {pair} through three batches",
            constant=_constant(kind),
            policy=policy,
        )


def _drifting(constant: float) -> tuple[float, float]:
    """Bounds that an average of equal bounds would move in their last bits."""
    take, keep = f32(constant), f32(1.0 - constant)
    drawn = np.abs(reals("observe/drifting", (64,), exponents=(0, 2)))
    moving = drawn[drawn * take + drawn * keep != drawn]
    return -float(moving[0]), float(moving[1])


def _searched(builder: Builder, kind: str, spec_kind: str) -> None:
    """Ranges on which rearranged qparams differ, through an observer; every few of each sort."""
    found = [rows[::4] for _, _, rows in telling_ranges(spec_kind, "float32")]
    add(
        builder,
        f"awkward/{kind}/{spec_kind}-searched",
        kind,
        [np.concatenate(found)],
        spec_of(kind, spec_kind, PerChannel(0)),
        "QP-3 QP-4 QP-9",
        "QParamsArithmetic ZeroPointRounding",
        "ranges on which rearranged formulas give other qparams",
        constant=_constant(kind),
    )
    # Scales that are subnormal in float16 are rounded so far down that lo/scale overshoots.
    lo = cast(-np.linspace(1.0, 2.6, 17) * 255 * 2.0**-23, "float16")
    add(
        builder,
        f"awkward/{kind}/{spec_kind}-clamped",
        kind,
        [np.stack([lo, lo / np.float16(2)], axis=1)],
        spec_of(kind, spec_kind, PerChannel(0)),
        "QP-1 QP-4 QP-9",
        "ZeroPointOffByOne OneSidedRange",
        "hi is 0 and lo/scale comes out beyond the last code: the zero point is clamped",
        constant=_constant(kind),
    )


def _below(power: float, dtype: str) -> float:
    """The greatest number below a power of two: where a logarithm may round up."""
    return float(step(cast(np.array([power]), dtype), -1)[0])


def _awkward(builder: Builder, kind: str, spec_kind: str, dtype: str) -> None:
    """Ranges on which qparams go wrong, by way of an observer."""
    tiny, half = 2.0**-23, 0.5 * 2.0**-3
    rows = np.array([
        [0.0, 0.0], [tiny * 127.5, 0.0], [0.0, -tiny * 200], [tiny * 260, -tiny],
        [1e-30, -1e-31], [-1.1, -0.1], [-0.3, -0.3], [-77.7, 0.0], [-1 / 3, 0.0],
        [-half * 3, 63.75 - half * 3], [-half * 5, 63.75 - half * 5], [1.5, -1.0],
        [1.7499999, 0.0], [-_below(2.0**14, dtype), 1.0], [6.0, -1.0], [2.0**-20, -(2.0**-24)],
    ])  # fmt: skip
    add(
        builder,
        f"awkward/{kind}/{spec_kind}-{dtype}",
        kind,
        [cast(rows, dtype)],
        spec_of(kind, spec_kind, PerChannel(0)),
        "QP-1 QP-9",
        "LeastScale ObserverZeroRange OneSidedRange",
        "tiny, one-sided and tied ranges, one batch",
        "activation",
        _constant(kind),
    )
    greatest = 65504.0 if dtype == "float16" else 3e38
    batches = [cast(np.array([1.0, -1.0]), dtype), cast(np.array([greatest, -greatest]), dtype)]
    add(
        builder,
        f"awkward/{kind}/{spec_kind}-huge-{dtype}",
        kind,
        batches,
        spec_of(kind, spec_kind, PerTensor()),
        "QP-8",
        "Infinity QParamsDtype",
        "hi - lo may overflow the dtype of the batches",
        constant=_constant(kind),
    )
