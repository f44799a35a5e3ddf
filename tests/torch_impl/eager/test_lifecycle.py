"""Prepare, calibrate, train, finalize: in this order, and states come back after exceptions."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.torch_impl.eager.support import eager, prepare
from tests.torch_impl.models import Cnn, Mlp, examples
from torch import nn

from quant_torch.quantization import (
    ExecutionMode,
    ModuleQuantizerConfig,
    Quantizer,
    QuantizerConfig,
)
from quant_torch.quantization.config import QATSchedule
from quant_torch.quantization.spec import FakeQuantizeImplBase

X = torch.linspace(-1, 1, 64).reshape(4, 16)
MODES = list(ExecutionMode)
each_mode = pytest.mark.parametrize("mode", MODES, ids=str)


def quantizers(model: nn.Module) -> list[FakeQuantizeImplBase]:
    return [m for m in model.modules() if isinstance(m, FakeQuantizeImplBase)]


def switches(model: nn.Module) -> set[tuple[bool, bool]]:
    """(observer, fake-quantize) of every quantizer: {(False, True)} is ready for evaluation."""
    return {(m.observer_enabled, m.fake_quant_enabled) for m in quantizers(model)}


READY = {(False, True)}


def started(config: QuantizerConfig | None = None) -> tuple[Quantizer, nn.Module]:
    torch.manual_seed(0)
    quantizer = Quantizer(Mlp().eval(), config or eager())
    return quantizer, quantizer.prepare((X,))


def scheduled(**steps: int) -> QuantizerConfig:
    return eager(ModuleQuantizerConfig(qat_schedule=QATSchedule(**steps)))


class TestOrder:
    @each_mode
    @pytest.mark.parametrize(
        "call",
        [
            lambda q: q.finalize(),
            lambda q: q.calibration_mode().__enter__(),
            lambda q: q.training_mode().__enter__(),
            lambda q: q.enable_observer(),
            lambda q: q.disable_fake_quant(),
            lambda q: q.freeze_batch_norm(),
        ],
    )
    def test_before_prepare(self, call: Callable[[Quantizer], Any], mode: ExecutionMode) -> None:
        with pytest.raises(RuntimeError, match=r"call prepare\(\) first"):
            call(Quantizer(Mlp(), QuantizerConfig(execution_mode=mode)))

    def test_prepare_twice(self) -> None:
        quantizer, _ = started()
        with pytest.raises(RuntimeError, match=r"prepare\(\) was called already"):
            quantizer.prepare((X,))

    def test_a_prepared_model_is_not_prepared_again(self) -> None:
        _, model = started()
        with pytest.raises(RuntimeError, match="prepared already"):
            Quantizer(model, eager()).prepare((X,))
        assert switches(model) == READY

    @pytest.mark.parametrize("outer", ["calibration_mode", "training_mode"])
    @pytest.mark.parametrize("inner", ["calibration_mode", "training_mode"])
    def test_nested_modes(self, outer: str, inner: str) -> None:
        quantizer, model = started()
        with (
            pytest.raises(RuntimeError, match=rf"{inner}.* inside {outer}"),
            getattr(quantizer, outer)(),
            getattr(quantizer, inner)(),
        ):
            pass
        assert switches(model) == READY
        with getattr(quantizer, inner)():
            pass

    def test_finalize_inside_a_mode_and_twice(self) -> None:
        quantizer, _ = started()
        with quantizer.calibration_mode(), pytest.raises(RuntimeError, match="calibration_mode"):
            quantizer.finalize()
        quantizer.finalize()
        with pytest.raises(RuntimeError, match=r"cannot follow finalize\(\)"):
            quantizer.finalize()

    def test_an_unknown_backend_can_be_corrected(self) -> None:
        quantizer, _ = started()
        with pytest.raises(ValueError, match="CoreAy"):
            quantizer.finalize(backend="CoreAy")
        quantizer.finalize(backend="coreai")

    def test_step_belongs_into_training(self) -> None:
        quantizer, _ = started()
        with pytest.raises(RuntimeError, match="inside training_mode"):
            quantizer.step()
        with quantizer.calibration_mode(), pytest.raises(RuntimeError, match="training_mode"):
            quantizer.step()

    @pytest.mark.parametrize(
        ("model", "config", "match"),
        [
            (lambda x: x, None, "model must be an nn.Module"),
            (Mlp(), {"global_config": None}, "from_dict reads a dict"),
            (Mlp(), "w8", "config must be a QuantizerConfig"),
        ],
    )
    def test_other_types(self, model: Any, config: Any, match: str) -> None:
        with pytest.raises(TypeError, match=match):
            Quantizer(model, config)

    @pytest.mark.parametrize("inputs", [X, [X], {"x": X}])
    def test_example_inputs_are_a_tuple(self, inputs: Any) -> None:
        with pytest.raises(TypeError, match=r"must be a tuple of the positional arguments"):
            Quantizer(Mlp(), eager()).prepare(inputs)


class TestPrepare:
    def test_in_place_and_ready(self) -> None:
        model = Mlp().eval()
        prepared = Quantizer(model, eager()).prepare((X,))
        assert prepared is model
        assert switches(prepared) == READY
        assert not any(q.is_fresh for q in quantizers(prepared))

    def test_the_config_is_copied(self) -> None:
        config = eager()
        quantizer = Quantizer(Mlp().eval(), config)
        config.set_global(None)
        assert quantizers(quantizer.prepare((X,)))

    @pytest.mark.parametrize("training", [True, False])
    def test_the_mode_of_the_model_stays(self, training: bool) -> None:
        model = Cnn().train(training)
        model.head.train(not training)
        Quantizer(model, eager()).prepare((torch.randn(2, 3, 8, 8),))
        for name, module in model.named_modules():
            assert module.training == (training != name.startswith("head")), name

    def test_the_random_state_stays(self) -> None:
        model = nn.Sequential(nn.Linear(16, 4), nn.Dropout(0.5)).train()
        state = torch.get_rng_state()
        Quantizer(model, eager()).prepare((X,))
        assert torch.equal(torch.get_rng_state(), state)

    def test_example_inputs_need_no_gradients_and_stay(self) -> None:
        x = X.clone().requires_grad_()
        prepare(Mlp(), x)
        assert x.grad is None
        assert torch.equal(x, X)


class TestCalibration:
    @pytest.mark.parametrize("name", examples())
    def test_the_forward_equals_the_unquantized_model(self, name: str) -> None:
        model, inputs = examples()[name]
        original = copy.deepcopy(model)
        quantizer = Quantizer(model, eager())
        prepared = quantizer.prepare(inputs)
        with torch.no_grad(), quantizer.calibration_mode():
            assert switches(prepared) == {(True, False)}
            assert torch.equal(prepared(*inputs), original(*inputs))
        assert switches(prepared) == READY

    def test_the_documented_moving_average(self) -> None:
        """(lo, hi) start with the example, then move by 1 % of the difference (OBS-2)."""
        quantizer = Quantizer(nn.Sequential(nn.Linear(16, 4)).eval(), eager())
        model = quantizer.prepare((X,))
        with quantizer.calibration_mode():
            model(2 * X)
        (observer,) = [q for q in quantizers(model) if "input" in q.tensor_name]
        c = torch.tensor(1.0)
        greatest = 2 * c * 0.01 + c * (1 - 0.01)
        assert observer.calculate_qparams().scale.item() == (greatest / 127.5).item()

    @pytest.mark.parametrize("kind", ["calibration_mode", "training_mode"])
    def test_exceptions_restore_the_state(self, kind: str) -> None:
        quantizer, model = started()
        with pytest.raises(KeyError, match="mine"), getattr(quantizer, kind)():
            raise KeyError("mine")
        assert switches(model) == READY
        assert not any(module.training for module in model.modules())
        quantizer.finalize()

    def test_an_exception_inside_the_model(self) -> None:
        quantizer, model = started()
        with pytest.raises(RuntimeError), quantizer.calibration_mode():
            model(torch.randn(4, 3))
        assert switches(model) == READY
        # The mode that sees torch functions is off again: plain sums are plain.
        assert torch.equal(X + X, 2 * X)
        assert model(X).shape == (4, 8)

    def test_a_copy_is_calibrated_apart(self) -> None:
        quantizer, model = started()
        copied = copy.deepcopy(model)
        before = model(X)
        with quantizer.calibration_mode(copied):
            assert switches(copied) == {(True, False)}
            assert switches(model) == READY
            copied(9 * X)
        assert switches(copied) == READY
        assert torch.equal(model(X), before)
        assert not torch.equal(copied(X), before)

    def test_switching_by_hand(self) -> None:
        quantizer, model = started()
        quantizer.enable_observer()
        quantizer.disable_fake_quant()
        assert switches(model) == {(True, False)}
        quantizer.disable_observer(model.first)
        assert switches(model.first) == {(False, False)}
        assert switches(model.second) == {(True, False)}
        quantizer.enable_fake_quant(model.second)
        assert switches(model.second) == {(True, True)}


class TestTraining:
    def test_switches_and_modes(self) -> None:
        quantizer, model = started()
        with quantizer.training_mode():
            assert switches(model) == {(True, True)}
            assert all(module.training for module in model.modules())
        assert switches(model) == READY
        assert not any(module.training for module in model.modules())

    def test_a_step_changes_weights_and_qparams(self) -> None:
        quantizer, model = started()
        before = copy.deepcopy(model.state_dict())
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        with quantizer.training_mode():
            for _ in range(2):
                optimizer.zero_grad()
                model(3 * X).square().mean().backward()
                optimizer.step()
        after = model.state_dict()
        assert after.keys() == before.keys()
        changed = {name for name in after if not torch.equal(after[name], before[name])}
        assert {
            "first.parametrizations.weight.original",
            "first.parametrizations.weight.0.qparams_calculator.scale",
            "first.linear_quantize_input.qparams_calculator.scale",
            "first.bias",
        } <= changed

    def test_evaluation_changes_nothing(self) -> None:
        quantizer, model = started()
        with quantizer.training_mode():
            model(X)
        before = copy.deepcopy(model.state_dict())
        model(100 * X)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[name])

    def test_weights_follow_the_optimizer_in_evaluation(self) -> None:
        """No step is lost to a weight that was kept from before."""
        quantizer, model = started()
        with torch.no_grad():
            before = model(X)
        with quantizer.training_mode():
            optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
            model(X).square().sum().backward()
            optimizer.step()
        with torch.no_grad():
            after = model(X)
            copied = copy.deepcopy(model)(X)
        assert not torch.equal(before, after)
        assert torch.equal(after, copied)

    def test_batch_norm_statistics(self) -> None:
        x = torch.randn(4, 3, 8, 8)
        quantizer = Quantizer(Cnn().eval(), eager())
        model = quantizer.prepare((x,))
        norm = model.stem[1]
        before = norm.running_mean.clone()
        with quantizer.training_mode():
            model(x)
        moved = norm.running_mean.clone()
        assert not torch.equal(moved, before)
        quantizer.freeze_batch_norm()
        with quantizer.training_mode():
            assert model.stem[0].training
            model(x)
        assert torch.equal(norm.running_mean, moved)

    def test_saved_and_loaded_mid_training(self) -> None:
        def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
            optimizer.zero_grad()
            model(X).square().mean().backward()
            optimizer.step()

        quantizer, model = started()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        stored = io.BytesIO()
        with quantizer.training_mode():
            step(model, optimizer)
            torch.save([model.state_dict(), optimizer.state_dict()], stored)
            step(model, optimizer)
        again = Quantizer(Mlp().eval(), eager())
        other = again.prepare((torch.randn(4, 16),))
        stored.seek(0)
        model_state, optimizer_state = torch.load(stored, weights_only=True)
        other.load_state_dict(model_state)
        resumed = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
        resumed.load_state_dict(optimizer_state)
        with again.training_mode():
            step(other, resumed)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name
        with torch.no_grad():
            assert torch.equal(model(X), other(X))


class TestSchedules:
    def test_steps_switch(self) -> None:
        quantizer, model = started(
            scheduled(enable_observer=1, enable_fake_quant=2, disable_observer=4)
        )
        seen = []
        with quantizer.training_mode():
            for _ in range(6):
                (now,) = switches(model)
                seen.append(now)
                quantizer.step()
        off, observing, both, frozen = (False, False), (True, False), (True, True), (False, True)
        assert seen == [off, observing, both, both, frozen, frozen]

    def test_it_goes_on_where_it_stopped(self) -> None:
        quantizer, model = started(scheduled(enable_fake_quant=2))
        with quantizer.training_mode():
            quantizer.step()
            assert switches(model) == {(True, False)}
        assert switches(model) == READY
        with quantizer.training_mode():
            assert switches(model) == {(True, False)}
            quantizer.step()
            assert switches(model) == {(True, True)}
        assert switches(model) == READY

    def test_per_module_and_its_children(self) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(Mlp(), nn.Linear(8, 8)).eval()
        entry = ModuleQuantizerConfig(qat_schedule=QATSchedule(enable_fake_quant=1))
        quantizer = Quantizer(model, eager().set_module_name("0", entry))
        prepared = quantizer.prepare((X,))
        with quantizer.training_mode():
            assert switches(prepared[0]) == {(True, False)}
            assert switches(prepared[1]) == {(True, True)}
            quantizer.step()
            assert switches(prepared) == {(True, True)}

    def test_switching_by_hand_is_refused(self) -> None:
        quantizer, model = started(scheduled())
        for method in (
            "enable_observer", "disable_observer", "enable_fake_quant", "disable_fake_quant",
        ):  # fmt: skip
            with pytest.raises(RuntimeError, match="advance it with step"):
                getattr(quantizer, method)()
        assert switches(model) == READY

    def test_step_without_a_schedule_warns(self) -> None:
        quantizer, _ = started()
        with quantizer.training_mode(), pytest.warns(UserWarning, match="no config has a qat"):
            quantizer.step()


class TestCopies:
    def test_deepcopy_of_a_prepared_model(self) -> None:
        quantizer, model = started()
        copied = copy.deepcopy(model)
        assert torch.equal(copied(X), model(X))
        with torch.no_grad():
            copied.first.parametrizations.weight.original.zero_()
        assert not torch.equal(copied(X), model(X))
        final = quantizer.finalize(copied)
        assert torch.equal(final(X), copied(X))

    def test_state_dict_before_the_first_forward(self) -> None:
        _, model = started()
        state = model.state_dict()
        torch.manual_seed(7)
        other = Quantizer(Mlp().eval(), eager()).prepare((torch.randn(4, 16),))
        assert not torch.equal(other(X), model(X))
        other.load_state_dict(state)
        assert torch.equal(other(X), model(X))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    def test_narrow_models(self, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        quantizer = Quantizer(Mlp().to(dtype).eval(), eager())
        x = X.to(dtype)
        model = quantizer.prepare((x,))
        with quantizer.calibration_mode():
            model(2 * x)
        y = model(x)
        assert y.dtype == dtype
        y.sum().backward()
        weight = model.first.parametrizations.weight.original
        assert weight.grad.dtype == weight.dtype == dtype
        assert {q.calculate_qparams().scale.dtype for q in quantizers(model)} == {torch.float32}
