"""Calibration, training and state of a prepared graph."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.torch_impl.graph.support import conv, globally, images, prepare, set_statistics
from torch import Tensor, fx, nn

from quant_torch.quantization._fake_quantizers import fake_quantizers
from quant_torch.quantization.config import ModuleQuantizerConfig, QATSchedule, QuantizerConfig
from quant_torch.quantization.quantizer import Quantizer


def cnn() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            conv(), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64, 3),
        )  # fmt: skip
    return set_statistics(model).eval()


def switches(model: nn.Module) -> set[tuple[bool, bool]]:
    return {(m.observer_enabled, m.fake_quant_enabled) for m in fake_quantizers(model)}


def qparams(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items() if "fake_quantize" in k}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {k.split(".")[0] for k, v in after.items() if not torch.equal(v, before[k])}


def test_prepare_gives_an_evaluation_safe_graph_module() -> None:
    quantizer = Quantizer(cnn())
    prepared = quantizer.prepare((images(),))
    assert isinstance(prepared, fx.GraphModule)
    assert switches(prepared) == {(False, True)}
    assert not any(module.training for module in prepared.modules())
    before = qparams(prepared)
    prepared(images(5) * 100)
    assert not changed(before, qparams(prepared))


def test_calibration_observes_activations_and_computes_the_float_model() -> None:
    quantizer = Quantizer(cnn())
    prepared = quantizer.prepare((images(),))
    floating = prepare(cnn(), images(), config=QuantizerConfig(global_config=None))
    before = qparams(prepared)
    with quantizer.calibration_mode(), torch.no_grad():
        assert switches(prepared) == {(True, False)}
        assert torch.equal(prepared(images(1) * 3), floating(images(1) * 3))
    assert switches(prepared) == {(False, True)}
    # weights are what they were, relu's lower bound is known, and every activation moved
    assert changed(before, qparams(prepared)) == {
        "fake_quantize_input_1", "fake_quantize_relu", "fake_quantize_linear",
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["calibration_mode", "training_mode"])
def test_an_exception_restores_the_switches(mode: str) -> None:
    quantizer = Quantizer(cnn())
    prepared = quantizer.prepare((images(),))
    with pytest.raises(ZeroDivisionError), getattr(quantizer, mode)():
        raise ZeroDivisionError
    assert switches(prepared) == {(False, True)}
    assert not prepared.training


@pytest.mark.parametrize(
    "optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW], ids=lambda o: o.__name__
)
def test_training_lowers_the_loss_and_moves_statistics_and_qparams(optimizer: Any) -> None:
    model = cnn()
    quantizer = Quantizer(model)
    prepared = quantizer.prepare((images(),))
    step = optimizer(prepared.parameters(), lr=0.01)
    before = copy.deepcopy(prepared.state_dict())
    losses = []
    with quantizer.training_mode():
        assert prepared.training
        assert switches(prepared) == {(True, True)}
        for _ in range(10):
            step.zero_grad()
            loss = nn.functional.cross_entropy(prepared(images()), torch.tensor([0, 2]))
            loss.backward()
            step.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0]
    after = prepared.state_dict()
    assert not torch.equal(before["1.running_mean"], after["1.running_mean"])
    assert all(p.grad is not None for p in model.parameters())
    moved = {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])}
    assert {f"fake_quantize_{k}" for k in ("0_weight", "6_weight", "relu", "linear")} <= moved
    assert torch.equal(prepared(images()), prepared(images()))


def test_a_schedule_switches_by_steps() -> None:
    schedule = QATSchedule(enable_observer=1, enable_fake_quant=2, disable_observer=3)
    config = globally(ModuleQuantizerConfig(qat_schedule=schedule))
    quantizer = Quantizer(cnn(), config)
    prepared = quantizer.prepare((images(),))
    seen = []
    with quantizer.training_mode():
        for _ in range(2):
            seen.append(switches(prepared))
            prepared(images())
            quantizer.step()
    assert switches(prepared) == {(False, True)}
    with quantizer.training_mode():
        for _ in range(2):
            seen.append(switches(prepared))
            quantizer.step()
    assert seen == [{(False, False)}, {(True, False)}, {(True, True)}, {(False, True)}]


def test_state_saved_in_the_middle_of_training_loads_into_a_fresh_graph() -> None:
    quantizer = Quantizer(cnn())
    prepared = quantizer.prepare((images(),))
    step = torch.optim.SGD(prepared.parameters(), lr=0.01)
    with quantizer.training_mode():
        for seed in range(3):
            prepared(images(seed)).sum().backward()
            step.step()
        saved = copy.deepcopy(prepared.state_dict())
    fresh = prepare(cnn(), images(9))
    assert not torch.equal(fresh(images()), prepared(images()))
    fresh.load_state_dict(saved)
    with torch.no_grad():
        assert torch.equal(fresh(images()), prepared(images()))


def test_a_copy_trains_on_its_own() -> None:
    quantizer = Quantizer(cnn())
    prepared = quantizer.prepare((images(),))
    before = copy.deepcopy(prepared.state_dict())
    copied = copy.deepcopy(prepared)
    step = torch.optim.SGD(copied.parameters(), lr=0.1)
    with quantizer.training_mode(copied):
        assert copied.training
        assert not prepared.training
        copied(images()).sum().backward()
        step.step()
    assert all(torch.equal(before[k], v) for k, v in prepared.state_dict().items())
    assert not torch.equal(copied(images()), prepared(images()))


def test_weight_only_leaves_activations_alone() -> None:
    prepared = prepare(cnn(), images(), config=QuantizerConfig.presets.w8())
    assert {m.quantization_target for m in fake_quantizers(prepared)} == {"weight"}
    assert len(fake_quantizers(prepared)) == 2


def test_a_graph_module_can_be_prepared_itself() -> None:
    traced = fx.symbolic_trace(nn.Sequential(conv(), nn.ReLU()))
    direct = prepare(nn.Sequential(*traced.children()), images())
    assert torch.equal(prepare(traced, images())(images()), direct(images()))


@pytest.mark.parametrize("no_grad", [True, False])
def test_gradients_flow_whether_or_not_the_capture_had_them(no_grad: bool) -> None:
    prepared = prepare(cnn(), images(), export_with_no_grad=no_grad)
    prepared(images()).sum().backward()
    assert all(p.grad is not None for p in prepared.parameters())
