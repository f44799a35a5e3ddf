"""Weights in eager mode: by parametrization, shared ones once, batch norm kept apart."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.torch_impl.eager.support import (
    eager,
    is_parametrized,
    operations,
    prepare,
    quantized,
    weights,
)
from tests.torch_impl.finalize.specs import assert_same_bits, expected, per_channel
from tests.torch_impl.graph.support import Net, set_statistics
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

import quant_reference as reference
from quant_torch.quantization import ModuleQuantizerConfig, QuantizerConfig
from quant_torch.quantization.spec import FakeQuantizeImplBase, QuantizationSpec

W8 = QuantizerConfig.presets.w8(execution_mode="eager")
WEIGHT = {"granularity": per_channel(0)}
LAYERS: dict[str, tuple[Any, tuple[int, ...], int]] = {
    "Linear": (lambda: nn.Linear(6, 4), (2, 6), 0),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3), (2, 4, 8), 0),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3), (2, 4, 8, 8), 0),
    "Conv3d": (lambda: nn.Conv3d(2, 4, 3), (1, 2, 4, 4, 4), 0),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 8, 8), 0),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), (2, 4, 8, 8), 0),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 6, 3), (2, 4, 8), 1),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3), (2, 4, 8, 8), 1),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(2, 4, 3), (1, 2, 4, 4, 4), 1),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_the_weight_is_the_references_and_nothing_else_changes(
    name: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    make, shape, axis = LAYERS[name]
    layer = make().to(dtype).eval()
    x = torch.randn(shape).to(dtype)
    changed = copy.deepcopy(layer)
    values = expected({"granularity": per_channel(axis)}, layer.weight)[2]
    changed.weight.data = (
        torch.from_numpy(values.view("u2")).view(dtype)
        if dtype != torch.float32
        else torch.from_numpy(values)
    )
    prepared = prepare(layer, x, config=W8)
    assert quantized(prepared) == {"weight"}
    assert_same_bits(prepared.weight, values)
    with torch.no_grad():
        assert torch.equal(prepared(x), changed(x))


def test_embedding() -> None:
    torch.manual_seed(0)
    layer = nn.Embedding(7, 5)
    values = expected({"granularity": per_channel(0)}, layer.weight)[2]
    tokens = torch.tensor([[0, 3], [6, 6]])
    prepared = prepare(layer, tokens, config=W8)
    assert_same_bits(prepared(tokens), values[tokens.numpy()])


def test_the_weight_stays_a_parameter() -> None:
    layer = nn.Linear(6, 4)
    weight = layer.weight
    prepared = prepare(layer, torch.randn(2, 6), config=W8)
    assert prepared is layer
    assert dict(prepared.named_parameters())["parametrizations.weight.original"] is weight
    assert isinstance(prepared, nn.Linear)


def test_assignment_reaches_the_original() -> None:
    prepared = prepare(nn.Linear(6, 4), torch.randn(2, 6), config=W8)
    new = torch.randn(4, 6)
    prepared.weight = new
    assert torch.equal(prepared.parametrizations.weight.original, new)


class TestSharing:
    def tied(self) -> Net:
        model = Net(lambda s, t: s.head(s.table(t)), table=nn.Embedding(8, 6), head=nn.Linear(6, 8))
        model.head.weight = model.table.weight
        return model

    def test_a_shared_weight_has_one_set_of_qparams(self) -> None:
        tokens = torch.arange(4)
        prepared = prepare(self.tied(), tokens, config=W8)
        (one,), (other,) = (m.parametrizations.weight for m in (prepared.table, prepared.head))
        assert one is other
        assert weights(prepared) == {"table.weight"}

    def test_it_stays_one_parameter(self) -> None:
        tokens = torch.arange(4)
        prepared = prepare(self.tied(), tokens, config=W8)
        originals = [m.parametrizations.weight.original for m in (prepared.table, prepared.head)]
        assert originals[0] is originals[1]
        prepared(tokens).sum().backward()
        assert originals[0].grad is not None

    def test_a_copy_shares_as_well(self) -> None:
        tokens = torch.arange(4)
        prepared = copy.deepcopy(prepare(self.tied(), tokens, config=W8))
        originals = [m.parametrizations.weight.original for m in (prepared.table, prepared.head)]
        assert originals[0] is originals[1]

    def test_different_wishes_warn(self) -> None:
        config = eager().set_module_name("head", ModuleQuantizerConfig.presets.w4())
        with pytest.warns(UserWarning, match=r"different quantization of table\.weight"):
            prepare(self.tied(), torch.arange(4), config=config)

    def test_a_module_called_twice(self) -> None:
        x = torch.randn(2, 4)
        model = Net(lambda s, x: s.layer(torch.relu(s.layer(x))), layer=nn.Linear(4, 4))
        prepared = prepare(model, x, config=W8)
        assert weights(prepared) == {"layer.weight"}


class TestWhatIsNoPlainWeight:
    def test_batch_norm_is_kept_apart(self) -> None:
        """Eager mode does not fold: the conv's own weight is quantized, the norm is float."""
        torch.manual_seed(0)
        model = set_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
        norm = copy.deepcopy(model[1])
        values = expected(WEIGHT, model[0].weight)[2]
        x = torch.randn(1, 3, 6, 6)
        prepared = prepare(model, x, config=W8)
        assert_same_bits(prepared[0].weight, values)
        for name, tensor in norm.state_dict().items():
            assert torch.equal(prepared[1].state_dict()[name], tensor)
        assert not is_parametrized(prepared[1])
        assert prepared(x).shape == (1, 4, 4, 4)

    def test_prepare_leaves_the_statistics_alone(self) -> None:
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
        before = copy.deepcopy(model[1].state_dict())
        prepare(model, torch.randn(4, 3, 6, 6))
        for name, tensor in before.items():
            assert torch.equal(model[1].state_dict()[name], tensor)

    def test_layer_norm_is_left_in_full_precision(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        assert quantized(prepare(model, torch.randn(2, 4))) == {
            "0.weight", "0.linear input input", "0.linear output 0",
        }  # fmt: skip

    def test_a_functional_weight(self) -> None:
        class Functional(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.randn(4, 6))

            def forward(self, x: Tensor) -> Tensor:
                return functional.linear(x, self.weight)

        prepared = prepare(Functional(), torch.randn(2, 6), config=W8)
        original = prepared.parametrizations.weight.original
        assert_same_bits(prepared.weight, expected(WEIGHT, original)[2])

    def test_a_weight_that_forward_computes(self) -> None:
        """It is quantized where it is used, still as a weight; the one it comes from is, too."""

        def forward(self: Any, x: Tensor) -> Tensor:
            return functional.linear(x, self.layer.weight * 2.0)

        config = eager(
            ModuleQuantizerConfig(
                op_input_spec=None, op_output_spec=None,
                op_state_spec={"weight": QuantizationSpec(granularity=per_channel(0))},
            )
        )  # fmt: skip
        x = torch.randn(2, 6)
        prepared = prepare(Net(forward, layer=nn.Linear(6, 4)), x, config=config)
        assert quantized(prepared) == {"layer.weight", "linear input weight"}
        original = prepared.layer.parametrizations.weight.original
        stored = torch.from_numpy(expected(WEIGHT, original)[2])
        # Ranges are those of the float model, values those of the quantized one.
        qparams = expected(WEIGHT, original * 2.0)[1]
        rules = reference.QuantizationSpec.from_dict(WEIGHT)
        values = reference.fake_quantize((stored * 2.0).numpy(), rules, qparams)
        weight = torch.from_numpy(values)
        assert torch.equal(prepared(x), functional.linear(x, weight))

    def test_the_users_own_parametrization_stays(self) -> None:
        layer = parametrizations.weight_norm(nn.Linear(6, 4))
        x = torch.randn(2, 6)
        with torch.no_grad():
            weight = layer.weight.clone()
        prepared = prepare(layer, x, config=W8)
        assert_same_bits(prepared.weight, expected(WEIGHT, weight)[2])
        kinds = [type(p).__name__ for p in prepared.parametrizations.weight]
        assert kinds == ["_WeightNorm", "DefaultFakeQuantize"]

    @pytest.mark.parametrize("crossed", [False, True])
    def test_multihead_attention(self, crossed: bool) -> None:
        """The function that torch runs as a whole is looked into."""
        attention = nn.MultiheadAttention(8, 2, batch_first=True)
        x = torch.randn(2, 3, 8)
        y = torch.randn(2, 4, 8) if crossed else x
        exact, _ = copy.deepcopy(attention).eval()(x, y, y)
        prepared = prepare(attention, x, y, y)
        # One projection for all, or one for the query and one for key and value; then the output.
        linears = {name for name in operations(prepared) if name.startswith("linear")}
        assert linears == {"linear", "linear_1", *(["linear_2"] if crossed else [])}
        output, _ = prepared(x, y, y)
        assert 0 < (output - exact).abs().max() < 0.1

    def test_bias_is_quantized_when_asked(self) -> None:
        config = eager(
            ModuleQuantizerConfig(
                op_input_spec=None, op_output_spec=None,
                op_state_spec={"bias": QuantizationSpec(dtype="int4")},
            )
        )  # fmt: skip
        layer = nn.Linear(6, 4)
        bias = layer.bias.detach().clone()
        prepared = prepare(layer, torch.randn(2, 6), config=config)
        assert weights(prepared) == {"bias"}
        assert_same_bits(prepared.bias, expected({"dtype": "int4"}, bias)[2])


class TestUndo:
    def test_an_error_leaves_the_model_as_it_was(self) -> None:
        class Fails(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer, self.runs = nn.Linear(4, 4), 0

            def forward(self, x: Tensor) -> Tensor:
                self.runs += 1
                if self.runs == 2:  # the first run is recorded, the second observes
                    raise RuntimeError("out of luck")
                return self.layer(x) + x

        model = Fails()
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(RuntimeError, match="out of luck"):
            prepare(model, torch.randn(2, 4))
        assert not parametrize.is_parametrized(model.layer)
        assert not [m for m in model.modules() if isinstance(m, FakeQuantizeImplBase)]
        assert model.state_dict().keys() == before.keys()
        assert "forward" not in model.__dict__
        prepared = prepare(model, torch.randn(2, 4))
        assert weights(prepared) == {"layer.weight"}

    def test_an_axis_that_is_not_there_leaves_the_model_as_it_was(self) -> None:
        model = Net(lambda s, x: s.w(x), w=nn.Linear(4, 3))
        config = QuantizerConfig.presets.w8(axis=3, execution_mode="eager")
        with pytest.raises(reference.GranularityError, match=r"axis.*rank 2"):
            prepare(model, torch.randn(2, 4), config=config)
        assert not parametrize.is_parametrized(model.w)
