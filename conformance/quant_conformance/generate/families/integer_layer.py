"""Cases of integer layers that sum products, under every rule (INT-1, INT-2, INT-9)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.requantize import scale
from quant_conformance.generate.streams import integers, reals
from quant_conformance.protocol import Array
from quant_conformance.rule_questions.integers import layer_arguments, layer_inputs
from quant_reference.integer import (
    CODE_FORMATS,
    IntegerLayer,
    IntegerTensor,
    accumulators_of,
    quantize_bias,
)

F32 = np.float32
RULES: Final = ("INT-5", "INT-6", "INT-7", "INT-8")

Shape = tuple[int, ...]

_SUMS: tuple[tuple[str, str, Shape, Shape, dict[str, Any]], ...] = (
    ("linear", "plain", (6, 33), (7, 33), {}),
    ("linear", "long", (2, 700), (3, 700), {}),
    ("matmul", "batched", (2, 5, 9), (2, 9, 4), {}),
    ("conv1d", "padded", (2, 3, 11), (4, 3, 3), {"padding": 1}),
    ("conv1d", "strided", (1, 4, 13), (6, 2, 4), {"stride": 2, "groups": 2}),
    ("conv2d", "padded", (1, 3, 6, 7), (5, 3, 3, 3), {"padding": 1}),
    ("conv2d", "pointwise", (1, 8, 4, 4), (9, 8, 1, 1), {}),
    ("conv2d", "depthwise", (1, 6, 6, 5), (6, 1, 3, 3), {"groups": 6, "padding": 1}),
    ("conv2d", "dilated", (1, 2, 9, 8), (3, 2, 3, 2), {"dilation": [2, 3], "padding": [2, 1]}),
    ("conv2d", "grouped", (1, 4, 5, 5), (6, 2, 2, 3), {"groups": 2, "stride": [2, 1]}),
    ("conv3d", "padded", (1, 2, 3, 4, 4), (3, 2, 2, 2, 2), {"padding": [1, 0, 1]}),
    ("conv_transpose1d", "strided", (1, 3, 6), (3, 4, 3), {"stride": 2, "padding": 1}),
    ("conv_transpose2d", "strided", (1, 4, 4, 3), (4, 2, 2, 3), {"stride": 2, "groups": 2}),
    ("conv_transpose3d", "plain", (1, 2, 2, 3, 2), (2, 2, 2, 2, 2), {}),
)  # fmt: skip


def build(builder: Builder) -> None:
    """Add the family."""
    for op, kind, shape, weight_shape, attributes in _SUMS:
        for formats in (("int8", "int8", "int8"), ("uint8", "int8", "uint8")):
            for per_channel in (False, True):
                if not (per_channel and op == "matmul"):
                    _sums(builder, op, kind, shape, weight_shape, attributes, formats, per_channel)
        _tied(builder, op, kind, shape, weight_shape, attributes)
    _other_formats(builder)
    _extremes(builder)


def add(
    builder: Builder, name: str, layer: IntegerLayer, flags: str, comment: str, clauses: str
) -> None:
    """Add a case, with the policy if its rules give more than one answer."""
    arguments, tensors = layer_arguments(layer), layer_inputs(layer)
    builder.add_told(
        f"integer_layer/{name}",
        "integer_layer",
        clauses=tuple(dict.fromkeys([*clauses.split(), *RULES])),
        flags=tuple(flags.split()),
        comment=comment,
        arguments=arguments,
        inputs=tensors,
    )


def tensor(
    label: str, shape: Shape, dtype: str = "int8", zero_point: int | None = None, **given: Any
) -> IntegerTensor:
    """Codes over the whole range of a format."""
    fmt = CODE_FORMATS[dtype]
    codes = integers(f"integer_layer/{label}", shape, fmt.quant_min, fmt.quant_max)
    if zero_point is None:
        zero_point = int(integers(f"integer_layer/{label}/zero", (), fmt.quant_min, fmt.quant_max))
    step = np.abs(reals(f"integer_layer/{label}/scale", (), exponents=(-7, -5)))
    return IntegerTensor(
        codes.astype(fmt.dtype),
        given.get("scale", np.asarray(step, F32).reshape(())),
        given.get("zero_points", np.asarray(zero_point, np.int32)),
        dtype,
    )


def fitted(layer: IntegerLayer) -> Array:
    """An output scale under which a tenth or so of the accumulators saturate."""
    acc = accumulators_of(layer).astype(np.float64)
    x, weight = layer.operands
    span = CODE_FORMATS[layer.output_dtype].quant_max
    widest = float(np.abs(acc).max()) * float(x.scale) * float(np.max(weight.scale))
    # Four bits of a float32 are enough for a scale that is fitted, and the same everywhere.
    mantissa, exponent = np.frexp(widest / (1.3 * span))
    return scale(np.ldexp(np.round(mantissa * 16 + 0.37) / 16 + 0.003, exponent))


def _sums(
    builder: Builder,
    op: str,
    kind: str,
    shape: Shape,
    weight_shape: Shape,
    attributes: dict[str, Any],
    formats: tuple[str, str, str],
    per_channel: bool,
) -> None:
    label = f"{op}/{kind}/{formats[0]}/{'channels' if per_channel else 'tensor'}"
    transposed = op.startswith("conv_transpose")
    groups = attributes.get("groups", 1)
    channels = weight_shape[1] * groups if transposed else weight_shape[0]
    more: dict[str, Any] = {}
    if per_channel:
        more["scale"] = np.abs(reals(f"{label}/scales", (channels,), exponents=(-9, -6)))
    x = tensor(f"{label}/x", shape, formats[0])
    weight = tensor(f"{label}/weight", weight_shape, formats[1], 0, **more)
    bias = None
    if op != "matmul":
        wanted = reals(f"{label}/bias", (channels,), exponents=(-3, 1))
        bias = quantize_bias(wanted, x.scale, weight.scale)
    zero = int(integers(f"{label}/out", (), -20, 20)) + (128 if formats[2] == "uint8" else 0)
    draft = IntegerLayer(
        op, (x, weight), scale(1.0), zero, formats[2], None, None, bias, attributes
    )
    layer = IntegerLayer(
        op, (x, weight), fitted(draft), zero, formats[2],
        zero if per_channel else None, None, bias, attributes,
    )  # fmt: skip
    flags = "MixedRounding IntegerZeroPoint IntegerBias PartialSums"
    flags += " ChannelMultiplier ActivationBounds" if per_channel else ""
    flags += " IntegerPadding" if attributes.get("padding") and not transposed else ""
    how = "with a relu, a scale for each channel" if per_channel else "one scale"
    add(
        builder, label, layer, flags, f"{op}, {kind}, {formats[0]} by {formats[1]}, {how}",
        "INT-1 INT-2 INT-3 INT-4 INT-9" if bias is not None else "INT-1 INT-3 INT-4 INT-9",
    )  # fmt: skip


def _tied(
    builder: Builder,
    op: str,
    kind: str,
    shape: Shape,
    weight_shape: Shape,
    attributes: dict[str, Any],
) -> None:
    """Small codes and multipliers of few bits, so that many accumulators lie at halves."""
    label = f"{op}/{kind}/ties"
    zero = np.asarray(0, np.int32)
    for numerator, bits in ((1, 2), (3, 4)):
        x = integers(f"integer_layer/{label}/{bits}/x", shape, -9, 9).astype(np.int8)
        weight = integers(f"integer_layer/{label}/{bits}/w", weight_shape, -5, 5).astype(np.int8)
        operands = (
            IntegerTensor(x, scale(numerator * 0.5), zero),
            IntegerTensor(weight, scale(2.0 ** (1 - bits)), zero),
        )
        layer = IntegerLayer(op, operands, scale(1.0), 3, attributes=attributes)
        add(
            builder, f"{label}/{numerator}-shift-{bits}", layer,
            "RequantizeTies MixedRounding IntegerZeroPoint",
            f"{op}, {kind}, M = {numerator}/{2**bits}, which has exact halves", "INT-1 INT-9",
        )  # fmt: skip


def _other_formats(builder: Builder) -> None:
    """int4 and uint4 weights, int16 activations, zero points of the weight for each channel."""
    for dtype in ("int4", "uint4"):
        x, weight = tensor(f"{dtype}/x", (3, 40)), tensor(f"{dtype}/weight", (5, 40), dtype)
        draft = IntegerLayer("linear", (x, weight), scale(1.0))
        layer = IntegerLayer("linear", (x, weight), fitted(draft), 3)
        add(
            builder, f"linear/{dtype}-weight", layer, "PartialSums IntegerZeroPoint",
            f"{dtype} weights with a zero point", "INT-1 INT-9",
        )  # fmt: skip
    x, weight = tensor("int16/x", (3, 20), "int16", 0), tensor("int16/weight", (4, 20), "int8", 0)
    bias = integers("integer_layer/int16/bias", (4,), -(2**30), 2**30)
    draft = IntegerLayer("linear", (x, weight), scale(1.0), 0, "int16")
    layer = IntegerLayer("linear", (x, weight), fitted(draft), 0, "int16", bias=bias)
    add(
        builder, "linear/int16", layer, "WideAccumulator IntegerBias",
        "int16 activations by int8 weights in int64", "INT-1 INT-9",
    )  # fmt: skip
    points = integers("integer_layer/points", (6,), -128, 127).astype(np.int32)
    x, weight = tensor("points/x", (3, 25)), tensor("points/weight", (6, 25), zero_points=points)
    draft = IntegerLayer("linear", (x, weight), scale(1.0))
    layer = IntegerLayer("linear", (x, weight), fitted(draft), -4)
    add(
        builder, "linear/weight-zero-points", layer, "IntegerZeroPoint ChannelMultiplier",
        "a zero point of the weight for each channel", "INT-1 INT-9",
    )  # fmt: skip


def _extremes(builder: Builder) -> None:
    """All operands at their ends: what saturates or wraps inside a kernel shows here."""
    for name, value, other in (("least", -128, -128), ("mixed", 127, -128), ("greatest", 127, 127)):
        for depth in (2, 64, 1500):
            codes = np.full((2, depth), value, np.int8)
            weights = np.full((3, depth), other, np.int8)
            weights[1] = -weights[1] // 2
            weights[2, ::2] = 1
            zero = np.asarray(0, np.int32)
            x = IntegerTensor(codes, scale(0.03125), zero)
            weight = IntegerTensor(weights, scale(0.0078125), zero)
            draft = IntegerLayer("linear", (x, weight), scale(1.0), 1)
            layer = IntegerLayer("linear", (x, weight), fitted(draft), 1)
            add(
                builder, f"linear/extreme-{name}-{depth}", layer, "PartialSums AccumulatorOverflow",
                f"{depth} products of {value} and {other}", "INT-1 INT-9",
            )  # fmt: skip
    x = IntegerTensor(np.full((1, 4), 127, np.int8), scale(0.5), np.asarray(-128, np.int32))
    weight = IntegerTensor(np.full((7, 4), -127, np.int8), scale(2.0**-22), np.asarray(0, np.int32))
    for sign in (1, -1):
        near = sign * (2**31 - 2**17 - np.arange(7) * 12345)
        bias = near.astype(np.int32)
        draft = IntegerLayer("linear", (x, weight), scale(1.0), bias=bias)
        layer = IntegerLayer("linear", (x, weight), fitted(draft), 0, "int16", bias=bias)
        add(
            builder, f"linear/near-{'greatest' if sign > 0 else 'least'}-int32", layer,
            "WideAccumulator AccumulatorOverflow IntegerBias PartialSums",
            "accumulators near the end of int32", "INT-1 INT-9",
        )  # fmt: skip
