"""Mutants of integer layers (SPEC.md, INT-1, INT-2, INT-9 to INT-12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated
from quant_conformance.mutants.model import known
from quant_conformance.protocol import Array
from quant_reference.integer import SUMS, IntegerLayer, IntegerTensor

FAMILY = ("integer_layer",)


def _reading(
    change: Callable[[IntegerLayer], IntegerLayer], *ops: str
) -> Callable[[Mutated, IntegerLayer], IntegerLayer]:
    """Makes ``layer_read``: some operations are read wrongly."""
    return lambda p, layer: change(layer) if layer.op in ops else layer


def _operand(index: int, **changed: Any) -> Callable[[IntegerLayer], IntegerLayer]:
    def change(layer: IntegerLayer) -> IntegerLayer:
        operands = list(layer.operands)
        if index < len(operands):
            operands[index] = replace(operands[index], **changed)
        return replace(layer, operands=tuple(operands))

    return change


def _zero(tensor: IntegerTensor) -> IntegerTensor:
    low = 0 if tensor.codes.dtype == np.uint8 else -128
    return replace(tensor, zero_point=np.asarray(max(0, low), np.int32))


def _without_zero_points(layer: IntegerLayer) -> IntegerLayer:
    return replace(layer, operands=tuple(map(_zero, layer.operands)))


def _first_scale_for_all(layer: IntegerLayer) -> IntegerLayer:
    first = layer.operands[0].scale
    return replace(layer, operands=tuple(replace(one, scale=first) for one in layer.operands))


def _first_zero_for_all(layer: IntegerLayer) -> IntegerLayer:
    first = layer.operands[0].zero_point
    same = [
        replace(one, zero_point=np.clip(first, 0, None).astype(np.int32))
        for one in layer.operands[1:]
    ]
    return replace(layer, operands=(layer.operands[0], *same))


def _swapped_scales(layer: IntegerLayer) -> IntegerLayer:
    first, second = layer.operands[:2]
    pair = (replace(first, scale=second.scale), replace(second, scale=first.scale))
    return replace(layer, operands=(*pair, *layer.operands[2:]))


def _sums(**changed: Any) -> Callable[[Mutated, IntegerLayer], Array]:
    return lambda p, layer: p.right.layer_sums(layer, **changed)


def _other_bias(change: Callable[[Array], Array]) -> Callable[[Mutated, IntegerLayer], Array]:
    def sums(p: Mutated, layer: IntegerLayer) -> Array:
        bias = None if layer.bias is None else change(np.asarray(layer.bias))
        return p.right.layer_sums(layer, bias=bias)

    return sums


def _kept(change: Callable[[Array], Array]) -> Callable[[Mutated, IntegerLayer], Array]:
    return lambda p, layer: np.asarray(change(p.right.layer_sums(layer)), np.int64)


def _padded_with_zero(p: Mutated, layer: IntegerLayer) -> Array:
    """Padding has the code 0, which is no 0 where the zero point is another."""
    pad = layer.attributes.get("padding")
    if not pad or layer.op.startswith("conv_transpose"):
        return p.right.layer_sums(layer)
    x = layer.operands[0].codes
    axes = int(layer.op[-2])
    pads = [pad] * axes if isinstance(pad, int) else list(pad)
    width = [(0, 0)] * (x.ndim - axes) + [(n, n) for n in pads]
    return p.right.layer_sums(layer, x=np.pad(x, width), padding=0)


def _pairs_saturate(p: Mutated, layer: IntegerLayer) -> Array:
    """Sums of two products saturate at 16 bits (SSSE3's pmaddubsw), in linear layers."""
    if layer.op != "linear":
        return p.right.layer_sums(layer)
    x, weight = layer.operands
    a = np.asarray(x.codes, np.int64) - int(x.zero_point)
    b = np.asarray(weight.codes, np.int64)
    products = a[:, None, :] * b[None]
    if products.shape[-1] % 2:
        products = np.pad(products, ((0, 0), (0, 0), (0, 1)))
    pairs = products.reshape(*products.shape[:2], -1, 2).sum(-1)
    exact = p.right.layer_sums(layer)
    return np.asarray(exact + (np.clip(pairs, -32768, 32767) - pairs).sum(-1))


def _float32_sums(p: Mutated, layer: IntegerLayer) -> Array:
    total = p.right.layer_sums(layer)
    return np.rint(total.astype(np.float32)).astype(np.int64)


def _attribute(name: str, value: Any) -> Callable[[IntegerLayer], IntegerLayer]:
    def change(layer: IntegerLayer) -> IntegerLayer:
        if name not in layer.attributes:
            return layer
        return replace(layer, attributes={**layer.attributes, name: value})

    return change


def _bias_behind(p: Mutated, codes: Array, layer: IntegerLayer) -> Array:
    """The bias is scaled alone, rounded, and added to the codes."""
    if layer.op not in SUMS or layer.bias is None:
        return codes
    plain = Mutated().integer_layer(replace(layer, bias=None, quant_min=None, quant_max=None))
    x, weight = layer.operands
    steps = np.asarray(layer.bias) * (x.scale * weight.scale / layer.output_scale)
    shape = [1] * codes.ndim
    shape[_channel_axis(layer, codes)] = -1
    wide = plain.astype(np.int64) + np.rint(steps).astype(np.int64).reshape(shape)
    low, high = np.iinfo(codes.dtype).min, np.iinfo(codes.dtype).max
    least = low if layer.quant_min is None else layer.quant_min
    return np.asarray(np.clip(wide, least, high).astype(codes.dtype))


def _channel_axis(layer: IntegerLayer, codes: Array) -> int:
    return codes.ndim - 1 if layer.op in ("linear", "matmul") else 1


def _relu_at_zero(layer: IntegerLayer) -> IntegerLayer:
    (x,) = layer.operands
    return replace(layer, operands=(replace(x, codes=np.maximum(x.codes, 0)),))


def _max_with_zero(layer: IntegerLayer) -> IntegerLayer:
    """Padding of a max pool takes part with the code 0."""
    if layer.op != "max_pool2d" or not layer.attributes.get("padding"):
        return layer
    (x,) = layer.operands
    pad = layer.attributes["padding"]
    width = [(0, 0)] * (x.codes.ndim - 2) + [(pad, pad)] * 2
    padded = replace(x, codes=np.pad(x.codes, width))
    return replace(layer, operands=(padded,), attributes={**layer.attributes, "padding": 0})


def _one_off(p: Mutated, codes: Array, layer: IntegerLayer) -> Array:
    """The last element of a row is one more, or one less where it is the greatest."""
    found = codes.copy()
    last = found[..., -1]
    found[..., -1] = np.where(last < np.iinfo(codes.dtype).max, last + 1, last - 1)
    return found


AVERAGES = ("avg_pool1d", "avg_pool2d", "avg_pool3d", "mean")
PAIRS = ("add", "sub")

INTEGER_LAYERS = (
    known("integer-input-zero-point", "leaves out the input's zero point", "INT-1", FAMILY,
          layer_sums=_sums(x_zero_point=0)),
    known("integer-weight-zero-point", "leaves out the weight's zero point", "INT-1", FAMILY,
          layer_sums=_sums(weight_zero_point=0)),
    known("integer-padding-code-zero", "pads with the code 0 instead of the zero point", "INT-1",
          FAMILY, layer_sums=_padded_with_zero),
    known("integer-bias-left-out", "leaves out the bias", "INT-1 INT-2", FAMILY,
          layer_sums=_sums(bias=None)),
    known("integer-bias-subtracted", "subtracts the bias", "INT-1 INT-2", FAMILY,
          layer_sums=_other_bias(lambda bias: -bias)),
    known("integer-bias-of-next-channel", "gives a channel the bias of the next one", "INT-1",
          FAMILY, layer_sums=_other_bias(lambda bias: np.roll(bias, 1))),
    known("integer-bias-of-16-bits", "keeps 16 bits of a bias", "INT-2", FAMILY,
          layer_sums=_other_bias(lambda bias: bias.astype(np.int16).astype(np.int32))),
    known("integer-bias-behind-the-scaling", "scales and rounds the bias by itself", "INT-9",
          FAMILY, layer_written=_bias_behind),
    known("integer-sums-saturate-at-16-bits", "saturates accumulators at 16 bits", "INT-1",
          FAMILY, layer_sums=_kept(lambda acc: np.clip(acc, -32768, 32767))),
    known("integer-sums-wrap-at-16-bits", "keeps 16 bits of accumulators", "INT-1", FAMILY,
          layer_sums=_kept(lambda acc: acc.astype(np.int16))),
    known("integer-sums-wrap-at-24-bits", "keeps 24 bits of accumulators", "INT-1", FAMILY,
          layer_sums=_kept(lambda acc: (acc << 40) >> 40)),
    known("integer-pairs-saturate", "saturates sums of two products at 16 bits", "INT-1", FAMILY,
          layer_sums=_pairs_saturate),
    known("integer-products-of-8-bits", "saturates int16 activations at 8 bits", "INT-1", FAMILY,
          layer_read=_reading(
              lambda layer: _operand(0, codes=np.clip(layer.operands[0].codes, -128, 127).astype(
                  layer.operands[0].codes.dtype))(layer)
              if layer.operands[0].codes.dtype == np.int16 else layer, *SUMS)),
    known("integer-first-scale", "scales every channel by the first one's scale", "INT-9", FAMILY,
          channel_scales=lambda p, acc, params: np.asarray(
              np.asarray(params.weight_scale).reshape(-1)[0])),
    known("integer-relu-bound-zero", "ends a fused relu at the code 0", "INT-8 INT-9", FAMILY,
          layer_read=_reading(
              lambda layer: replace(layer, quant_min=0) if layer.quant_min is not None else layer,
              *SUMS)),
    known("integer-relu-left-out", "leaves out a fused relu", "INT-9", FAMILY,
          layer_read=_reading(lambda layer: replace(layer, quant_min=None), *SUMS)),
    known("integer-output-zero-point", "leaves out the result's zero point", "INT-8 INT-9", FAMILY,
          zero_added=lambda p, params: 0),
    known("integer-last-of-a-row", "gives another code at the end of a row", "INT-9", FAMILY,
          layer_written=_one_off),
    known("integer-sum-first-scale", "scales both operands of a sum by the first one's scale",
          "INT-10", FAMILY, layer_read=_reading(_first_scale_for_all, *PAIRS)),
    known("integer-sum-swapped-scales", "scales each operand of a sum by the other's scale",
          "INT-10", FAMILY, layer_read=_reading(_swapped_scales, *PAIRS)),
    known("integer-sum-zero-points", "leaves out the zero points of a sum", "INT-10", FAMILY,
          layer_read=_reading(_without_zero_points, *PAIRS)),
    known("integer-difference-as-sum", "adds where it has to subtract", "INT-10", FAMILY,
          layer_read=_reading(lambda layer: replace(layer, op="add"), "sub")),
    known("integer-product-zero-points", "leaves out the zero points of a product", "INT-10",
          FAMILY, layer_read=_reading(_without_zero_points, "mul")),
    known("integer-average-counts-padding", "counts padding where it must not", "INT-11", FAMILY,
          layer_read=_reading(_attribute("count_include_pad", True), *AVERAGES)),
    known("integer-average-zero-point", "averages codes as if their zero point were 0", "INT-11",
          FAMILY, layer_read=_reading(_without_zero_points, *AVERAGES)),
    known("integer-average-scale", "leaves an average in the scale of its input", "INT-11", FAMILY,
          layer_read=_reading(
              lambda layer: replace(layer, output_scale=layer.operands[0].scale), *AVERAGES)),
    known("integer-max-pool-padding-zero", "lets padding of the code 0 win a max pool", "INT-12",
          FAMILY, layer_read=_reading(_max_with_zero, "max_pool2d")),
    known("integer-concat-first-scale", "scales all parts of a concat as the first", "INT-12",
          FAMILY, layer_read=_reading(_first_scale_for_all, "cat")),
    known("integer-concat-first-zero-point", "offsets all parts of a concat as the first",
          "INT-12", FAMILY, layer_read=_reading(_first_zero_for_all, "cat")),
    known("integer-relu-at-zero", "ends a relu at the code 0 instead of the zero point", "INT-12",
          FAMILY, layer_read=_reading(_relu_at_zero, "relu")),
    known("integer-move-without-rescaling", "moves codes without rescaling them", "INT-12", FAMILY,
          layer_read=_reading(
              lambda layer: replace(layer, output_scale=layer.operands[0].scale),
              "cat", "pad", "relu", "max_pool2d")),
)  # fmt: skip
