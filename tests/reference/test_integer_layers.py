"""Integer layers of the reference beside their definitions on exact integers."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from quant_reference import QuantError
from quant_reference.integer import (
    CODE_FORMATS,
    POOL_RULES,
    RULES,
    IntegerLayer,
    IntegerTensor,
    accumulate,
    integer_layer,
)
from quant_reference.oracle import integer_layers, integers

F32 = np.float32
RNG_RULES = ("float32_division", "float32_even", "fixed_up", "double", "truncating_high")


def scale(value: float) -> Any:
    return np.asarray(F32(value))


def tensor(shape: tuple[int, ...], seed: int, dtype: str = "int8", **given: Any) -> IntegerTensor:
    """Codes over the whole range, both ends among them."""
    fmt, rng = CODE_FORMATS[dtype], np.random.default_rng(seed)
    codes = rng.integers(fmt.quant_min, fmt.quant_max + 1, shape)
    codes.flat[: min(4, codes.size)] = [fmt.quant_min, fmt.quant_max] * (min(4, codes.size) // 2)
    zero = given.get("zero_point", int(rng.integers(fmt.quant_min, fmt.quant_max + 1)))
    step = given.get("scale", scale(rng.uniform(0.004, 0.05)))
    return IntegerTensor(codes.astype(fmt.dtype), step, np.asarray(zero, np.int32), dtype)


def exact(one: IntegerTensor) -> Fraction:
    return Fraction(float(one.scale.reshape(())))


SUMS: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("linear", (3, 7), (4, 7), {}),
    ("matmul", (2, 3, 5), (5, 4), {}),
    ("conv1d", (2, 4, 9), (6, 2, 3), {"stride": 2, "padding": 1, "groups": 2}),
    ("conv2d", (1, 3, 5, 6), (4, 3, 2, 3), {"padding": [1, 2], "dilation": [2, 1]}),
    ("conv2d", (1, 4, 5, 5), (4, 1, 3, 3), {"groups": 4, "padding": 1}),
    ("conv3d", (1, 2, 3, 4, 3), (2, 2, 2, 2, 2), {"stride": [1, 2, 1]}),
    ("conv_transpose1d", (1, 4, 5), (4, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ("conv_transpose2d", (1, 2, 3, 4), (2, 2, 3, 2), {"stride": [2, 1], "dilation": [1, 2]}),
    ("conv_transpose3d", (1, 2, 2, 3, 2), (2, 1, 2, 2, 2), {"groups": 2}),
]


@pytest.mark.parametrize(("op", "shape", "weight_shape", "attributes"), SUMS)
@pytest.mark.parametrize("dtypes", [("int8", "int8"), ("uint8", "uint8"), ("int16", "int8")])
def test_accumulators_are_the_definition_s(
    op: str,
    shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    attributes: dict[str, Any],
    dtypes: tuple[str, str],
) -> None:
    x, weight = tensor(shape, 1, dtypes[0]), tensor(weight_shape, 2, dtypes[1])
    groups = attributes.get("groups", 1)
    channels = {"linear": weight_shape[0], "matmul": 0}.get(op, weight_shape[0])
    channels = weight_shape[1] * groups if op.startswith("conv_transpose") else channels
    bias = np.arange(channels, dtype=np.int32) * 1000 - 7 if channels else None
    got = accumulate(
        op, x.codes, weight.codes, bias,
        x_zero_point=int(x.zero_point), weight_zero_point=int(weight.zero_point),
        bits=64 if "int16" in dtypes else 32, **attributes,
    )  # fmt: skip
    wanted = integer_layers.sums_of_products(
        op,
        integer_layers.whole(shape, x.differences.ravel().tolist()),
        integer_layers.whole(weight_shape, weight.differences.ravel().tolist()),
        None if bias is None else integer_layers.whole(bias.shape, bias.tolist()),
        **attributes,
    )
    assert got.dtype == (np.int64 if "int16" in dtypes else np.int32)
    assert got.ravel().tolist() == wanted


def test_what_an_accumulator_does_not_hold() -> None:
    x, weight = np.full((1, 9), -128, np.int8), np.full((1, 9), -128, np.int8)
    bias = np.array([2**31 - 9 * 2**14 + 5], np.int32)
    exact_sum = 9 * 2**14 + int(bias[0])
    given = {"op": "linear", "x": x, "weight": weight, "bias": bias}
    assert accumulate(**given, overflow="wrap")[0, 0] == exact_sum - 2**32  # type: ignore[arg-type]
    assert accumulate(**given, overflow="saturate")[0, 0] == 2**31 - 1  # type: ignore[arg-type]
    assert accumulate(**given, bits=64)[0, 0] == exact_sum  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", RULES)
def test_a_layer_of_products_with_a_scale_and_zero_point_for_each_channel(rule: str) -> None:
    x = tensor((1, 2, 4, 4), 3, "uint8")
    points = np.array([-128, 5, 127], np.int32)
    weight = tensor((3, 2, 2, 2), 4, scale=np.array([0.01, 0.003, 0.02], F32), zero_point=points)
    bias = np.array([100, -2000, 7], np.int32)
    layer = IntegerLayer("conv2d", (x, weight), scale(0.5), -3, "int8", -3, 100, bias)
    got = integer_layer(layer, rule)
    for channel in range(3):
        acc = integer_layers.sums_of_products(
            "conv2d",
            integer_layers.whole((1, 2, 4, 4), x.differences.ravel().tolist()),
            integer_layers.whole(
                (1, 2, 2, 2),
                (weight.codes[channel].astype(int) - int(points[channel])).ravel().tolist(),
            ),
            integer_layers.whole((1,), [int(bias[channel])]),
        )
        scales = (exact(x), Fraction(float(weight.scale[channel])), Fraction(1, 2))
        wanted = [integers.requantize(a, scales, rule, -3, "int8", (-3, 100)) for a in acc]
        assert got[0, channel].ravel().tolist() == wanted


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("op", ["add", "sub", "mul"])
def test_sums_and_products_are_the_definition_s(op: str, rule: str) -> None:
    for dtype, zero_point in (("int8", -5), ("uint8", 130), ("int16", 0)):
        given = {"zero_point": 0} if dtype == "int16" else {}
        first, second = tensor((40,), 5, dtype, **given), tensor((40,), 6, dtype, **given)
        out = 9.0 if op == "mul" and dtype == "int16" else 0.0625
        layer = IntegerLayer(op, (first, second), scale(out), zero_point, dtype)
        got = integer_layer(layer, rule).tolist()
        scales = (exact(first), exact(second), Fraction(out))
        pairs = zip(first.differences.tolist(), second.differences.tolist(), strict=True)
        for code, (a, b) in zip(got, pairs, strict=True):
            if op == "mul":
                wanted = integers.requantize(a * b, scales, rule, zero_point, dtype)
            else:
                wanted = integer_layers.add(
                    a, b, scales, rule, minus=op == "sub", left=15 if dtype == "int16" else 20,
                    zero_point=zero_point, dtype=dtype,
                )  # fmt: skip
            assert code == wanted, (a, b)


def windows(shape: tuple[int, ...], kernel: int, stride: int, pad: int) -> list[Any]:
    """(slices of what is inside, elements of the window outside) for each window of two axes."""
    found = []
    extents = [(n + 2 * pad - kernel) // stride + 1 for n in shape]
    for place in product(*map(range, extents)):
        starts = [i * stride - pad for i in place]
        inside = tuple(
            slice(max(s, 0), min(s + kernel, n)) for s, n in zip(starts, shape, strict=True)
        )
        found.append(inside)
    return found


@pytest.mark.parametrize("rule", [*POOL_RULES, *RULES])
@pytest.mark.parametrize("counted", [True, False])
def test_average_pools_are_the_definition_s(rule: str, counted: bool) -> None:
    for seed, zero_point in ((7, -128), (8, 3)):
        x = tensor((1, 1, 6, 7), seed, zero_point=zero_point)
        attributes = {
            "kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": counted,
        }  # fmt: skip
        layer = IntegerLayer("avg_pool2d", (x,), x.scale, zero_point, "int8", attributes=attributes)
        got = integer_layer(layer, rule).ravel().tolist()
        step = exact(x)
        wanted = []
        for inside in windows((6, 7), 3, 2, 1):
            codes = x.codes[0, 0][inside].ravel().tolist()
            padding = 9 - len(codes) if counted else 0
            wanted.append(
                integer_layers.average(codes, padding, zero_point, (step, step), rule, zero_point)
            )
        assert got == wanted


@pytest.mark.parametrize("rule", [*POOL_RULES, "fixed_up", "double", "float32_even"])
def test_means_are_the_definition_s(rule: str) -> None:
    x = tensor((2, 3, 5, 7), 9)
    zero_point, step = int(x.zero_point), exact(x)
    layer = IntegerLayer(
        "mean", (x,), x.scale, zero_point, attributes={"dim": [2, -1], "keepdim": True}
    )
    got = integer_layer(layer, rule)
    assert got.shape == (2, 3, 1, 1)
    for place in product(range(2), range(3)):
        codes = x.codes[place].ravel().tolist()
        wanted = integer_layers.average(codes, 0, zero_point, (step, step), rule, zero_point)
        assert got[place].item() == wanted


@pytest.mark.parametrize("rule", RNG_RULES)
def test_moves_are_the_definition_s(rule: str) -> None:
    first, second = tensor((2, 3), 10), tensor((2, 2), 11, "uint8")
    layer = IntegerLayer("cat", (first, second), scale(0.03), 4, attributes={"dim": 1})
    got = integer_layer(layer, rule)
    for part, operand in ((got[:, :3], first), (got[:, 3:], second)):
        wanted = [
            integer_layers.moved(
                int(code), int(operand.zero_point), (exact(operand), Fraction(float(F32(0.03)))),
                rule, 4,
            )
            for code in operand.codes.ravel()
        ]  # fmt: skip
        assert part.ravel().tolist() == wanted
    pooled = IntegerLayer(
        "max_pool2d", (tensor((1, 1, 4, 4), 12),), scale(0.03), 4,
        attributes={"kernel_size": 3, "stride": 1, "padding": 1},
    )  # fmt: skip
    (x,) = pooled.operands
    wanted = [
        integer_layers.moved(
            max(x.codes[0, 0][inside].ravel().tolist()), int(x.zero_point),
            (exact(x), Fraction(float(F32(0.03)))), rule, 4,
        )
        for inside in windows((4, 4), 3, 1, 1)
    ]  # fmt: skip
    assert integer_layer(pooled, rule).ravel().tolist() == wanted


def test_padding_is_the_zero_point_and_relu_ends_there() -> None:
    x = tensor((2, 2), 13, zero_point=-7)
    padded = IntegerLayer("pad", (x,), x.scale, -7, attributes={"pad": [1, 0, 0, 2]})
    got = integer_layer(padded, "double")
    assert got.shape == (4, 3)
    assert (got[2:] == -7).all()
    assert (got[:, 0] == -7).all()
    np.testing.assert_array_equal(got[:2, 1:], x.codes)
    found = integer_layer(IntegerLayer("relu", (x,), x.scale, -7), "double")
    np.testing.assert_array_equal(found, np.maximum(x.codes, -7))


X = tensor((1, 2, 4), 20)
W = tensor((2, 2, 2), 21)


@pytest.mark.parametrize(
    ("clause", "layer", "rule"),
    [
        ("INT-9", IntegerLayer("conv9d", (X, W), scale(1)), "double"),
        ("INT-9", IntegerLayer("conv1d", (X,), scale(1)), "double"),
        ("INT-9", IntegerLayer("conv1d", (X, W), scale(1), attributes={"strid": 2}), "double"),
        ("INT-5", IntegerLayer("conv1d", (X, W), scale(1)), "twice"),
        ("INT-8", IntegerLayer("conv1d", (X, W), scale(1), 128), "double"),
        ("INT-5", IntegerLayer("conv1d", (X, W), scale(1)), "average_half_away"),
        ("INT-11", IntegerLayer("mean", (X,), scale(1)), "average_half_away"),
        ("INT-12", IntegerLayer("cat", (X, X), scale(1), attributes={"dim": 3}), "double"),
        ("INT-10", IntegerLayer(
            "mul", (tensor((2,), 1, "int16", zero_point=-32768),) * 2, scale(1), 0, "int16"),
            "double"),
    ],
)  # fmt: skip
def test_bad_layers_are_refused_by_their_clause(
    clause: str, layer: IntegerLayer, rule: str
) -> None:
    with pytest.raises(QuantError) as caught:
        integer_layer(layer, rule)
    assert caught.value.clause == clause


@pytest.mark.parametrize(
    ("codes", "zero_point", "dtype"),
    [
        (np.zeros(2, np.uint8), 0, "int8"),
        (np.full(2, 9, np.int8), 0, "int4"),
        (np.zeros(2, np.int8), 9, "int4"),
    ],
)
def test_tensors_that_are_not_of_their_format(codes: Any, zero_point: int, dtype: str) -> None:
    with pytest.raises(QuantError) as caught:
        IntegerTensor(codes, scale(1), np.asarray(zero_point, np.int32), dtype)
    assert caught.value.clause == "INT-9"
