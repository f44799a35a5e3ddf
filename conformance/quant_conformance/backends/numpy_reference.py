"""numpy-reference: the executable spec, judged by the vectors that were frozen from it.

It cannot prove itself right (an oracle in exact fractions does that elsewhere); it shows that
the code still gives the answers that everyone else is held to, also on this numpy and CPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import quant_reference as ref
from quant_conformance.plain_layers import Layers
from quant_conformance.protocol import Array, Backend
from quant_reference.admissible import FloatLayer, Layer
from quant_reference.batch_norm import BatchNorm, fold_batch_norm
from quant_reference.block import (
    block_dequantize,
    block_dot,
    block_quantize,
    block_scale,
    swizzle,
)
from quant_reference.granularity import Target, complete_axis
from quant_reference.integer import integer_layer, requantize
from quant_reference.lifecycle import run_lifecycle
from quant_reference.qparams import compute_qparams
from quant_reference.quantize import quantize
from quant_reference.ranges import value_range


def qparams(x: Array, spec: ref.QuantizationSpec, target: Target) -> ref.QParams:
    """The qparams of a tensor's range."""
    return compute_qparams(*value_range(x, spec, target), spec)


def fold_norm(
    weight: Array, bias: Array | None, norm: BatchNorm, transposed: bool, groups: int
) -> tuple[Array, Array]:
    """Weight and bias with a batch norm folded into them (BN-1, BN-2)."""
    n = norm
    return fold_batch_norm(
        weight, bias, n.gamma, n.beta, n.mean, n.variance, n.eps,
        transposed=transposed, groups=groups,
    )  # fmt: skip


def export_weights(
    x: Array, spec: ref.QuantizationSpec, module_kind: str
) -> tuple[Array, ref.QParams]:
    """What a file has to hold: the codes of the weight itself, and its qparams."""
    spec = replace(spec, granularity=complete_axis(spec.granularity, module_kind))
    found = stored_qparams(qparams(x, spec, "weight"), spec)
    return quantize(x, spec, found), found


def stored_qparams(qparams: ref.QParams, spec: ref.QuantizationSpec) -> ref.QParams:
    """The qparams that the formulation uses."""
    if spec.qformulation == "minval":
        return ref.QParams(qparams.scale, None, qparams.minval)
    return ref.QParams(qparams.scale, qparams.zero_point, None)


class _PlainLayers(Layers):
    """Between the quantizers plain numpy, which is one admissible evaluation."""

    quantize = staticmethod(ref.quantize)
    dequantize = staticmethod(ref.dequantize)


class NumpyReference(Backend):
    """``quant_reference``: its functions are the methods."""

    name = "numpy-reference"
    requires = ("numpy", "ml_dtypes")

    # Any, where a function is stricter about its arguments than the protocol.
    encode: Any = staticmethod(ref.encode)
    decode: Any = staticmethod(ref.decode)
    pack: Any = staticmethod(ref.pack)
    unpack: Any = staticmethod(ref.unpack)
    value_range: Any = staticmethod(ref.value_range)
    qparams: Any = staticmethod(qparams)
    quantize = staticmethod(ref.quantize)
    dequantize = staticmethod(ref.dequantize)
    fake_quantize = staticmethod(ref.fake_quantize)
    gradient = staticmethod(ref.fake_quantize_gradient)
    observe: Any = staticmethod(ref.observe)
    default_axis = staticmethod(ref.default_axis)
    fold_batch_norm = staticmethod(fold_norm)
    lifecycle = staticmethod(run_lifecycle)
    export_weights = staticmethod(export_weights)
    requantize: Any = staticmethod(requantize)
    integer_layer: Any = staticmethod(integer_layer)
    block_scale: Any = staticmethod(block_scale)
    block_quantize: Any = staticmethod(block_quantize)
    block_dequantize: Any = staticmethod(block_dequantize)
    block_dot: Any = staticmethod(block_dot)
    scale_layout: Any = staticmethod(swizzle)
    validate_spec: Any = staticmethod(ref.QuantizationSpec.from_dict)

    def layer(self, layer: Layer) -> Array:
        return _PlainLayers().layer(layer)

    def float_layer(self, layer: FloatLayer) -> Array:
        return _PlainLayers().float_layer(layer)
