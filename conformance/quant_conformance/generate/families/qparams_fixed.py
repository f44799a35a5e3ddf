"""qparams: ranges with fixed bounds (RANGE-2, RANGE-4, QP-8)."""

from __future__ import annotations

import numpy as np

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.qparams import add, clauses
from quant_conformance.generate.floats import DTYPES, cast
from quant_conformance.generate.layouts import make_spec, spec_kinds
from quant_conformance.generate.streams import reals

_NAN = float("nan")


def build(builder: Builder) -> None:
    """Add the part of the family with fixed bounds."""
    for index, (kind, members) in enumerate(spec_kinds().items()):
        if not members.get("scale_dtype"):
            _bounds(builder, kind, index, 1 if members.get("qformulation") == "minval" else 3)


def _bounds(builder: Builder, kind: str, start: int, count: int) -> None:
    x = reals(f"qparams/fixed/{kind}", (6,), exponents=(-1, 1))
    bounds = ((-2.7, None), (None, 6.0), (-1.1, 2.3), (0.0, 6.1))
    for index in range(start, start + count):
        pair, dtype = bounds[index % 4], DTYPES[index % 3]
        spec = make_spec(kind, float_range=pair)
        add(
            builder,
            f"fixed/{kind}-{index % 4}-{dtype}",
            cast(x, dtype),
            spec,
            clauses(spec) + " RANGE-2",
            "FixedRange QParamsDtype",
            f"float_range {pair}; with both bounds everything is float32",
        )
    if count == 1:
        return
    wild = np.array([1.0, _NAN, -2.0])
    for side, pair in (("lo", (-1.0, None)), ("hi", (None, 1.0))):
        spec = make_spec(kind, float_range=pair)
        add(
            builder,
            f"fixed/{kind}-nan-{side}",
            cast(wild, DTYPES[start % 3]),
            spec,
            clauses(spec) + " RANGE-4 QP-8",
            "NaNInRange FixedRange",
            "a fixed bound does not hide a NaN",
        )
    spec = make_spec(kind, float_range=((-70000.0, None), (None, 70000.0))[start % 2])
    builder.add_result(
        f"qparams/fixed/{kind}-beyond-float16",
        "qparams",
        "refused",
        clauses=("RANGE-2",),
        flags=("FixedRange", "Infinity"),
        comment="a bound beyond float16 would be infinite in float16, and the scale with it",
        spec=spec,
        target="activation",
        inputs={"x": cast(np.array([1.0, -2.0]), "float16")},
    )
