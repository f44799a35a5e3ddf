"""The operations eager mode knows: quantized by default, when named, and when users add them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.torch_impl.eager.support import (
    WIDE,
    both_ways,
    eager,
    fixed,
    only_named,
    operations,
    prepare,
    quantized,
)
from tests.torch_impl.graph.support import Net
from torch import Tensor, nn
from torch.nn import functional

from quant_torch.quantization import ModuleQuantizerConfig, OpQuantizerConfig
from quant_torch.quantization._eager.supported_ops_registry import (
    BUILT_IN,
    EagerQuantizerSupportedOpsRegistry,
)

X = torch.linspace(-1, 1, 32).reshape(2, 2, 2, 4)
DEFAULT = {
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "linear", "embedding", "max_pool2d", "adaptive_avg_pool2d", "add", "sub", "mul", "matmul",
}  # fmt: skip

OFF: dict[str, Callable[[Tensor], Any]] = {
    "bmm": lambda x: torch.bmm(x[0], x[0].transpose(1, 2)),
    "mm": lambda x: torch.mm(x[0, 0], x[0, 0].t()),
    "baddbmm": lambda x: torch.baddbmm(x[0], x[0], x[0].new_ones(2, 4, 4)),
    "addmm": lambda x: torch.addmm(x[0, 0, :, :2], x[0, 0], x[0, 1].t()),
    "einsum": lambda x: torch.einsum("abcd,abcd->ab", x, x),
    "div": lambda x: x / 2.0,
    "rsub": lambda x: 1.0 - x,
    "cat": lambda x: torch.cat([x, x]),
    "mean": lambda x: x.mean(1),
    "max_pool1d": lambda x: functional.max_pool1d(x[0], 2),
    "max_pool3d": lambda x: functional.max_pool3d(x, (1, 1, 2)),
    "avg_pool1d": lambda x: functional.avg_pool1d(x[0], 2),
    "avg_pool2d": lambda x: functional.avg_pool2d(x, 2),
    "avg_pool3d": lambda x: functional.avg_pool3d(x, (1, 1, 2)),
    "adaptive_avg_pool1d": lambda x: functional.adaptive_avg_pool1d(x[0], 1),
    "adaptive_avg_pool3d": lambda x: functional.adaptive_avg_pool3d(x, 1),
    "adaptive_max_pool1d": lambda x: functional.adaptive_max_pool1d(x[0], 1),
    "adaptive_max_pool2d": lambda x: functional.adaptive_max_pool2d(x, 1),
    "adaptive_max_pool3d": lambda x: functional.adaptive_max_pool3d(x, 1),
    "relu": functional.relu,
    "relu6": functional.relu6,
    "leaky_relu": functional.leaky_relu,
    "silu": functional.silu,
    "elu": functional.elu,
    "celu": functional.celu,
    "selu": functional.selu,
    "mish": functional.mish,
    "hardtanh": functional.hardtanh,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "gelu": functional.gelu,
    "sigmoid": torch.sigmoid,
    "logsigmoid": functional.logsigmoid,
    "tanh": torch.tanh,
    "softmax": lambda x: x.softmax(-1),
    "scaled_dot_product_attention": lambda x: functional.scaled_dot_product_attention(x, x, x),
}


def model(function: Callable[[Tensor], Any]) -> nn.Module:
    return Net(lambda s, x: function(x))


def test_the_lists_are_whole() -> None:
    assert {key for key, op in BUILT_IN.items() if op.by_default} == DEFAULT
    assert {key for key, op in BUILT_IN.items() if not op.by_default} == set(OFF)


@pytest.mark.parametrize("key", OFF)
class TestOff:
    def test_by_default(self, key: str) -> None:
        prepared = prepare(model(OFF[key]), X)
        assert quantized(prepared) == set()
        assert torch.equal(prepared(X), OFF[key](X))

    def test_named(self, key: str) -> None:
        prepared = prepare(model(OFF[key]), X, config=only_named(**{key: both_ways(WIDE)}))
        (name,) = operations(prepared)
        assert {what for what in quantized(prepared) if "output" in what} == {f"{name} output 0"}
        assert any(" input " in what for what in quantized(prepared))
        assert not torch.equal(prepared(X), OFF[key](X))
        assert torch.equal(prepared(X), fixed(prepared(X))), "the output is no multiple"


INDICES: dict[str, Callable[[Tensor], Any]] = {
    "max_pool1d": lambda x: functional.max_pool1d(x[0], 2, return_indices=True),
    "max_pool3d": lambda x: functional.max_pool3d(x, (1, 1, 2), return_indices=True),
    "adaptive_max_pool1d": lambda x: functional.adaptive_max_pool1d(x[0], 1, return_indices=True),
    "adaptive_max_pool2d": lambda x: functional.adaptive_max_pool2d(x, 1, return_indices=True),
    "adaptive_max_pool3d": lambda x: functional.adaptive_max_pool3d(x, 1, return_indices=True),
}


@pytest.mark.parametrize("key", INDICES)
def test_pools_that_give_indices(key: str) -> None:
    prepared = prepare(model(INDICES[key]), X, config=only_named(**{key: both_ways(WIDE)}))
    values, indices = prepared(X)
    wanted, places = INDICES[key](fixed(X))
    assert torch.equal(values, fixed(wanted))
    assert torch.equal(indices, places)


def test_an_exact_name_switches_one_operation_on() -> None:
    config = eager(
        ModuleQuantizerConfig(
            op_input_spec=None, op_output_spec=None, op_name_config={"relu_1": OpQuantizerConfig()}
        )
    )
    function = model(lambda x: functional.relu(functional.relu(x)))
    assert operations(prepare(function, X, config=config)) == {"relu_1"}


def test_a_pattern_means_what_is_on() -> None:
    config = eager(ModuleQuantizerConfig(op_name_config={".*": OpQuantizerConfig()}))
    assert operations(prepare(model(lambda x: functional.relu(x + 1.0)), X, config=config)) == {
        "add"
    }


@pytest.fixture
def _restored() -> Iterator[None]:
    before = dict(EagerQuantizerSupportedOpsRegistry.REGISTRY)
    yield
    EagerQuantizerSupportedOpsRegistry.REGISTRY.clear()
    EagerQuantizerSupportedOpsRegistry.REGISTRY.update(before)


@pytest.mark.usefixtures("_restored")
class TestRegistering:
    def test_a_new_operation(self) -> None:
        assert quantized(prepare(model(torch.special.sinc), X)) == set()

        @EagerQuantizerSupportedOpsRegistry.register("sinc")
        class Sinc:
            ops = (torch.special.sinc, torch.sinc)

        config = eager(ModuleQuantizerConfig(op_input_spec={"*": WIDE}, op_output_spec={"*": WIDE}))
        prepared = prepare(model(torch.special.sinc), X, config=config)
        assert torch.equal(prepared(X), fixed(torch.sinc(fixed(X))))
        assert len(operations(prepared)) == 1
        off = eager(ModuleQuantizerConfig(op_type_config={"sinc": None}))
        assert quantized(prepare(model(torch.special.sinc), X, config=off)) == set()

    def test_a_known_operation_is_switched_on(self) -> None:
        @EagerQuantizerSupportedOpsRegistry.register("div")
        class DivQuantizationSupport:
            ops = (torch.div, torch.Tensor.div)

        assert quantized(prepare(model(lambda x: x / x.abs()), X)) == {
            "div input input", "div input other", "div output 0",
        }  # fmt: skip

    def test_names_of_arguments(self) -> None:
        @EagerQuantizerSupportedOpsRegistry.register("hypot")
        class Hypot:
            ops = (torch.hypot,)
            arguments = ("leg", "other")

        config = eager(ModuleQuantizerConfig(op_input_spec={"leg": WIDE}, op_output_spec=None))
        function = model(lambda x: torch.hypot(x, x))
        assert quantized(prepare(function, X, config=config)) == {"hypot input leg"}

    @pytest.mark.parametrize("key", sorted(DEFAULT))
    def test_a_default_key_is_taken(self, key: str) -> None:
        with pytest.raises(ValueError, match=f"'{key}' is quantized by default already"):
            EagerQuantizerSupportedOpsRegistry.register(key)

    def test_a_key_of_ones_own_is_taken_then(self) -> None:
        mine = type("Mine", (), {"ops": [torch.sinc]})
        EagerQuantizerSupportedOpsRegistry.register("sinc")(mine)
        with pytest.raises(ValueError, match="'sinc' is taken by Mine"):
            EagerQuantizerSupportedOpsRegistry.register("sinc")(mine)

    @pytest.mark.parametrize("ops", [None, "torch.sinc", ["torch.sinc"], 3])
    def test_ops_are_a_list_of_functions(self, ops: Any) -> None:
        with pytest.raises(TypeError, match="Mine must list its torch functions in ops"):
            EagerQuantizerSupportedOpsRegistry.register("sinc")(type("Mine", (), {"ops": ops}))
        assert "sinc" not in EagerQuantizerSupportedOpsRegistry.REGISTRY
