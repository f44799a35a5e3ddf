"""range: the interval of each block (RANGE-1 to RANGE-5, GRAN-1 to GRAN-6)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.tensor_cases import add_case
from quant_conformance.generate.floats import DTYPES, FLOAT32_MAX, FLOAT32_TINY, cast, f32
from quant_conformance.generate.layouts import ALL_LAYOUTS, layout_variants
from quant_conformance.generate.streams import reals
from quant_reference import PerChannel, QuantizationSpec

Array = NDArray[Any]

_TENSOR = QuantizationSpec()
_ROWS = QuantizationSpec(granularity=PerChannel(0))
_NAN, _INF = float("nan"), float("inf")


_add = partial(add_case, operation="value_range")


def build(builder: Builder) -> None:
    """Add the family."""
    _layouts(builder)
    for dtype in DTYPES:
        _shapes_of_data(builder, dtype)
        _fixed(builder, dtype)
        _not_finite(builder, dtype)


def _layouts(builder: Builder) -> None:
    for index, (name, granularity, clause, flags) in enumerate(layout_variants()):
        layout, dtype = ALL_LAYOUTS[name.split("-", 1)[0]], DTYPES[index % 3]
        x = reals(f"range/{name}", layout.shape, dtype)
        spec = QuantizationSpec(granularity=granularity)
        _add(
            builder,
            f"layout/{name}",
            x,
            spec,
            f"{clause} RANGE-1 RANGE-3",
            " ".join(flags),
            f"{dtype}{list(layout.shape)}, every block its own range",
            layout.target,
        )


def _shapes_of_data(builder: Builder, dtype: str) -> None:
    one = "OneSidedRange"
    tensors = {
        "positive": ([0.5, 3.25, 1.0, 2.0], one, "nothing negative: lo is 0"),
        "negative": ([-0.5, -3.25, -1.0, -2.0], one, "nothing positive: hi is 0"),
        "both": ([-0.75, 3.25, -1.0, 2.0], one, "both signs"),
        "zeros": ([0.0, 0.0, 0.0], "ObserverZeroRange", "an empty interval"),
        "minus-zeros": ([-0.0, -0.0], "ObserverZeroRange NegativeZero", "negative zeros"),
        "equal": ([2.5, 2.5, 2.5, 2.5], "ObserverZeroRange OneSidedRange", "all equal, positive"),
        "equal-minus": ([-2.5] * 4, "ObserverZeroRange OneSidedRange", "all equal, negative"),
        "single": ([-7.0], one, "one element"),
        "least-first": ([-5.0, 1.0, 2.0, 4.0, 3.0], "NaNInRange", "the least element comes first"),
        "least-last": ([5.0, 1.0, 2.0, 4.0, -3.0], "NaNInRange", "the least element comes last"),
        "tiny": ([2.0**-24, -(2.0**-23), 0.0], "Subnormals", "tiny numbers, subnormal in float16"),
        "huge": ([65504.0, -65504.0, 1.0], "QParamsDtype", "the greatest float16 number"),
    }
    for name, (values, flags, comment) in tensors.items():
        x = cast(np.array(values), dtype)
        _add(builder, f"data/{name}-{dtype}", x, _TENSOR, "RANGE-1 RANGE-3", flags, comment)
    x = cast(np.array([[1.0, 2.0], [-1.0, -2.0], [0.0, -0.0], [-3.0, 4.0]]), dtype)
    _add(
        builder,
        f"data/rows-{dtype}",
        x,
        _ROWS,
        "RANGE-1 GRAN-2",
        f"{one} BlockAxis",
        "positive, negative, zero and mixed channels",
        "weight",
    )
    _add(
        builder,
        f"data/scalar-{dtype}",
        cast(np.array(1.5), dtype),
        _TENSOR,
        "RANGE-1 GRAN-1",
        "EmptyAndScalar",
        "a tensor without axes",
    )
    if dtype != "float16":
        x = cast(f32(FLOAT32_MAX, -1e38, FLOAT32_TINY, -(2.0**-130)), dtype)
        _add(
            builder,
            f"data/extremes-{dtype}",
            x,
            _TENSOR,
            "RANGE-1",
            "Subnormals QParamsDtype",
            "from subnormal to the greatest number",
        )
        _add(
            builder,
            f"data/subnormal-{dtype}",
            cast(f32(2.0**-130, -(2.0**-131)), dtype),
            _TENSOR,
            "RANGE-1",
            "Subnormals",
            "nothing but subnormals",
        )


def _fixed(builder: Builder, dtype: str) -> None:
    x = cast(reals(f"range/fixed/{dtype}", (3, 4), exponents=(-1, 1)), dtype)
    bounds: dict[str, tuple[float | None, float | None]] = {
        "lo-inside": (-0.125, None),
        "lo-outside": (-100.0, None),
        "lo-zero": (0.0, None),
        "hi-inside": (None, 0.125),
        "hi-outside": (None, 100.0),
        "hi-zero": (None, 0.0),
        "lo-inexact": (-0.1, None),
        "hi-inexact": (None, 1.0 / 3.0),
        "both": (-1.5, 6.0),
        "both-inexact": (-0.1, 1.0 / 3.0),
        "both-zero-lo": (0.0, 6.0),
        "both-zero-hi": (-6.0, 0.0),
        # Straight from float64 these would round up in bfloat16 and in float16.
        "hi-twice-bfloat16": (None, 1.0 + 2.0**-8 + 2.0**-30),
        "hi-twice-float16": (None, 1.0 + 2.0**-11 + 2.0**-30),
        "both-subnormal": (-(2.0**-140), 2.0**-139),
        "both-beyond-float16": (-70000.0, 100000.0),
        "lo-beyond-float16": (-70000.0, None),
        "hi-near-float16": (None, 65519.0),
        "lo-vanishing": (-1e-60, None),
    }
    for name, pair in bounds.items():
        for word, base, target in (("tensor", _TENSOR, "activation"), ("rows", _ROWS, "weight")):
            if word == "rows" and name not in ("lo-inexact", "hi-inside", "both", "both-inexact"):
                continue
            spec = QuantizationSpec(granularity=base.granularity, float_range=pair)
            if dtype == "float16" and name == "lo-beyond-float16":
                builder.add_result(
                    f"range/fixed/{name}-{word}-{dtype}",
                    "value_range",
                    "refused",
                    clauses=("RANGE-2",),
                    flags=("FixedRange", "Infinity"),
                    comment="a bound that the tensor's dtype rounds to an infinity",
                    spec=spec,
                    target=target,
                    inputs={"x": x},
                )
                continue
            flags = "FixedRange" + (" QParamsDtype" if "inexact" in name else "")
            _add(
                builder,
                f"fixed/{name}-{word}-{dtype}",
                x,
                spec,
                "RANGE-2 RANGE-3",
                flags,
                f"float_range {pair} replaces what the data say",
                target,
            )


def _not_finite(builder: Builder, dtype: str) -> None:
    base = [1.0, -2.0, 3.0, -0.5, 0.25, 2.0]
    for name, index in (("first", 0), ("middle", 3), ("last", 5)):
        values = list(base)
        values[index] = _NAN
        x = cast(np.array(values), dtype)
        _add(
            builder,
            f"nan/{name}-{dtype}",
            x,
            _TENSOR,
            "RANGE-4",
            "NaNInRange",
            f"a NaN in {name} place",
        )
    rows = np.array([base, base[::-1], base, base])
    rows[1, 2], rows[2, 0], rows[2, 5] = _NAN, _INF, 1.0
    _add(
        builder,
        f"nan/rows-{dtype}",
        cast(rows, dtype),
        _ROWS,
        "RANGE-4",
        "NaNInRange Infinity",
        "a NaN in one channel, an infinity in another; the rest is untouched",
        "weight",
    )
    for name, values in (
        ("plus", [1.0, _INF]),
        ("minus", [-_INF, 1.0]),
        ("both", [_INF, 2, -_INF]),
    ):
        _add(
            builder,
            f"infinity/{name}-{dtype}",
            cast(np.array(values), dtype),
            _TENSOR,
            "RANGE-4",
            "Infinity",
            "an infinity is a bound like any value",
        )
    _add(
        builder,
        f"nan/all-{dtype}",
        cast(np.array([_NAN, _NAN]), dtype),
        _TENSOR,
        "RANGE-4",
        "NaNInRange",
        "nothing but NaN",
    )
    _add(
        builder,
        f"nan/with-infinity-{dtype}",
        cast(np.array([_INF, _NAN, -_INF]), dtype),
        _TENSOR,
        "RANGE-4",
        "NaNInRange Infinity",
        "NaN wins over infinities",
    )
    x = cast(np.array([1.0, _NAN, -2.0]), dtype)
    for name, pair in (("lo", (-1.0, None)), ("hi", (None, 1.0)), ("both", (-1.0, 1.0))):
        spec = QuantizationSpec(float_range=pair)
        _add(
            builder,
            f"nan/fixed-{name}-{dtype}",
            x,
            spec,
            "RANGE-2 RANGE-4",
            "NaNInRange FixedRange",
            "a fixed bound is fixed; the other one turns NaN",
        )
