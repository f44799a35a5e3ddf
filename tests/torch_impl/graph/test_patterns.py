"""Regions: what is one chain, which chain wins, and the chains that users add."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.torch_impl.graph.support import Net, conv, dtypes, groups, images, prepare, rows
from torch import Tensor, nn
from torch.nn import functional

from quant_torch.quantization._graph import patterns as module
from quant_torch.quantization._graph._annotation_pattern_registry import (
    BaseAnnotationPattern,
    NAryActPattern,
    SharedObserverModulePattern,
    _AnnotationPatternRegistry,
    _get_all_patterns_from_base_ops,
    _get_all_patterns_with_activations_appended,
)
from quant_torch.quantization._graph._annotation_utils import (
    OpsListPattern,
    match_pattern_with_sequential_partitions,
)
from quant_torch.quantization.graph_patterns import (
    ACTIVATIONS,
    patterns,
    register_pattern,
    unregister_pattern,
)


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    before = dict(module.ADDED)
    yield
    module.ADDED.clear()
    module.ADDED.update(before)


ACTIVATION_MODULES = [
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.ELU, nn.CELU, nn.SELU, nn.Mish, nn.Hardtanh,
    nn.Hardswish, nn.Hardsigmoid, nn.GELU, nn.Sigmoid, nn.LogSigmoid, nn.Tanh,
]  # fmt: skip
IN_PLACE = [cls for cls in ACTIVATION_MODULES if cls not in
            (nn.GELU, nn.Sigmoid, nn.LogSigmoid, nn.Tanh)]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATION_MODULES, ids=lambda cls: cls.__name__)
def test_every_activation_ends_its_region(activation: type[nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(6, 6), activation(), nn.Linear(6, 6))
    found = dtypes(prepare(model, rows()))
    assert len(found) == 3
    assert "linear" not in found


@pytest.mark.parametrize("activation", IN_PLACE, ids=lambda cls: cls.__name__)
def test_in_place_activations_too(activation: Any) -> None:
    model = nn.Sequential(nn.Linear(6, 6), activation(inplace=True), nn.Linear(6, 6))
    found = dtypes(prepare(model, rows()))
    assert len(found) == 3
    assert "linear" not in found


def test_the_table_of_activations_is_complete() -> None:
    assert len(ACTIVATIONS) == len(ACTIVATION_MODULES)


LAYERS = {
    "conv1d": (nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), (2, 3, 8)),
    "conv2d": (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), (2, 3, 8, 8)),
    "conv3d": (nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), (2, 3, 5, 5, 5)),
    "conv_transpose1d": (nn.ConvTranspose1d(3, 4, 3), nn.BatchNorm1d(4), (2, 3, 8)),
    "conv_transpose2d": (nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4), (2, 3, 8, 8)),
    "conv_transpose3d": (nn.ConvTranspose3d(3, 4, 3), nn.BatchNorm3d(4), (2, 3, 5, 5, 5)),
    "linear": (nn.Linear(3, 4), nn.BatchNorm1d(4), (5, 3)),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("length", [1, 2, 3])
def test_layers_with_batch_norm_and_activation(kind: str, length: int) -> None:
    layer, norm, shape = LAYERS[kind]
    model = nn.Sequential(*[layer, norm, nn.ReLU()][:length])
    last = [kind, "batch_norm", "relu"][length - 1]
    assert list(dtypes(prepare(model, torch.randn(shape)))) == ["input", last]


def test_padding_by_name_and_functional_layers() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        return functional.relu(functional.conv2d(x, net.a.weight, None, padding="same"))

    assert list(dtypes(prepare(Net(forward, a=conv(3, 3)), images()))) == ["args_0", "relu"]


def test_two_readers_end_a_region() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        y = net.a(x)
        return functional.relu(y) + y

    assert list(dtypes(prepare(Net(forward, a=conv()), images()))) == [
        "args_0", "conv2d", "relu", "add",
    ]  # fmt: skip


def test_a_result_that_leaves_the_model_ends_a_region() -> None:
    def forward(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        y = net.a(x)
        return y, functional.relu(y)

    assert list(dtypes(prepare(Net(forward, a=conv()), images()))) == ["args_0", "conv2d"]


def division(net: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    return functional.silu(a / b)


def chain(net: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    return (a + b) * b - a


def test_a_registered_pair() -> None:
    inputs = (rows(), rows(1))
    assert dtypes(prepare(Net(division), *inputs)) == {}
    register_pattern("div_act", ["div", ACTIVATIONS])
    assert list(dtypes(prepare(Net(division), *inputs))) == ["args_0", "args_1", "silu"]
    unregister_pattern("div_act")
    assert dtypes(prepare(Net(division), *inputs)) == {}


def test_a_registered_chain_goes_before_its_parts() -> None:
    inputs = (rows(), rows(1))
    assert list(dtypes(prepare(Net(chain), *inputs))) == ["args_0", "args_1", "add", "mul", "sub"]
    register_pattern("add_mul_sub", [torch.add, torch.mul, torch.sub])
    assert list(dtypes(prepare(Net(chain), *inputs))) == ["args_0", "args_1", "sub"]


def test_pattern_classes_as_they_are_documented() -> None:
    @_AnnotationPatternRegistry.register("div_act")
    class DivActPattern(NAryActPattern):
        @classmethod
        def generate_patterns(cls) -> list[OpsListPattern]:
            return _get_all_patterns_from_base_ops({torch.div, operator.truediv}, use_act=True)

    @_AnnotationPatternRegistry.register("add_mul_sub")
    class AddMulSubPattern(BaseAnnotationPattern):
        @classmethod
        def generate_patterns(cls) -> list[OpsListPattern]:
            return [OpsListPattern([operator.add, torch.mul, "sub"])]

    inputs = (rows(), rows(1))
    assert list(dtypes(prepare(Net(division), *inputs))) == ["args_0", "args_1", "silu"]
    assert list(dtypes(prepare(Net(chain), *inputs))) == ["args_0", "args_1", "sub"]
    del _AnnotationPatternRegistry.REGISTRY["div_act"]
    assert dtypes(prepare(Net(division), *inputs)) == {}


def test_a_class_may_leave_matches_out() -> None:
    """Of two equal chains it takes the one whose first operation has a name it wants."""

    @_AnnotationPatternRegistry.register("add_mul")
    class Second(BaseAnnotationPattern):
        @classmethod
        def generate_patterns(cls) -> list[OpsListPattern]:
            return [OpsListPattern(["add", "mul"])]

        @classmethod
        def match_single_pattern(cls, model: Any, pattern: OpsListPattern) -> Any:
            found = match_pattern_with_sequential_partitions(model, pattern)
            assert [[n.name for n in chain] for chain in found.values()] == [
                ["add", "mul"], ["add_1", "mul_1"],
            ]  # fmt: skip
            return {first: chain for first, chain in found.items() if first.name == "add_1"}

    model = Net(lambda s, a, b: ((a + b) * b + a) * b)
    found = list(dtypes(prepare(model, rows(), rows(1))))
    assert found == ["args_0", "args_1", "add", "mul", "mul_1"]


def test_activations_behind_a_chain() -> None:
    @_AnnotationPatternRegistry.register("add_mul_act")
    class AddMulAct(BaseAnnotationPattern):
        @classmethod
        def generate_patterns(cls) -> list[OpsListPattern]:
            return _get_all_patterns_with_activations_appended(OpsListPattern(["add", torch.mul]))

    model = Net(lambda s, a, b: functional.gelu((a + b) * b))
    assert list(dtypes(prepare(model, rows(), rows(1)))) == ["args_0", "args_1", "gelu"]


def test_an_annotator_of_ones_own_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Own.get_annotator_func cannot be used.*PLACE-1"):

        @_AnnotationPatternRegistry.register("own")
        class Own(BaseAnnotationPattern):
            @classmethod
            def get_annotator_func(cls) -> Any:
                return print

            @classmethod
            def generate_patterns(cls) -> list[OpsListPattern]:
                return [OpsListPattern(["div"])]

    assert "own" not in _AnnotationPatternRegistry.REGISTRY


def test_a_registered_value_preserving_operation_shares() -> None:
    @_AnnotationPatternRegistry.register("flip")
    class FlipPattern(SharedObserverModulePattern):
        @classmethod
        def generate_patterns(cls) -> list[OpsListPattern]:
            return [OpsListPattern([torch.flip])]

    model = Net(lambda s, x: s.a(x).flip(1), a=nn.Linear(6, 6))
    assert groups(prepare(model, rows()))["flip"] == "linear"


def test_a_taken_key_is_refused() -> None:
    register_pattern("div_act", ["div", ACTIVATIONS])
    with pytest.raises(ValueError, match=r"'div_act' is registered already"):
        register_pattern("div_act", ["div"])
    with pytest.raises(ValueError, match=r"'conv_bn' is registered already"):
        register_pattern("conv_bn", ["div"])


@pytest.mark.parametrize("chain", [[], [[]], ["div", []]])
def test_an_empty_chain_is_refused(chain: Any) -> None:
    with pytest.raises(ValueError, match="at least one operation"):
        register_pattern("empty", chain)


def test_what_is_no_operation_is_refused() -> None:
    with pytest.raises(TypeError, match="given 3"):
        register_pattern("three", ["div", 3])  # type: ignore[list-item]


def test_chains_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):

        @_AnnotationPatternRegistry.register("uneven")
        class Uneven(NAryActPattern):
            @classmethod
            def generate_patterns(cls) -> list[OpsListPattern]:
                return [OpsListPattern(["div"]), OpsListPattern(["div", "relu"])]


def test_longer_patterns_come_first() -> None:
    lengths = [len(pattern.chain) for pattern in patterns()]
    assert lengths == sorted(lengths, reverse=True)
