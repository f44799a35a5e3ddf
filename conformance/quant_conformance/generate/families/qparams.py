"""qparams: from a tensor to scale, zero point and minval (QP-1 to QP-6, QP-8, QP-9)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.coverage import coverage
from quant_conformance.generate.families.tensor_cases import add_case
from quant_conformance.generate.floats import DTYPES, FLOAT32_MAX, cast, step
from quant_conformance.generate.layouts import (
    ALL_LAYOUTS,
    layout_variants,
    make_spec,
    spec_kinds,
)
from quant_conformance.generate.streams import reals
from quant_reference import PerChannel, QuantizationSpec

Array = NDArray[Any]

Dtypes = tuple[str, ...]

MAIN = ("int8", "uint8", "int4", "float8_e4m3fn", "float8_e5m2")

_EPS = 2.0**-23
_INF, _NAN = float("inf"), float("nan")


add = partial(add_case, operation="qparams")
"""Adds one case of the family."""


def build(builder: Builder) -> None:
    """Add the family's general part."""
    _coverage(builder)
    _layouts(builder)
    for index, (kind, members) in enumerate(spec_kinds().items()):
        if members.get("scale_dtype"):
            continue
        # Both formulations have the same qparams: minval is visited once per scheme and dtype.
        brief = members.get("qformulation") == "minval"
        dtypes = (DTYPES[index % 3],) if brief else DTYPES
        _data(builder, kind, dtypes)
        _least_scale(builder, kind, dtypes if members["dtype"] in MAIN else dtypes[:1])
        _not_finite(builder, kind, dtypes)
        if not brief and members["dtype"] in MAIN:
            _small(builder, kind)


def clauses(spec: QuantizationSpec) -> str:
    """Name the clauses that a spec's qparams follow from."""
    if spec.scale_dtype is not None:
        return "QP-7"
    if not spec.format.is_integer:
        return "QP-6 QP-9"
    scheme = "QP-3" if spec.qscheme == "asymmetric" else "QP-2"
    return f"{scheme} QP-4 QP-5 QP-9" + (" SPEC-6" if "clip" in spec.qscheme else "")


def add_rows(
    builder: Builder,
    case: str,
    rows: Array,
    kind: str,
    named: str,
    flags: str,
    comment: str,
    **more: Any,
) -> None:
    """Add a case whose channels are the rows, each with a range of its own."""
    spec = make_spec(kind, PerChannel(0), **more.pop("members", {}))
    add(builder, case, rows, spec, named, flags, comment, "weight", **more)


def _coverage(builder: Builder) -> None:
    for row in coverage("qparams", "once"):
        # Every block differs from every other in size, some are one-sided.
        x = reals(row.label, row.layout.shape, row.dtype, exponents=(-5, 3))
        flags = "SpecCoverage" + ("" if row.granularity_kind == "per_tensor" else " BlockAxis")
        add(
            builder,
            f"cover/{row.name}",
            x,
            row.spec,
            clauses(row.spec),
            flags,
            "random numbers of several sizes",
            row.layout.target,
            full=row.full,
        )


def _layouts(builder: Builder) -> None:
    for index, (name, granularity, clause, flags) in enumerate(layout_variants()):
        layout = ALL_LAYOUTS[name.split("-", 1)[0]]
        kind = ("int8-sym-zp", "uint4-asym-zp", "float8_e4m3fn-scale32", "float4_e2m1fn-e8m0")[
            index % 4
        ]
        x = reals(f"qparams/layout/{name}", layout.shape, exponents=(-6, 5))
        spec = make_spec(kind, granularity)
        add(
            builder,
            f"layout/{name}-{kind}",
            x,
            spec,
            f"{clause} {clauses(spec)}",
            " ".join(flags),
            f"{list(layout.shape)}, every block its own qparams",
            layout.target,
        )


def _data(builder: Builder, kind: str, dtypes: Dtypes) -> None:
    """One-sided, zero, equal and lopsided channels, for each dtype."""
    rows = np.array(
        [
            [0.0, 0.0],
            [-0.0, -0.0],
            [1.5, 1.5],
            [-1.5, -1.5],
            [0.75, 3.3],
            [-0.75, -3.3],
            [-5.1, 0.2],
            [-0.2, 5.1],
            [-1.0, 1.0],
            [-3.0, 3.0],
            [0.0, 7.7],
            [-7.7, 0.0],
        ]
    )
    for dtype in dtypes:
        spec = make_spec(kind)
        add_rows(
            builder,
            f"data/{kind}-{dtype}",
            cast(rows, dtype),
            kind,
            clauses(spec) + " QP-1 RANGE-1",
            "ObserverZeroRange OneSidedRange ScaleDivisor",
            "channels of zeros, of one value, of one sign, and larger on one side",
        )


def _least_scale(builder: Builder, kind: str, dtypes: Dtypes) -> None:
    """Ranges whose scale is just under, exactly at, and just over the least scale."""
    spec = make_spec(kind)
    steps = float(spec.quant_max - spec.quant_min) if spec.format.is_integer else spec.quant_max
    divisor = steps if spec.qscheme == "asymmetric" or not spec.format.is_integer else steps / 2
    edge = _EPS * divisor
    for dtype in dtypes:
        sizes = cast(
            np.array([edge, edge, edge, edge / 2, edge / 3, edge * 2, 2.0**-24, 2.0**-20]), dtype
        )
        sizes[1:3] = step(sizes[1:3], [1, -1])
        zero = np.zeros_like(sizes)
        rows = np.concatenate([np.stack([zero, sizes], 1), np.stack([-sizes, zero], 1)])
        named = clauses(spec) + " QP-1"
        add_rows(
            builder,
            f"least/{kind}-{dtype}",
            rows,
            kind,
            named,
            "LeastScale",
            "scales around 2**-23, below which no scale goes",
        )
        if dtype != "float16":
            tiny = cast(
                np.array([[2.0**-149, 0], [-(2.0**-130), 2.0**-140], [1e-30, -1e-35]]), dtype
            )
            add_rows(
                builder,
                f"least/{kind}-subnormal-{dtype}",
                tiny,
                kind,
                named,
                "LeastScale Subnormals",
                "subnormal and tiny ranges give the least scale",
            )


def _not_finite(builder: Builder, kind: str, dtypes: Dtypes) -> None:
    spec = make_spec(kind)
    for dtype in dtypes:
        rows = np.array(
            [
                [1.0, 2.0, -3.0],
                [_NAN, 1.0, -2.0],
                [1.0, -2.0, _NAN],
                [_INF, 1.0, 2.0],
                [1.0, -_INF, 2.0],
                [_INF, -_INF, 0.0],
                [_NAN, _INF, 0.0],
                [-1.0, 0.5, -0.25],
            ]
        )
        add_rows(
            builder,
            f"not-finite/{kind}-{dtype}",
            cast(rows, dtype),
            kind,
            clauses(spec) + " QP-8 RANGE-4",
            "NaNInRange Infinity",
            "NaN and infinities reach the scale of their own channel and no other",
        )
        greatest = FLOAT32_MAX if dtype != "float16" else 65504.0
        wide = np.array(
            [
                [greatest, -greatest],
                [greatest, 0.0],
                [0.0, -greatest],
                [greatest / 2, -greatest / 2],
            ]
        )
        add_rows(
            builder,
            f"huge/{kind}-{dtype}",
            cast(wide, dtype),
            kind,
            clauses(spec) + " QP-8",
            "Infinity QParamsDtype",
            "hi - lo may overflow the dtype of the tensor",
        )


def _small(builder: Builder, kind: str) -> None:
    """Small tensors as one block, for systems that know per-tensor qparams only."""
    spec = make_spec(kind)
    tensors = {
        "negative": ([-4.7, -1.1, -3.0], "RANGE-1", "OneSidedRange"),
        "positive": ([4.7, 1.1, 3.0], "RANGE-1", "OneSidedRange"),
        "single": ([2.9], "RANGE-1", "ObserverZeroRange"),
        "zero": ([0.0, 0.0], "QP-1", "ObserverZeroRange LeastScale"),
        "nan": ([1.0, _NAN, 2.0], "QP-8", "NaNInRange"),
        "infinity": ([1.0, _INF], "QP-8", "Infinity"),
    }
    for name, (values, clause, flags) in tensors.items():
        x = cast(np.array(values), "float32")
        add(
            builder,
            f"small/{kind}-{name}",
            x,
            spec,
            f"{clauses(spec)} {clause}",
            flags,
            f"a tensor: {name}",
        )
