"""Arguments that must be refused: one case per rule that says so, in the family it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.floats import f32
from quant_conformance.generate.layouts import make_spec
from quant_reference import (
    Granularity,
    PerBlock,
    PerChannel,
    QuantizationSpec,
)

Array = NDArray[Any]

ONES = np.ones((4, 6), np.float32)
_NAN = float("nan")


def build(builder: Builder) -> None:
    """Add a few cases to most families."""
    _elements(builder)
    _ranges(builder)
    _observers(builder)


def refuse(
    builder: Builder,
    case: str,
    operation: str,
    clause: str,
    comment: str,
    inputs: Mapping[str, Array],
    **more: Any,
) -> None:
    """Add one case that must be refused."""
    family, name = case.split("/", 1)
    builder.add_result(
        f"{family}/refused/{name}",
        operation,
        "refused",
        clauses=(clause,),
        flags=("IllegalInput",),
        comment=comment,
        inputs=inputs,
        **more,
    )


def _elements(builder: Builder) -> None:
    """encode, decode, pack and unpack."""
    for name, values in {
        "zero": [0.0], "minus-zero": [-0.0], "three": [1.0, 3.0], "three-quarters": [0.75],
        "minus-one": [-1.0], "infinity": [np.inf], "beneath": [2.0**-128],
        "beside-one": [1.0000001],
    }.items():  # fmt: skip
        refuse(
            builder,
            f"encode/e8m0-{name}",
            "encode",
            "ENC-6",
            "not a power of two that e8m0 holds",
            {"x": f32(*values)},
            arguments={"format": "float8_e8m0fnu"},
        )
    for name in ("int8", "uint4", "int2"):
        refuse(
            builder,
            f"encode/{name}-nan",
            "encode",
            "ENC-7",
            "an integer format has no code for NaN",
            {"x": f32(1.0, _NAN)},
            arguments={"format": name},
        )
    for name in ("float8_e4m3fn", "int8"):
        refuse(
            builder,
            f"encode/{name}-int32",
            "encode",
            "ENC-1",
            "x is not floating point",
            {"x": np.array([1, 2], np.int32)},
            arguments={"format": name},
        )
    wide: dict[str, Array] = {
        "int4": np.array([7, 8], np.int8), "int4-low": np.array([-9], np.int8),
        "int2": np.array([2], np.int8), "uint4": np.array([16], np.uint8),
        "uint2": np.array([4], np.uint8), "float4_e2m1fn": np.array([16], np.uint8),
        "int8-dtype": np.array([200], np.uint8), "uint8-dtype": np.array([-1], np.int8),
        "float8_e4m3fn-dtype": np.array([1], np.int32),
    }  # fmt: skip
    for name, codes in wide.items():
        arguments = {"format": name.removesuffix("-low").removesuffix("-dtype")}
        comment = "codes wider than the format, or of another dtype"
        refuse(
            builder,
            f"decode/{name}",
            "decode",
            "DEC-1",
            comment,
            {"codes": codes},
            arguments=arguments,
        )
        if not name.startswith(("int8", "uint8", "float8")):
            refuse(
                builder,
                f"pack/{name}",
                "pack",
                "PACK-1",
                comment,
                {"codes": codes},
                arguments={**arguments, "order": "low_first"},
            )
    codes, packed = np.array([1, 2], np.int8), np.array([0x21], np.uint8)
    for order in ("low", "LOW_FIRST", ""):
        arguments = {"format": "int4", "order": order}
        word = order or "empty"
        refuse(
            builder,
            f"pack/order-{word}-pack",
            "pack",
            "PACK-1",
            "an unknown order",
            {"codes": codes},
            arguments=arguments,
        )
        refuse(
            builder,
            f"pack/order-{word}-unpack",
            "unpack",
            "PACK-1",
            "an unknown order",
            {"packed": packed},
            arguments={**arguments, "count": 2},
        )
    for name, count in (("int4", 3), ("int2", 5), ("int8", 2), ("uint4", -1)):
        refuse(
            builder,
            f"pack/{name}-count{count}",
            "unpack",
            "PACK-3",
            "more codes than the byte holds",
            {"packed": packed},
            arguments={"format": name, "order": "low_first", "count": count},
        )


def _ranges(builder: Builder) -> None:
    """value_range and qparams."""
    misfits: dict[str, Granularity] = {
        "indivisible": PerBlock(1, 4),
        "indivisible-tuple": PerBlock(None, (3, 2)),
        "too-large": PerBlock(0, 8),
        "axis-too-large": PerChannel(2),
        "axis-too-small": PerChannel(-3),
        "block-axis-too-large": PerBlock(2, 2),
        "tuple-too-short": PerBlock(None, (2,)),
        "tuple-too-long": PerBlock(None, (2, 2, 1)),
        "axis-missing": PerChannel(None),
        "block-axis-missing": PerBlock(None, 2),
    }
    dynamic = make_spec("int8-sym-zp", qparam_calculator_cls="dynamic")
    tensor = make_spec("int8-sym-zp")
    for family, operation in (("range", "value_range"), ("qparams", "qparams")):
        for name, granularity in misfits.items():
            refuse(
                builder,
                f"{family}/{name}",
                operation,
                "GRAN-6",
                "a granularity that does not fit",
                {"x": ONES},
                spec=QuantizationSpec(granularity=granularity),
                target="weight",
            )
        for name, shape in (("no-elements", (0,)), ("no-elements-matrix", (0, 3))):
            refuse(
                builder,
                f"{family}/{name}",
                operation,
                "RANGE-5",
                "no elements, no range",
                {"x": np.zeros(shape, np.float32)},
                spec=tensor,
                target="activation",
            )
        refuse(
            builder,
            f"{family}/int32",
            operation,
            "RANGE-3",
            "x is not floating point",
            {"x": np.array([1, -2], np.int32)},
            spec=tensor,
            target="activation",
        )
        refuse(
            builder,
            f"{family}/dynamic-weight",
            operation,
            "SPEC-5",
            "dynamic is for activations only",
            {"x": ONES},
            spec=dynamic,
            target="weight",
        )


def _observers(builder: Builder) -> None:
    one = np.ones((2, 3), np.float32)
    misfits: dict[str, list[Array]] = {
        "no-batch": [],
        "other-blocks": [one, np.ones((3, 3), np.float32)],
        "other-dtype": [one, one.astype(np.float16)],
        "other-rank": [one, np.ones((2, 3, 1), np.float32)],
    }
    for kind in ("moving_average", "global_minmax"):
        for name, batches in misfits.items():
            _observe(builder, f"{kind}-{name}", "OBS-6", kind, batches)
    for kind in ("minmax", "Static", ""):
        _observe(builder, f"kind-{kind or 'empty'}", "OBS-1", kind, [one])
    for constant in (0.0, -0.1, 1.5):
        _observe(builder, f"constant-{constant:g}", "OBS-2", "moving_average", [one], constant)
    for name, spec in (
        ("clipping", make_spec("int8-clip-zp")),
        ("float-range", make_spec("int8-sym-zp", float_range=(-1.0, None))),
    ):
        refuse(
            builder,
            f"observe/dynamic-{name}",
            "observe",
            "SPEC-5",
            "what dynamic refuses",
            {"batch_0": one},
            spec=spec,
            target="activation",
            arguments={"kind": "dynamic"},
        )
    refuse(
        builder,
        "observe/dynamic-weight",
        "observe",
        "SPEC-5",
        "dynamic is for activations only",
        {"batch_0": one},
        spec=make_spec("int8-sym-zp"),
        target="weight",
        arguments={"kind": "dynamic"},
    )


def _observe(
    builder: Builder,
    name: str,
    clause: str,
    kind: str,
    batches: list[Array],
    constant: float | None = None,
) -> None:
    arguments: dict[str, Any] = {"kind": kind}
    if constant is not None:
        arguments["averaging_constant"] = constant
    refuse(
        builder,
        f"observe/{name}",
        "observe",
        clause,
        f"must be refused: {name}",
        {f"batch_{i}": b for i, b in enumerate(batches)},
        spec=make_spec("int8-sym-zp", PerChannel(0)),
        target="activation",
        arguments=arguments,
    )
