"""observe: from batches to qparams (OBS-1 to OBS-6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.covering import cover_pairs
from quant_conformance.generate.floats import DTYPES, cast
from quant_conformance.generate.layouts import (
    GRANULARITY_KINDS,
    LAYOUTS,
    make_spec,
    spec_kinds,
)
from quant_conformance.generate.streams import reals
from quant_reference import Granularity, PerChannel, PerTensor, QuantizationSpec

Array = NDArray[Any]
Batches = Sequence[Array]

KINDS = ("static", "moving_average", "global_minmax", "dynamic")
_CLAUSES = {
    "static": "OBS-1",
    "moving_average": "OBS-2",
    "global_minmax": "OBS-3",
    "dynamic": "OBS-4",
}
_CONSTANTS = (0.01, 0.1, 0.5, 0.9, 1.0 / 3.0, 1.0, 0.001, 0.7)
_TYPICAL = (
    "int8-sym-zp",
    "uint8-asym-zp",
    "int4-asym-minval",
    "float8_e4m3fn-scale32",
    "float4_e2m1fn-e8m0",
)
_INF, _NAN = float("inf"), float("nan")


def build(builder: Builder) -> None:
    """Add the family."""
    _coverage(builder)
    for dtype in DTYPES:
        _constants(builder, dtype)
    for index, (kind, spec_kind) in enumerate((k, s) for k in KINDS for s in _TYPICAL):
        _orders(builder, kind, spec_kind, DTYPES[index % 3])
        _not_finite(builder, kind, spec_kind, DTYPES[(index + 1) % 3])
        if kind != "dynamic":
            _fixed(builder, kind, spec_kind, index)
    _refused(builder)


def _spec(kind: str, spec_kind: str, granularity: Granularity, **more: Any) -> QuantizationSpec:
    return make_spec(spec_kind, granularity, qparam_calculator_cls=kind, **more)


def _add(
    builder: Builder,
    case: str,
    kind: str,
    batches: Batches,
    spec: QuantizationSpec,
    clauses: str,
    flags: str,
    comment: str,
    target: str = "activation",
    constant: float | None = None,
    **more: Any,
) -> None:
    arguments: dict[str, Any] = {"kind": kind}
    if constant is not None:
        arguments["averaging_constant"] = constant
    builder.add(
        f"observe/{case}",
        "observe",
        clauses=f"{_CLAUSES[kind]} {clauses}".split(),
        flags=flags.split(),
        comment=comment,
        spec=spec,
        target=target,
        arguments=arguments,
        inputs={f"batch_{i}": batch for i, batch in enumerate(batches)},
        **more,
    )


def _coverage(builder: Builder) -> None:
    rows = [
        {"spec": spec, "kind": kind}
        for spec in spec_kinds()
        for kind in KINDS
        if not (kind == "dynamic" and "-clip-" in spec)  # refused by SPEC-5
    ]
    factors = {"granularity": GRANULARITY_KINDS, "layout": tuple(LAYOUTS), "dtype": DTYPES}
    for index, row in enumerate(cover_pairs(rows, factors, complete=False)):
        layout, kind = LAYOUTS[row["layout"]], row["kind"]
        if kind == "dynamic" and layout.target == "weight":
            layout = LAYOUTS[("act2d", "act3d", "act4d")[index % 3]]
        granularity = layout.granularity(row["granularity"], index // 3)
        name = f"{kind}/{row['spec']}-{row['granularity']}-{row['layout']}-{row['dtype']}"
        shape = layout.shape
        batches = [
            reals(f"observe/{name}/{i}", shape, row["dtype"], exponents=(-3 + i % 2, 1 + i % 2))
            for i in range(2 + index % 2)
        ]
        flags = "SpecCoverage" + (
            " MovingAverage ObserverDtype" if kind == "moving_average" else ""
        )
        constant = _CONSTANTS[index % 8] if kind == "moving_average" else None
        _add(
            builder,
            f"cover/{name}",
            kind,
            batches,
            _spec(kind, row["spec"], granularity),
            "QP-9",
            flags,
            f"{len(batches)} batches",
            layout.target,
            constant,
        )


def _constants(builder: Builder, dtype: str) -> None:
    """Many channels at once: last bits of the average show in some of them."""
    for index, constant in enumerate((*_CONSTANTS, None)):
        spec_kind = ("int8-asym-zp", "uint4-sym-minval", "float8_e5m2-scale32")[index % 3]
        label = f"observe/constant/{dtype}/{index}"
        batches = [reals(f"{label}/{i}", (12, 3), dtype, exponents=(-2, 2)) for i in range(4)]
        spec = _spec("moving_average", spec_kind, PerChannel(0))
        name = "default" if constant is None else f"{constant:.3g}"
        _add(
            builder,
            f"constant/{name}-{dtype}",
            "moving_average",
            batches,
            spec,
            "QP-9",
            "MovingAverage ObserverDtype WiderIntermediate",
            f"four batches, constant {name}",
            "weight",
            constant,
        )
        batches = [reals(f"{label}/tensor/{i}", (5,), dtype, exponents=(-1, 1)) for i in range(6)]
        _add(
            builder,
            f"constant/{name}-{dtype}-tensor",
            "moving_average",
            batches,
            _spec("moving_average", "int8-asym-zp", PerTensor()),
            "QP-9",
            "MovingAverage ObserverDtype",
            f"six batches, constant {name}",
            constant=constant,
        )
    # The example of a state that float16 holds and float32 would hold otherwise.
    batches = [cast(np.array([-1.0, 1.0]), dtype), cast(np.array([-3.25, 3.25]), dtype)]
    _add(
        builder,
        f"constant/state-{dtype}",
        "moving_average",
        batches,
        _spec("moving_average", "int8-sym-zp", PerTensor()),
        "QP-9",
        "ObserverDtype MovingAverage",
        "0.01 of 3.25 and 0.99 of 1, in the dtype of the batches",
        constant=0.01,
    )


def _orders(builder: Builder, kind: str, spec_kind: str, dtype: str) -> None:
    spec = _spec(kind, spec_kind, PerTensor())
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
        _add(
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
            _add(
                builder,
                f"not-finite/{kind}/{spec_kind}-{name}-in-{place}-{dtype}",
                kind,
                [cast(b, dtype) for b in batches],
                _spec(kind, spec_kind, PerChannel(0)),
                "OBS-5 RANGE-4 QP-8",
                "NaNInRange" if name == "nan" else "Infinity NaNInRange",
                f"{name} in batch {place}: kept in a running range, gone from the others",
                "activation",
                0.1 if kind == "moving_average" else None,
                policy="e8m0_nonfinite_range" if e8m0 and touched else None,
                full=place == 1,
            )


def _fixed(builder: Builder, kind: str, spec_kind: str, index: int) -> None:
    bounds = {"lo": (-1.7, None), "hi": (None, 6.3), "both": (-1.1, 2.3)}
    for offset, (name, pair) in enumerate(bounds.items()):
        dtype = DTYPES[(index + offset) % 3]
        batches = [
            reals(f"observe/fixed/{kind}/{spec_kind}/{i}", (2, 3), dtype, exponents=(-1, 3))
            for i in range(3)
        ]
        if name == "both":
            batches[1] = np.full_like(
                batches[1], np.nan
            )  # not even a NaN moves a range that is fixed
        spec = _spec(kind, spec_kind, PerTensor(), float_range=pair)
        _add(
            builder,
            f"fixed/{kind}/{spec_kind}-{name}-{dtype}",
            kind,
            batches,
            spec,
            "RANGE-2",
            "FixedRange",
            f"float_range {pair} through three batches",
            constant=0.1 if kind == "moving_average" else None,
        )


def _refused(builder: Builder) -> None:
    one = np.ones((2, 3), np.float32)
    misfits: dict[str, list[Array]] = {
        "no-batch": [],
        "other-blocks": [one, np.ones((3, 3), np.float32)],
        "other-dtype": [one, one.astype(np.float16)],
        "other-rank": [one, np.ones((2, 3, 1), np.float32)],
    }
    for kind in ("moving_average", "global_minmax"):
        for name, batches in misfits.items():
            builder.add_result(
                f"observe/refused/{kind}-{name}",
                "observe",
                "refused",
                clauses=("OBS-6",),
                flags=("BlockShape",),
                comment=f"batches that do not agree: {name}",
                spec=_spec(kind, "int8-sym-zp", PerChannel(0)),
                target="activation",
                arguments={"kind": kind},
                inputs={f"batch_{i}": b for i, b in enumerate(batches)},
            )
