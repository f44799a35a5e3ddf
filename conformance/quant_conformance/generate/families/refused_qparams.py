"""Qparams, codes and gradients that must be refused (Q-8, DQ-4, GRAD-1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.refused import ONES, refuse
from quant_conformance.generate.floats import f32
from quant_conformance.generate.layouts import make_spec
from quant_reference import PerBlock, PerChannel, PerTensor, QParams

Array = NDArray[Any]


def build(builder: Builder) -> None:
    """Add a few cases to the families that take qparams."""
    _qparams(builder)
    _gradients(builder)
    _empty_axes(builder)


def _scale(*values: float, shape: tuple[int, ...] = (1, 1)) -> Array:
    return f32(*values).reshape(shape)


_LEGAL = {"scale": _scale(0.5), "zero_point": np.zeros((1, 1), np.int32)}
_ILLEGAL_QPARAMS: Mapping[str, tuple[str, Mapping[str, Array]]] = {
    "scale-zero": ("int8-sym-zp", {"scale": _scale(0.0)}),
    "scale-minus-zero": ("int8-sym-zp", {"scale": _scale(-0.0)}),
    "scale-negative": ("int8-sym-zp", {"scale": _scale(-0.5)}),
    "scale-one-negative": (
        "int8-sym-zp",
        {"scale": _scale(1, -1, shape=(2, 1)), "zero_point": np.zeros((2, 1), np.int32)},
    ),
    "scale-float16": ("int8-sym-zp", {"scale": np.ones((1, 1), np.float16)}),
    "scale-not-power": ("float4_e2m1fn-e8m0", {"scale": _scale(0.75)}),
    "scale-not-power-fp8": ("float8_e4m3fn-e8m0", {"scale": _scale(3.0)}),
    "scale-rank": (
        "int8-sym-zp",
        {"scale": _scale(0.5, shape=(1,)), "zero_point": np.zeros(1, np.int32)},
    ),
    "blocks": (
        "int8-sym-zp",
        {"scale": _scale(1, 2, 3, shape=(3, 1)), "zero_point": np.zeros((3, 1), np.int32)},
    ),
    "blocks-too-many": (
        "int8-sym-zp",
        {"scale": np.ones((8, 1), np.float32), "zero_point": np.zeros((8, 1), np.int32)},
    ),
    "blocks-none": (
        "int8-sym-zp",
        {"scale": np.ones((0, 1), np.float32), "zero_point": np.zeros((0, 1), np.int32)},
    ),
    "zero-point-high": ("int4-asym-zp", {"zero_point": np.full((1, 1), 8, np.int32)}),
    "zero-point-low": ("uint8-asym-zp", {"zero_point": np.full((1, 1), -1, np.int32)}),
    "zero-point-dropped": ("int8-clip-zp", {"zero_point": np.full((1, 1), -128, np.int32)}),
    "zero-point-shape": ("int8-asym-zp", {"zero_point": np.zeros((4, 1), np.int32)}),
}


def _qparams(builder: Builder) -> None:
    """Qparams that Q-8 does not accept, for each operation that takes qparams."""
    for name, (kind, changed) in _ILLEGAL_QPARAMS.items():
        spec = make_spec(kind, PerTensor())
        params = {**_LEGAL, **changed}
        if not spec.format.is_integer:
            del params["zero_point"]
        codes = np.ones((4, 6), spec.format.code_dtype)
        for operation, tensors in (
            ("quantize", {"x": ONES}),
            ("dequantize", {"codes": codes}),
            ("fake_quantize", {"x": ONES}),
            ("gradient", {"x": ONES, "grad": ONES}),
        ):
            refuse(
                builder,
                f"{operation}/{name}",
                operation,
                "Q-8",
                "qparams that are not accepted",
                {**tensors, **params},
                spec=spec,
                target="weight",
            )
    spec = make_spec("int8-sym-zp")
    whole = {"x": np.ones((2, 2), np.int32), **_LEGAL}
    for operation, clause in (("quantize", "Q-1"), ("fake_quantize", "FQ-1")):
        refuse(
            builder,
            f"{operation}/int32",
            operation,
            clause,
            "x is not floating point",
            whole,
            spec=spec,
            target="weight",
        )
    for name, kind, codes in (
        ("int4", "int4-sym-zp", np.full((2, 2), 8, np.int8)),
        ("uint2", "uint2-asym-zp", np.full((2, 2), 4, np.uint8)),
        ("int8-dtype", "int8-sym-zp", np.ones((2, 2), np.uint8)),
    ):
        refuse(
            builder,
            f"dequantize/codes-{name}",
            "dequantize",
            "DQ-4",
            "codes wider than the format, or of another dtype",
            {"codes": codes, **_LEGAL},
            spec=make_spec(kind),
            target="weight",
        )


def _empty_axes(builder: Builder) -> None:
    """An axis without elements takes any number of blocks; one with elements at least one."""
    x = np.zeros((0, 6), np.float32)
    for kind in ("uint4-asym-zp", "int8-asym-minval", "float4_e2m1fn-e8m0"):
        for name, granularity, shape in (
            ("whole", PerTensor(), (1, 1)),
            ("none", PerChannel(0), (0, 1)),
            ("both", PerBlock(1, 3), (0, 2)),
            ("several", PerTensor(), (3, 2)),
        ):
            spec = make_spec(kind, granularity)
            qparams = QParams(
                np.ones(shape, np.float32),
                np.zeros(shape, np.int32),
                np.zeros(shape, np.float32),
            )
            for operation, tensors in (
                ("quantize", {"x": x}),
                ("dequantize", {"codes": np.zeros(x.shape, spec.format.code_dtype)}),
                ("fake_quantize", {"x": x}),
                ("gradient", {"x": x, "grad": x}),
            ):
                builder.add(
                    f"{operation}/empty-axis/{kind}-{name}",
                    operation,
                    clauses=("Q-8",),
                    flags=("EmptyAndScalar",),
                    comment=f"an axis without elements in {shape[0]} blocks",
                    spec=spec,
                    target="activation",
                    inputs=tensors,
                    qparams=qparams,
                )


def _gradients(builder: Builder) -> None:
    for name, grad in (
        ("shape", np.ones((1, 6), np.float32)),
        ("rank", np.ones((6,), np.float32)),
        ("dtype", np.ones((4, 6), np.float16)),
    ):
        refuse(
            builder,
            f"gradient/grad-{name}",
            "gradient",
            "GRAD-1",
            "grad has shape and dtype of x",
            {"x": ONES, "grad": grad, **_LEGAL},
            spec=make_spec("int8-sym-zp"),
            target="weight",
        )
