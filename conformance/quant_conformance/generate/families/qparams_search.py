"""qparams: ranges found by search, on which nearly right formulas go wrong (QP-3, QP-4, QP-9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.qparams import add_rows
from quant_conformance.generate.floats import DTYPES, cast, step
from quant_conformance.generate.layouts import integer_formats, make_spec
from quant_conformance.generate.rivals import asymmetric_rivals, keep
from quant_conformance.generate.streams import reals
from quant_reference import PerChannel, compute_qparams

Array = NDArray[Any]


def build(builder: Builder) -> None:
    """Add the searched part of the family."""
    for dtype in integer_formats():
        _zero_point_ties(builder, f"{dtype}-asym-zp")
        _rivals(builder, f"{dtype}-asym-zp")


def _zero_point_ties(builder: Builder, kind: str) -> None:
    """Ranges whose lo/scale is k + 1/2 exactly, or a step beside it."""
    spec = make_spec(kind)
    steps = int(spec.quant_max - spec.quant_min)
    k = np.unique(np.linspace(0, steps - 1, min(steps, 32)).astype(int)).astype(np.float64)
    for dtype in DTYPES:
        for shift, exponent in ((0, -3), (1, -3), (-1, -3), (0, 2)):
            lo = cast(-(k + 0.5) * 2.0**exponent, dtype)
            hi = cast((steps - k - 0.5) * 2.0**exponent, dtype)
            rows = np.stack([step(lo, shift), hi], axis=1)
            add_rows(
                builder,
                f"zero-point/{kind}-{dtype}-{shift:+d}-{exponent}",
                rows,
                kind,
                "QP-3 QP-4 QP-9",
                "ZeroPointRounding ZeroPointOffByOne",
                "lo/scale on ties and beside them",
            )
    negative = cast(np.array([1.0, 1.1, 0.3, 5.7, 100.0, 1 / 3, 0.01, 77.7]), "bfloat16")
    tiny = cast(np.linspace(1.0, 2.6, 17) * steps * 2.0**-23, "float16")
    for sizes, flags, comment in (
        (negative, "OneSidedRange QParamsDtype", "hi is 0: the last zero point, or one less"),
        (tiny, "ZeroPointOffByOne LeastScale", "lo/scale comes out beyond the last code"),
    ):
        add_rows(
            builder,
            f"zero-point/{kind}-{sizes.dtype.name}-one-sided",
            np.stack([-sizes, -sizes / sizes.dtype.type(2)], axis=1),
            kind,
            "QP-3 QP-4 QP-9",
            flags,
            comment,
        )


def _rivals(builder: Builder, kind: str) -> None:
    for dtype in DTYPES:
        for name, flag, rows in telling_ranges(kind, dtype):
            add_rows(
                builder,
                f"arithmetic/{kind}-{dtype}-{name}",
                rows,
                kind,
                "QP-3 QP-4 QP-9",
                flag if dtype == "float32" else "QParamsDtype",
                f"differs if computed as {name}",
            )


def telling_ranges(kind: str, dtype: str) -> Iterator[tuple[str, str, Array]]:
    """Yield (name, flag, rows of lo and hi) on which a rearranged formula gives something else."""
    spec = make_spec(kind, PerChannel(0))
    drawn = np.abs(reals(f"qparams/rivals/{kind}/{dtype}", (2, 6000), dtype, exponents=(-2, 2)))
    steps = int(spec.quant_max - spec.quant_min)
    drawn[0, 3000:] = _near_ties(drawn[:, 3000:], steps, dtype)
    lo, hi = -drawn[0], drawn[1]
    params = compute_qparams(lo[:, None], hi[:, None], spec)
    if params.zero_point is None:
        raise TypeError("an asymmetric spec has zero points")
    right = np.stack([params.scale.ravel(), params.zero_point.ravel()]).astype(np.float64)
    for name, (rival, flag) in asymmetric_rivals(spec).items():
        if dtype != "float32" and name not in ("float64", "zero-from-hi"):
            continue
        wrong = rival(lo.astype(np.float32), hi.astype(np.float32))
        for what, part in (("scale", 0), ("zero", 1)):
            chosen = keep(wrong[part] != right[part], 16)
            # A rival for the zero point has the right scale but for its dtype.
            if chosen.size and not (what == "scale" and name.startswith("zero-")):
                yield f"{name}-{what}", flag, np.stack([lo[chosen], hi[chosen]], axis=1)


def _near_ties(drawn: Array, steps: int, dtype: str) -> Array:
    """Lower bounds, given upper ones, that make lo/scale come out beside k + 1/2."""
    hi = drawn[1].astype(np.float64)
    k = np.floor(drawn[0].astype(np.float64) * 1e4) % max(steps, 1)
    share = (k + 0.5) / steps  # lo = -share * (hi - lo)
    return cast(hi * share / (1 - share), dtype)
