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


def build(builder: Builder) -> None:
    """Add the family."""
    _coverage(builder)
    for dtype in DTYPES:
        _constants(builder, dtype)


def spec_of(kind: str, spec_kind: str, granularity: Granularity, **more: Any) -> QuantizationSpec:
    """Return the spec of a short name with the observer as its calculator."""
    return make_spec(spec_kind, granularity, qparam_calculator_cls=kind, **more)


def add(
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
    """Add one case of the family."""
    arguments: dict[str, Any] = {"kind": kind}
    if constant is not None:
        arguments["averaging_constant"] = constant
    builder.add(
        f"observe/{case}",
        "observe",
        clauses=f"{_CLAUSES[kind]} {clauses}",
        flags=flags,
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
        add(
            builder,
            f"cover/{name}",
            kind,
            batches,
            spec_of(kind, row["spec"], granularity),
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
        spec = spec_of("moving_average", spec_kind, PerChannel(0))
        name = "default" if constant is None else f"{constant:.3g}"
        add(
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
        add(
            builder,
            f"constant/{name}-{dtype}-tensor",
            "moving_average",
            batches,
            spec_of("moving_average", "int8-asym-zp", PerTensor()),
            "QP-9",
            "MovingAverage ObserverDtype",
            f"six batches, constant {name}",
            constant=constant,
        )
    # The example of a state that float16 holds and float32 would hold otherwise.
    batches = [cast(np.array([-1.0, 1.0]), dtype), cast(np.array([-3.25, 3.25]), dtype)]
    add(
        builder,
        f"constant/state-{dtype}",
        "moving_average",
        batches,
        spec_of("moving_average", "int8-sym-zp", PerTensor()),
        "QP-9",
        "ObserverDtype MovingAverage",
        "0.01 of 3.25 and 0.99 of 1, in the dtype of the batches",
        constant=0.01,
    )
