"""Layers that compute something else are found, and named where they are and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.conformance.gate.planting import (
    argument,
    both,
    dropped,
    entry,
    found,
    node,
    surplus,
    swapped,
)

pytestmark = pytest.mark.filterwarnings("ignore")


def tanh_gelu(graph: Any) -> None:
    node(graph, "gelu").kwargs = {"approximate": "tanh"}


def average(graph: Any) -> None:
    node(graph, "max_pool2d").target = torch.ops.aten.avg_pool2d.default


def other_order(graph: Any) -> None:
    (tensors, *rest) = node(graph, "cat").args
    node(graph, "cat").args = (tensors[::-1], *rest)


TRANSFORMER = {
    "gamma": (entry("norm1.weight", 3, 1.1), {"layer_norm"}),
    "beta": (entry("norm2.bias", 3, 1.5), {"layer_norm_1"}),
    "epsilon": (argument("layer_norm", 4, 0.3), {"layer_norm"}),
    "gelu by tanh": (tanh_gelu, {"gelu"}),
    "no gelu": (dropped("gelu"), {"gelu"}),
    "softmax over another axis": (argument("softmax", 1, -2), {"softmax"}),
    "scale of attention": (argument("mul", 1, 0.24), {"mul"}),
    "no bias": (argument("linear_1", 2, None), {"linear_1"}),
    "biases of each other": (
        both(argument("linear_1", 2, "down_bias"), argument("linear_3", 2, "out_bias")),
        {"linear_1", "linear_3"},
    ),
    "query and key swapped": (
        both(argument("getitem", 1, 1), argument("getitem_1", 1, 0)),
        {"getitem", "getitem_1"},
    ),
    # The quantizer of what is no longer read leaves the file.
    "value for query": (argument("matmul", 0, "fake_quantize_getitem_2"), {"getitem", "matmul"}),
    "skip of another tensor": (argument("add_1", 0, "fake_quantize_x"), {"add_1"}),
    "heads not put together": (
        argument("reshape", 0, "fake_quantize_matmul_1"),
        {"matmul_1/again"},
    ),
    "no quantizer of the input": (dropped("fake_quantize_x"), {"x"}),
    "no quantizer of the output": (dropped("fake_quantize_add_1"), {"add_1"}),
    "no quantizer between": (dropped("fake_quantize_softmax"), {"softmax"}),
}


@pytest.mark.parametrize("name", TRANSFORMER)
def test_in_a_transformer(name: str) -> None:
    plant, wanted = TRANSFORMER[name]
    assert found("coreml", "transformer", "w8a8", plant) == wanted


@pytest.mark.parametrize(
    "name", ["query and key swapped", "no quantizer between", "skip of another tensor"]
)
def test_in_a_transformer_that_runs(name: str) -> None:
    plant, wanted = TRANSFORMER[name]
    assert found("coreai", "transformer", "w8a8", plant) == wanted


@pytest.mark.parametrize(
    ("model", "config", "plant", "wanted"),
    [
        ("unet", "clipping", other_order, {"relu/cat"}),
        ("unet", "clipping", dropped("relu"), {"relu"}),
        ("unet", "clipping", argument("conv2d", 2, None), {"relu"}),
        ("cnn", "w8a8", average, {"relu/max_pool2d"}),
        ("separable", "uint8_asymmetric", argument("conv2d_1", 2, None), {"relu_1"}),
        ("embedding", "w8a8", argument("linear", 2, None), {"relu"}),
    ],
)
def test_in_other_models(model: str, config: str, plant: Any, wanted: set[str]) -> None:
    assert found("coreml", model, config, plant) == wanted


@pytest.mark.parametrize(
    ("model", "config", "plant", "wanted"),
    [
        ("cnn", "w8", argument("conv2d", 2, None), {"convolution"}),
        ("unet", "w4", argument("conv2d", 2, None), {"convolution"}),
        ("mlp", "w4_per_block", tanh_gelu, {"addmm_2"}),
        ("transformer", "w8", swapped("layer_norm", 2, 3), {"native_layer_norm"}),
        ("transformer", "w8", argument("linear_2", 2, None), {"addmm_2"}),
        ("transformer", "w8", argument("softmax", 1, -2), {"softmax"}),
    ],
)
def test_between_float_results(model: str, config: str, plant: Any, wanted: set[str]) -> None:
    assert found("coreml", model, config, plant) == wanted


def without_bias(*names: str) -> Any:
    return both(*(argument(name, 2, None) for name in names))


@pytest.mark.parametrize(
    ("backend", "model", "plant", "wanted"),
    [
        ("coreml", "mlp", without_bias("linear", "linear_1"), {"addmm", "addmm_1"}),
        ("coreai", "mlp", without_bias("linear", "linear_1"), {"addmm", "addmm_1"}),
        ("coreml", "mlp", without_bias("linear_1", "linear_2"), {"addmm_1", "addmm_2"}),
        (
            "coreml",
            "mlp",
            without_bias("linear", "linear_1", "linear_2"),
            {"addmm", "addmm_1", "addmm_2"},
        ),
        (
            "coreml",
            "cnn",
            without_bias("conv2d", "conv2d_1"),
            {"convolution", "convolution_1"},
        ),
        ("coreml", "transformer", without_bias("linear_2", "linear_3"), {"addmm_2", "add_1"}),
        # What has no weight of its own is known by the next layer that has one.
        (
            "coreml",
            "transformer",
            both(
                swapped("layer_norm", 2, 3),
                argument("linear", 2, None),
                argument("softmax", 1, -2),
            ),
            {"native_layer_norm", "addmm", "softmax"},
        ),
    ],
)
def test_float_results_in_a_row(backend: str, model: str, plant: Any, wanted: set[str]) -> None:
    assert found(backend, model, "w8", plant) == wanted


def test_a_quantizer_too_many_and_the_layer_that_it_is_in() -> None:
    names = found("coreml", "transformer", "w8a8", surplus("linear_2", "fake_quantize_linear_3"))
    assert names == {"gelu", "quantize_16"}


def test_weights_of_two_layers_swapped() -> None:
    def plant(graph: Any) -> None:
        one, other = (
            graph.get_submodule(f"blocks.0.0.{part}.0.weight_quantized")
            for part in ("first", "second")
        )
        for name in ("codes", "scale", "zero_point"):
            mine = getattr(one, name).clone()
            setattr(one, name, getattr(other, name).clone())
            setattr(other, name, mine)

    # Each weight is in the file, and right; it is the layers that are wrong.
    assert found("coreai", "resnet18", "w8a8", plant) == {"relu_1", "batch_norm_2"}


@pytest.mark.parametrize("half", [False, True])
def test_a_folded_batch_norm_is_right(half: bool) -> None:
    # Blocks of 16 leave the first convolution in float, and coremltools folds what follows.
    assert found("coreml", "cnn", "w4_per_block", mode="eager", half=half) == set()
