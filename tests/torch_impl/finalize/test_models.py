"""Whole models: the finalized one computes what the prepared one does, bit for bit, in torch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.torch_impl import models
from tests.torch_impl.finalize.specs import assert_same_bits, expected
from torch import nn
from torch.nn.utils import parametrize

from quant_torch import ExportBackend
from quant_torch.quantization import Quantizer, QuantizerConfig
from quant_torch.quantization.spec import FakeQuantizeImplBase, QParamsCalculatorBase

MODES = ("eager", "graph")
BACKENDS = tuple(ExportBackend)
both = pytest.mark.parametrize("mode", MODES)
each = pytest.mark.parametrize("backend", BACKENDS)


def default(mode: str) -> QuantizerConfig:
    return QuantizerConfig(execution_mode=mode)


def finalized(
    model: nn.Module, config: QuantizerConfig, backend: ExportBackend, *inputs: torch.Tensor
) -> tuple[nn.Module, nn.Module]:
    quantizer = Quantizer(model.eval(), config)
    prepared = quantizer.prepare(inputs)
    with quantizer.calibration_mode():
        prepared(*(i * 1.5 if i.is_floating_point() else i for i in inputs))
    return prepared, quantizer.finalize(backend=backend)


def assert_equal_outputs(prepared: nn.Module, final: nn.Module, *inputs: torch.Tensor) -> None:
    with torch.no_grad():
        wanted, given = prepared(*inputs), final(*inputs)
    assert_same_bits(given, wanted.numpy())


def assert_no_observers(model: nn.Module) -> None:
    kinds = (FakeQuantizeImplBase, QParamsCalculatorBase)
    assert not [m for m in model.modules() if isinstance(m, kinds)]


EXAMPLES: dict[str, tuple[Any, Any]] = {
    "mlp": (models.Mlp, lambda: torch.randn(3, 16)),
    "cnn": (models.Cnn, lambda: torch.randn(2, 3, 8, 8)),
    "resnet": (lambda: models.ResNet18(8), lambda: torch.randn(1, 3, 32, 32)),
    "transformer": (models.TransformerBlock, lambda: torch.randn(2, 5, 16)),
    "embedding": (models.EmbeddingClassifier, lambda: torch.randint(0, 20, (2, 7))),
}


@both
@each
@pytest.mark.parametrize("name", EXAMPLES)
def test_outputs_are_those_of_the_prepared_model(name, backend, mode) -> None:
    torch.manual_seed(0)
    build, inputs = EXAMPLES[name]
    x = inputs()
    prepared, final = finalized(build(), default(mode), backend, x)
    assert_no_observers(final)
    assert_equal_outputs(prepared, final, x)
    assert_equal_outputs(prepared, final, inputs())


@both
@each
def test_the_prepared_model_and_the_users_tensors_stay(backend, mode) -> None:
    model, x = models.Cnn(), torch.randn(2, 3, 8, 8)
    quantizer = Quantizer(model.eval(), default(mode))
    prepared = quantizer.prepare((x,))
    before = {name: t.clone() for name, t in prepared.state_dict().items()}
    wanted, training = prepared(x), [p.requires_grad for p in prepared.parameters()]
    final = quantizer.finalize(backend=backend)
    after = prepared.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert [p.requires_grad for p in prepared.parameters()] == training
    assert torch.equal(prepared(x), wanted)
    shared = {t.data_ptr() for t in prepared.state_dict().values()}
    assert final.get_parameter("head.bias").data_ptr() in shared
    assert not final.training


@both
@each
def test_a_copy_of_the_model_can_be_finalized(backend, mode) -> None:
    x = torch.randn(3, 16)
    quantizer = Quantizer(models.Mlp().eval(), default(mode))
    twin = copy.deepcopy(quantizer.prepare((x,)))
    with torch.no_grad():
        twin.get_parameter("second.bias").fill_(3.0)
    final = quantizer.finalize(twin, backend)
    assert_equal_outputs(twin, final, x)
    assert_equal_outputs(twin, copy.deepcopy(final), x)


@both
@each
def test_a_copy_outlives_the_finalizing_of_the_original(backend, mode) -> None:
    """Its class, which torch makes for a parametrized module, is the original's too."""
    x = torch.randn(3, 16)
    quantizer = Quantizer(models.Mlp().eval(), default(mode))
    prepared = quantizer.prepare((x,))
    twin = copy.deepcopy(prepared)
    with torch.no_grad():
        before = prepared(x).numpy()
    quantizer.finalize(backend=backend)
    with torch.no_grad():
        assert_same_bits(twin(x), before)


@both
@each
def test_after_training(backend, mode) -> None:
    torch.manual_seed(1)
    model, x = models.Cnn(), torch.randn(4, 3, 8, 8)
    quantizer = Quantizer(model, default(mode))
    prepared = quantizer.prepare((x,))
    optimizer = torch.optim.SGD(prepared.parameters(), 0.05)
    with quantizer.training_mode():
        for _ in range(2):
            optimizer.zero_grad()
            prepared(x).square().mean().backward()
            optimizer.step()
    final = quantizer.finalize(backend=backend)
    assert_equal_outputs(prepared, final, x)


class Tied(nn.Module):
    """One weight read by two layers, one module called twice and reachable by two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.twice = nn.Linear(8, 8)
        self.alias = self.twice

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.alias(self.twice(self.second(self.first(x))))


@both
@each
def test_shared_weights_stay_shared(backend, mode) -> None:
    x = torch.randn(2, 8)
    prepared, final = finalized(Tied(), default(mode), backend, x)
    assert_equal_outputs(prepared, final, x)
    codes = {b.data_ptr() for n, b in final.named_buffers() if n.endswith("codes")}
    floats = {p.data_ptr() for n, p in final.named_parameters() if n.endswith("weight")}
    assert len(codes or floats) == 2


class Functional(nn.Module):
    """Weights of its own, nested outputs, a keyword argument, an operator in place."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 8))
        self.register_buffer("offset", torch.randn(6))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = nn.functional.linear(x, self.weight)
        y += self.offset
        return {"sum": torch.add(y, other=y), "parts": (y * 2, y @ y.t())}


@both
@each
def test_functional_operations_and_nested_outputs(backend, mode) -> None:
    x = torch.randn(3, 8)
    prepared, final = finalized(Functional(), default(mode), backend, x)
    wanted, given = prepared(x), final(x)
    assert torch.equal(given["sum"], wanted["sum"])
    assert all(torch.equal(a, b) for a, b in zip(given["parts"], wanted["parts"], strict=True))


@each
def test_eager_control_flow_that_depends_on_data(backend) -> None:
    x = torch.randn(2, 8)
    quantizer = Quantizer(models.Branching().eval(), default("eager"))
    prepared = quantizer.prepare((x,))
    with quantizer.calibration_mode():
        for factor in (-3, -1, 1, 3):
            prepared(x * factor)
    final = quantizer.finalize(backend=backend)
    for _ in range(4):
        assert_equal_outputs(prepared, final, x)
        x = x * -1.7


@each
def test_eager_keeps_the_users_own_parametrizations(backend) -> None:
    class Positive(nn.Module):
        def forward(self, w: torch.Tensor) -> torch.Tensor:
            return w.abs()

    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    parametrize.register_parametrization(model[0], "weight", Positive())
    parametrize.register_parametrization(model[1], "bias", Positive())
    x = torch.randn(2, 8)
    prepared, final = finalized(model, default("eager"), backend, x)
    assert_equal_outputs(prepared, final, x)
    assert_equal_outputs(prepared, final, x + 1)
    assert parametrize.is_parametrized(final[1], "bias")


@each
def test_eager_attention_module(backend) -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    x = torch.randn(2, 5, 16)
    prepared, final = finalized(model, default("eager"), backend, x)
    assert_equal_outputs(prepared, final, x)


@both
def test_half_precision_models(mode) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.randn(3, 16).to(dtype)
        prepared, final = finalized(models.Mlp().to(dtype), default(mode), ExportBackend.CoreAI, x)
        assert final(x).dtype is dtype
        assert torch.equal(final(x), prepared(x))


@both
@each
def test_what_is_switched_off_stays_float_with_a_warning(backend, mode) -> None:
    x = torch.randn(3, 16)
    quantizer = Quantizer(models.Mlp().eval(), QuantizerConfig.presets.w8(execution_mode=mode))
    prepared = quantizer.prepare((x,))
    names = {m.tensor_name: m for m in prepared.modules() if isinstance(m, FakeQuantizeImplBase)}
    quantizer.disable_fake_quant(names["first.weight"])
    with pytest.warns(UserWarning, match=r"first\.weight is left unquantized"):
        final = quantizer.finalize(backend=backend)
    assert_equal_outputs(prepared, final, x)


@both
@each
def test_indivisible_blocks_stay_float(backend, mode) -> None:
    config = QuantizerConfig.presets.w4_per_block(block_size=12, execution_mode=mode)
    quantizer = Quantizer(models.Mlp().eval(), config)
    x = torch.randn(3, 16)
    with pytest.warns(UserWarning, match="left unquantized"):
        prepared = quantizer.prepare((x,))
    assert_equal_outputs(prepared, quantizer.finalize(backend=backend), x)


@both
def test_stored_codes_are_those_of_the_reference(mode) -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ConvTranspose2d(6, 4, 2)).eval()
    x = torch.randn(1, 4, 9, 9)
    weights = [layer.weight.detach().clone() for layer in model]
    _, final = finalized(model, QuantizerConfig.presets.w4(execution_mode=mode), BACKENDS[0], x)
    stored = [m for m in final.modules() if type(m).__name__ == "CoreAIWeight"]
    for module, weight, axis in zip(stored, weights, (0, 1), strict=True):
        spec = {"dtype": "int4", "granularity": {"type": "per_channel", "axis": axis}}
        codes, qparams, _ = expected(spec, weight)
        assert_same_bits(module.codes, codes)
        assert_same_bits(module.scale, qparams.scale)


@each
def test_a_slice_that_takes_all_leaves_no_alias(backend) -> None:
    """An export makes an alias of it, which coremltools cannot convert."""

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.register_buffer("positions", torch.randn(6, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x + self.positions[:, : x.shape[1]])

    x = torch.randn(6, 4)
    prepared, final = finalized(Positions(), default("graph"), backend, x)
    aten = torch.ops.aten
    assert any(node.target is aten.alias.default for node in prepared.graph.nodes)
    assert not any(node.target is aten.alias.default for node in final.graph.nodes)
    assert_equal_outputs(prepared, final, x)
