"""Operands of the layer cases, by the name of what they are quantized to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.streams import reals
from quant_reference import (
    PerBlock,
    PerChannel,
    QParams,
    QuantizationSpec,
    compute_qparams,
    quantize,
    value_range,
)
from quant_reference.admissible import QuantizedTensor
from quant_reference.granularity import Target

Array = NDArray[Any]
Operand = QuantizedTensor | Array

SPECS: Mapping[str, tuple[QuantizationSpec, Target]] = {
    "a8": (QuantizationSpec("int8"), "activation"),
    "u8": (QuantizationSpec("uint8", "asymmetric"), "activation"),
    "u4": (QuantizationSpec("uint4", "asymmetric"), "activation"),
    "amin": (QuantizationSpec("uint8", "asymmetric", "minval"), "activation"),
    "ae4m3": (QuantizationSpec("float8_e4m3fn"), "activation"),
    "ae5m2": (QuantizationSpec("float8_e5m2"), "activation"),
    "w8": (QuantizationSpec("int8", "symmetric_with_clipping", granularity=PerChannel(0)),
           "weight"),
    "w8t": (QuantizationSpec("int8", granularity=PerChannel(1)), "weight"),
    "w4": (QuantizationSpec("int4", granularity=PerChannel(0)), "weight"),
    "w4b": (QuantizationSpec("int4", granularity=PerBlock(1, 4)), "weight"),
    "wu4": (QuantizationSpec("uint4", "asymmetric", granularity=PerChannel(0)), "weight"),
    "w2": (QuantizationSpec("int2", granularity=PerBlock(1, 4)), "weight"),
    "wmin": (QuantizationSpec("uint4", "asymmetric", "minval", PerBlock(1, 4)), "weight"),
    "we4m3": (QuantizationSpec("float8_e4m3fn", granularity=PerChannel(0)), "weight"),
    "wmx4": (QuantizationSpec("float4_e2m1fn", granularity=PerBlock(1, 32)), "weight"),
    "wmx8": (QuantizationSpec("float8_e5m2", granularity=PerBlock(1, 32),
                              scale_dtype="float8_e8m0fnu"), "weight"),
}  # fmt: skip
"""Name -> spec and target; what is in no table is float32."""


def operand(name: str, kind: str, shape: tuple[int, ...]) -> Operand:
    """An operand, the same for all cases that have one of this name, kind and shape.

    Args:
        name: Name of the operand.
        kind: A key of :data:`SPECS`, ``"float32"``, ``"positive"`` (float32 above 1/8), or
            ``"table:n"`` (int32 below n), or ``"halves:n"`` (float32, half of such a number).
        shape: Of the tensor.
    """
    drawn = reals(f"layer/{name}/{kind}/{shape}", shape, exponents=(-3, 0))
    if kind == "float32":
        return drawn
    if kind == "positive":
        return np.abs(drawn)
    if kind.startswith(("table:", "halves:")):
        rows = int(kind.partition(":")[2])
        whole = (np.abs(drawn) * 1024).astype(np.int32) % np.int32(rows)
        return whole if kind.startswith("table:") else whole.astype(np.float32) / 2
    spec, target = SPECS[kind]
    # Zero points away from the middle, so that one who leaves them out is found out.
    shifted = drawn + np.float32(0.25) if spec.qscheme == "asymmetric" else drawn
    qparams = qparams_of(shifted, spec, target)
    return QuantizedTensor(quantize(shifted, spec, qparams), spec, qparams)


def qparams_of(x: Array, spec: QuantizationSpec, target: Target) -> QParams:
    """Qparams of a tensor, without what the spec's formulation does not read."""
    qparams = compute_qparams(*value_range(x, spec, target), spec)
    if spec.qformulation == "minval":
        return QParams(qparams.scale, None, qparams.minval)
    return QParams(qparams.scale, qparams.zero_point)
