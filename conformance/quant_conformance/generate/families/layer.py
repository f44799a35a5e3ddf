"""layer: whole quantized layers, judged by the codes that correct arithmetic can give.

Ordinary layers of every kind are in ``layer_table``; here are the ones that a particular mistake
needs: long sums, subnormals, infinities, ties.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.layer_table import ROWS, Row, Steps
from quant_conformance.generate.families.layer_tensors import SPECS, Operand, operand, qparams_of
from quant_conformance.generate.streams import integers
from quant_reference import QParams, QuantizationSpec
from quant_reference.admissible import (
    Arithmetic,
    FloatLayer,
    Layer,
    QuantizedTensor,
    Step,
)
from quant_reference.admissible.operations import CLAUSES

Array = NDArray[Any]
F32 = np.float32

HALF = Arithmetic("float16", "float32")


def build(builder: Builder) -> None:
    """Add the family."""
    for row in ROWS:
        _ordinary(builder, row)
    _long_sums(builder)
    _subnormals(builder)
    _infinities(builder)
    _ties(builder)


def steps_of(steps: Steps) -> tuple[Step, ...]:
    """Steps whose results go by ``y0``, ``y1``, …; an operand ``y`` is the result before."""
    found = []
    for index, (op, operands, attributes) in enumerate(steps):
        inputs: list[str | float | None] = []
        for name in operands.split():
            last = f"y{index - 1}"
            inputs.append(last if name == "y" else float(name) if name[0].isdigit() else name)
        found.append(Step(op, tuple(inputs), f"y{index}", attributes))
    return tuple(found)


def _ordinary(builder: Builder, row: Row) -> None:
    arithmetic = HALF if row.half else Arithmetic()
    operands = {name: operand(name, kind, shape) for name, (kind, shape) in row.operands.items()}
    steps = steps_of(row.steps)
    spec, _ = SPECS[row.output]
    exact = FloatLayer(steps, operands, arithmetic).bounds().value.astype(F32)
    qparams = qparams_of(exact, spec, "activation")
    formulas = any(CLAUSES[step.op] not in ("ADM-2", "ADM-5") for step in steps)
    flags = ["LayerOperands", "LayerFormula" if formulas else "LayerSums"]
    comment = " then ".join(step.op for step in steps)
    comment += f" of {', '.join(kind for kind, _ in row.operands.values())}"
    comment += " in float16" if row.half else ""
    layer = Layer(steps, operands, spec, qparams, arithmetic)
    builder.add_layer(f"layer/{row.name}", layer, flags=flags, comment=comment, full=row.full)


def _special(
    builder: Builder,
    name: str,
    steps: Steps,
    operands: dict[str, Operand],
    output: tuple[QuantizationSpec, QParams],
    flag: str,
    comment: str,
    clauses: tuple[str, ...] = (),
) -> None:
    layer = Layer(steps_of(steps), operands, *output)
    builder.add_layer(f"layer/{name}", layer, flags=[flag], comment=comment, clauses=clauses)


def _params(scale: float, zero_point: int | None = None, minval: float | None = None,
            rank: int = 2) -> QParams:  # fmt: skip
    shape = (1,) * rank
    return QParams(
        np.full(shape, scale, F32),
        None if zero_point is None else np.full(shape, zero_point, np.int32),
        None if minval is None else np.full(shape, minval, F32),
    )


def _long_sums(builder: Builder) -> None:
    """3,072 positive products, quantized so finely that the errors of single additions show.

    Errors that all have one sign grow with the number of additions; such as average out grow with
    its root, and the probable set holds no more.
    """
    depth = 3072
    codes = {name: integers(f"layer/long/{name}", (1, depth), 32, 127) for name in "xw"}
    spec = QuantizationSpec("int8")
    operands: dict[str, Operand] = {
        name: QuantizedTensor(drawn.astype(np.int8), spec, _params(scale, 0))
        for (name, drawn), scale in zip(codes.items(), (1 / 100, 1 / 117), strict=True)
    }
    layer = FloatLayer(steps_of((("linear", "x w", {}),)), operands)
    exact = float(layer.bounds().value[0, 0])
    step = exact * 2.0**-20
    output = QuantizationSpec("uint8", "asymmetric", "minval")
    _special(builder, "sum-of-3072", (("linear", "x w", {}),), operands,
             (output, _params(step, minval=exact - 128 * step)), "LayerSums",
             "a sum whose rounding errors show", ("ADM-3",))  # fmt: skip


def _subnormals(builder: Builder) -> None:
    """Products near 2^-142, a scale of 2^-144: what is flushed to zero has the code of zero."""
    spec = QuantizationSpec("int8")
    x = integers("layer/subnormals/x", (4, 2), -9, 9).astype(np.int8)
    w = integers("layer/subnormals/w", (3, 2), -3, 3).astype(np.int8)
    operands: dict[str, Operand] = {
        "x": QuantizedTensor(x, spec, _params(2.0**-72, 0)),
        "w": QuantizedTensor(w, spec, _params(2.0**-70, 0)),
    }
    output = (spec, _params(2.0**-144, 0))
    _special(builder, "subnormal-results", (("linear", "x w", {}),), operands, output,
             "LayerSpecial", "results that are subnormal", ("ADM-4",))  # fmt: skip


def _infinities(builder: Builder) -> None:
    """Infinities in a float operand that an activation cuts off, and in a mask."""
    x = np.array([[np.inf, -np.inf, 2.5, -0.0, 7], [0.5, 6, np.inf, -3, 1.25]], F32)
    output = (QuantizationSpec("uint8", "asymmetric"), _params(6 / 255, 0))
    _special(builder, "relu6-of-infinities", (("relu6", "x", {}),), {"x": x}, output,
             "LayerSpecial", "infinities become 6 and 0", ("ADM-6",))  # fmt: skip
    scores = operand("x", "a8", (3, 5))
    mask = np.where(np.tril(np.ones((3, 5), bool), 1), F32(0), F32(-np.inf))
    steps: Steps = (("add", "x m", {}), ("softmax", "y", {"dim": -1}))
    output = (QuantizationSpec("uint8", "asymmetric"), _params(1 / 255, 0))
    _special(builder, "softmax-masked", steps, {"x": scores, "m": mask}, output,
             "LayerSpecial", "scores of minus infinity get nothing", ("ADM-6",))  # fmt: skip


def _ties(builder: Builder) -> None:
    """Operands that nothing rounds, on ties between two codes: one code is admissible."""
    codes = np.arange(-14, 14, dtype=np.int8).reshape(2, 14)
    for name, output in (
        ("int8", QuantizationSpec("int8")),
        ("float8_e4m3fn", QuantizationSpec("float8_e4m3fn")),
    ):
        x = QuantizedTensor(codes, QuantizationSpec("int8"), _params(0.25, 1))
        qparams = _params(0.5, 0) if name == "int8" else _params(2.0**-6)
        _special(builder, f"hardtanh-ties-{name}", (("hardtanh", "x", {"min_val": -2.5,
                                                                     "max_val": 3.0}),),
                 {"x": x}, (output, qparams), "LayerRounding",
                 "nothing is rounded before the codes are", ("ADM-12",))  # fmt: skip
