"""What share of a model is quantized: counts that were made by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quant_torch.inspection import ModelInspector, QuantizedShares, quantized_shares
from quant_torch.quantization import ModuleQuantizerConfig, Quantizer, QuantizerConfig

MODES = ("graph", "eager")


def shares(model: nn.Module, mode: str, *x: Tensor, preset: str = "", **more: Any) -> Any:
    torch.manual_seed(0)
    made = getattr(QuantizerConfig.presets, preset) if preset else QuantizerConfig
    quantizer = Quantizer(model.eval(), made(execution_mode=mode, **more))
    quantizer.prepare(x)
    return quantizer.shares()


def counts(found: QuantizedShares) -> tuple[int, int, int, int]:
    return (
        found.quantized_parameters, found.parameters,
        found.quantized_multiply_adds, found.multiply_adds,
    )  # fmt: skip


class Attends(nn.Module):
    """Two products of activations between products with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 12, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.layer(x).chunk(3, -1)
        return torch.softmax(q @ k.transpose(1, 2), -1) @ v


class Tied(nn.Module):
    """A table that the last layer has for its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.table(ids)))


IMAGES = torch.randn(2, 3, 6, 6)
CASES: dict[str, tuple[Any, Tensor, int, int]] = {
    "linear": (lambda: nn.Linear(4, 5), torch.randn(3, 4), 20, 60),
    "linear of rank 3": (lambda: nn.Linear(4, 5), torch.randn(2, 3, 4), 20, 120),
    "convolution": (lambda: nn.Conv2d(3, 4, 3), IMAGES, 108, 2 * 4 * 16 * 27),
    "grouped": (lambda: nn.Conv2d(3, 6, 3, groups=3), IMAGES, 54, 2 * 6 * 16 * 9),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 2), IMAGES, 48, 2 * 3 * 36 * 16),
    "folded": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
        IMAGES, 108, 2 * 4 * 16 * 27,
    ),
    "embedding": (lambda: nn.Embedding(10, 4), torch.tensor([1, 2]), 40, 0),
    "tied": (Tied, torch.tensor([[1, 2]]), 40, 2 * 40),
    "attention": (Attends, torch.randn(2, 5, 4), 48, 2 * 5 * 48 + 2 * 2 * 5 * 5 * 4),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
class TestCounts:
    def test_all_of_it(self, name: str, mode: str) -> None:
        make, x, parameters, adds = CASES[name]
        found = shares(make(), mode, x)
        assert counts(found) == (parameters, parameters, adds, adds)
        assert found.left == ()

    def test_weights_alone(self, name: str, mode: str) -> None:
        make, x, parameters, adds = CASES[name]
        assert counts(shares(make(), mode, x, preset="w8")) == (parameters, parameters, 0, adds)

    def test_nothing(self, name: str, mode: str) -> None:
        make, x, parameters, adds = CASES[name]
        found = shares(make(), mode, x, global_config=None)
        assert counts(found) == (0, parameters, 0, adds)
        assert sum(one.parameters for one in found.left) == parameters
        assert {one.reason for one in found.left} == {"the config leaves its module alone"}


@pytest.mark.parametrize("mode", MODES)
class TestModels:
    def test_recurrent_layers_count_their_weights(self, mode: str) -> None:
        class First(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.LSTM(4, 3)

            def forward(self, x: Tensor) -> Tensor:
                return self.layer(x)[0]

        found = shares(First(), mode, torch.randn(5, 2, 4))
        assert counts(found) == (84, 84, 0, 5 * 2 * 84)

    def test_what_is_not_is_named_the_largest_first(self, mode: str) -> None:
        model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 9), nn.Linear(9, 2))
        bare = ModuleQuantizerConfig(op_state_spec=None)
        found = shares(model, mode, torch.randn(3, 4), module_name_configs={"1": None, "2": bare})
        assert counts(found) == (38, 122, 3 * 38, 3 * 122)
        assert [(one.name, one.parameters) for one in found.left] == [
            ("2.weight", 54), ("1.weight", 30)
        ]  # fmt: skip
        assert [one.reason for one in found.left] == [
            "the config has no spec for it", "the config leaves its module alone"
        ]  # fmt: skip
        assert "31.1% of 122 parameters" in str(found)
        assert "1.weight (30, read by " in str(found)

    @pytest.mark.filterwarnings("ignore:.*left unquantized")
    def test_blocks_that_do_not_fit_are_a_reason(self, mode: str) -> None:
        model = nn.Sequential(nn.Linear(32, 5), nn.Linear(5, 6))
        found = shares(model, mode, torch.randn(3, 32), preset="w4_per_block")
        (one,) = found.left
        assert (one.name, "GRAN-6" in one.reason) == ("1.weight", True)

    def test_an_operation_that_is_no_region(self, mode: str) -> None:
        found = shares(nn.Bilinear(3, 4, 2), mode, torch.randn(5, 3), torch.randn(5, 4))
        assert counts(found)[:2] == (0, 24)

    def test_products_in_place_of_a_quantized_tensor(self, mode: str) -> None:
        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

            def forward(self, x: Tensor) -> Tensor:
                return self.second(torch.exp(self.first(x)))

        config = {"module_name_configs": {"second": ModuleQuantizerConfig(op_input_spec=None)}}
        found = shares(Model(), mode, torch.randn(3, 4), **config)
        assert counts(found) == (32, 32, 3 * 16, 3 * 32)  # what exp gives is no code

    def test_the_model_is_left_as_it_was(self, mode: str) -> None:
        model = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5))
        x = torch.randn(3, 4)
        quantizer = Quantizer(model.eval(), QuantizerConfig(execution_mode=mode))
        prepared = quantizer.prepare((x,))
        before = prepared(x)
        assert counts(quantized_shares(prepared, (x,))) == counts(quantizer.shares())
        assert torch.equal(prepared(x), before)

    def test_the_inspector_says_it_of_a_float_model(self, mode: str) -> None:
        model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6)).eval()
        config = QuantizerConfig(module_name_configs={"1": None})
        found = ModelInspector(model, (torch.randn(3, 4),), mode).quantized_shares(config)
        assert counts(found) == (20, 50, 60, 150)
        assert not any("quantize" in name for name, _ in model.named_modules())
