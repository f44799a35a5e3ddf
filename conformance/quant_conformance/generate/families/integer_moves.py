"""Cases of integer layers that sum, average and move tensors (INT-10 to INT-12)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.integer_layer import Shape, add, tensor
from quant_conformance.generate.families.requantize import scale
from quant_conformance.generate.streams import integers, reals
from quant_reference.integer import IntegerLayer, IntegerTensor, integer_layer


def build(builder: Builder) -> None:
    """Add these cases to the family."""
    _elementwise(builder)
    _sums_apart(builder)
    _averages(builder)
    _moves(builder)


def _elementwise(builder: Builder) -> None:
    """add, sub and mul of all pairs of interest."""
    for op in ("add", "sub", "mul"):
        for dtype in ("int8", "uint8", "int16"):
            zero = {"zero_point": 0} if dtype == "int16" else {}
            first = tensor(f"{op}/{dtype}/a", (4, 50), dtype, **zero)
            second = tensor(f"{op}/{dtype}/b", (4, 50), dtype, **zero)
            out = 0.05 if op != "mul" else 0.11 if dtype != "int16" else 30.0
            bounds = (0, None) if dtype == "int16" else (None, None)
            layer = IntegerLayer(op, (first, second), scale(out), 0 if dtype == "int16" else 9,
                                 dtype, *bounds)  # fmt: skip
            add(
                builder, f"{op}/{dtype}", layer, "SumScales MixedRounding IntegerZeroPoint",
                f"{op} of two {dtype} tensors", "INT-10",
            )  # fmt: skip
        row = tensor(f"{op}/row", (1, 50))
        whole = tensor(f"{op}/whole", (3, 50), scale=scale(0.25))
        layer = IntegerLayer(op, (whole, row), scale(0.37), -7)
        add(
            builder, f"{op}/broadcast", layer, "SumScales MixedRounding",
            f"{op} of a matrix and a row, scales far apart", "INT-10",
        )  # fmt: skip
        half = IntegerTensor(
            np.arange(-128, 128, dtype=np.int8), scale(0.25), np.asarray(0, np.int32)
        )
        other = IntegerTensor(
            np.arange(-128, 128, dtype=np.int8)[::-1].copy(), scale(0.5), np.asarray(1, np.int32)
        )
        layer = IntegerLayer(op, (half, other), scale(0.5 if op != "mul" else 4.0), 2)
        add(
            builder, f"{op}/ties", layer, "SumScales RequantizeTies", f"{op} with exact halves",
            "INT-10",
        )  # fmt: skip


def _sums_apart(builder: Builder) -> None:
    """Sums of int16 codes at which one rounding and two part, found among many."""
    zero = np.asarray(0, np.int32)
    for op in ("add", "sub"):
        label = f"integer_layer/{op}/apart"
        steps = np.abs(reals(label, (3,), exponents=(-6, -5)))
        first, second = integers(f"{label}/codes", (2, 2**17), -30000, 30000).astype(np.int16)
        out = scale(steps[2] * 1.5)
        operands = (
            IntegerTensor(first, scale(steps[0]), zero, "int16"),
            IntegerTensor(second, scale(steps[1]), zero, "int16"),
        )
        layer = IntegerLayer(op, operands, out, 0, "int16")
        differs = integer_layer(layer, "double") != integer_layer(layer, "fixed_away")
        chosen = np.concatenate([np.flatnonzero(differs)[:40], np.arange(0, first.size, 4001)])
        picked = tuple(
            IntegerTensor(one.codes[chosen], one.scale, zero, "int16") for one in operands
        )
        add(
            builder, f"{op}/apart", IntegerLayer(op, picked, out, 0, "int16"),
            "SumScales MixedRounding", "sums at which one rounding and two part", "INT-10",
        )  # fmt: skip


def _averages(builder: Builder) -> None:
    pools: tuple[tuple[str, Shape, dict[str, Any]], ...] = (
        ("avg_pool1d", (1, 3, 20), {"kernel_size": 3, "stride": 2, "padding": 1}),
        ("avg_pool2d", (1, 3, 8, 9), {"kernel_size": [2, 2]}),
        ("avg_pool2d", (1, 3, 8, 9), {
            "kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False}),
        ("avg_pool2d", (1, 3, 8, 9), {"kernel_size": 3, "stride": 1, "padding": 1}),
        ("avg_pool3d", (1, 1, 4, 6, 5), {"kernel_size": 2, "stride": 1}),
        ("mean", (2, 5, 7, 6), {"dim": [2, 3], "keepdim": True}),
        ("mean", (40, 4), {"dim": 1}),
        ("mean", (3, 100), {"dim": -1}),
    )  # fmt: skip
    for index, (op, shape, attributes) in enumerate(pools):
        for dtype in ("int8", "uint8"):
            x = tensor(f"{op}/{index}/{dtype}", shape, dtype)
            zero = int(x.zero_point)
            same = IntegerLayer(op, (x,), x.scale, zero, dtype, attributes=attributes)
            add(
                builder, f"{op}/{index}/{dtype}/same", same, "AverageRounding IntegerPadding",
                f"{op} in the scale of its input", "INT-11",
            )  # fmt: skip
        other = IntegerLayer(op, (x,), scale(0.0271), 100, dtype, attributes=attributes)
        add(
            builder, f"{op}/{index}/rescaled", other, "AverageRounding IntegerZeroPoint",
            f"{op} in another scale", "INT-11",
        )  # fmt: skip


def _moves(builder: Builder) -> None:
    for index, scales in enumerate(((0.1, 0.1), (0.1, 0.25), (0.3, 0.07), (0.5, 1.0))):
        first = tensor(f"cat/{index}/a", (2, 40), scale=scale(scales[0]))
        second = tensor(f"cat/{index}/b", (2, 30), "uint8", scale=scale(scales[1]))
        layer = IntegerLayer("cat", (first, second), scale(scales[1]), 3, attributes={"dim": 1})
        add(
            builder, f"cat/{index}", layer, "SumScales IntegerZeroPoint MixedRounding",
            f"a concat of scales {scales[0]} and {scales[1]}", "INT-12",
        )  # fmt: skip
        x = tensor(f"pool/{index}", (1, 2, 6, 7), scale=scale(scales[0]))
        layer = IntegerLayer(
            "max_pool2d", (x,), scale(scales[1]), -5,
            attributes={"kernel_size": 3, "stride": 2, "padding": 1},
        )  # fmt: skip
        add(
            builder, f"max_pool2d/{index}", layer, "IntegerPadding MixedRounding",
            f"a max pool from scale {scales[0]} to {scales[1]}", "INT-12",
        )  # fmt: skip
        x = tensor(f"pad/{index}", (3, 20), scale=scale(scales[0]))
        layer = IntegerLayer("pad", (x,), scale(scales[1]), 7, attributes={"pad": [2, 1, 0, 1]})
        add(
            builder, f"pad/{index}", layer, "IntegerPadding MixedRounding",
            "padding with the zero point", "INT-12",
        )  # fmt: skip
        layer = IntegerLayer("relu", (x,), scale(scales[1]), 7)
        add(
            builder, f"relu/{index}", layer, "ActivationBounds IntegerZeroPoint",
            "a relu that ends at the zero point", "INT-12",
        )  # fmt: skip
    negative = IntegerTensor(
        np.full((1, 1, 4, 4), -90, np.int8), scale(0.1), np.asarray(-100, np.int32)
    )
    layer = IntegerLayer(
        "max_pool2d", (negative,), scale(0.1), -100,
        attributes={"kernel_size": 3, "stride": 1, "padding": 1},
    )  # fmt: skip
    add(
        builder, "max_pool2d/below-zero", layer, "IntegerPadding",
        "codes below 0, which padding must not beat", "INT-12",
    )  # fmt: skip
