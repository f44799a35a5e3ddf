"""Calibration is evaluation, whatever mode a model was left in, and it is about the model given."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from quant_torch.inspection import ModelInspector
from quant_torch.quantization import ExecutionMode, Quantizer, QuantizerConfig

MODES = ["eager", "graph"]
each_mode = pytest.mark.parametrize("mode", MODES)
each_context = pytest.mark.parametrize("context", ["calibration_mode", "training_mode"])


def x(seed: int = 0) -> Tensor:
    return 3 * torch.randn(8, 2, 6, generator=torch.Generator().manual_seed(seed)) + 1


class Stateful(nn.Module):
    """Counts its runs in a buffer that it assigns anew, and in two that it writes to."""

    runs: Tensor
    seen: Tensor
    data: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("runs", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("data", torch.zeros(()).expand(1))

    def forward(self, x: Tensor) -> Tensor:
        self.runs = self.runs + 1
        self.seen.add_(1)
        self.data.data += 1  # which autograd does not count as a write
        return x


class Adapter(nn.Module):
    """Merges its second weight into the first one in evaluation, as LoRA layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(6, 6)
        self.delta = nn.Parameter(torch.full((6, 6), 0.5))
        self.merged = False

    def train(self, mode: bool = True) -> Adapter:
        super().train(mode)
        if self.merged == mode:
            with torch.no_grad():
                self.base.weight.add_(self.delta if not mode else -self.delta)
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x)


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(2, 4, 1),
        nn.BatchNorm1d(4),
        nn.InstanceNorm1d(4, track_running_stats=True),
        nn.Dropout(0.5),
        nn.Linear(6, 3),
    ).train()


def states(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items() if "calculator" not in k}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def prepared(mode: str, given: nn.Module | None = None) -> tuple[Quantizer, nn.Module]:
    """A model that is put in training mode, and one of its modules back in evaluation."""
    quantizer = Quantizer(given or model(), QuantizerConfig(execution_mode=ExecutionMode(mode)))
    ready = quantizer.prepare((x(),)).train()
    next(iter(ready.children())).eval()
    return quantizer, ready


def flags(module: nn.Module) -> list[bool]:
    return [inner.training for inner in module.modules()]


class TestCalibrationIsEvaluation:
    @each_mode
    def test_prepare(self, mode: str) -> None:
        given = model()
        given[4].eval()
        before, random, modes = states(given), torch.get_rng_state(), flags(given)
        quantizer = Quantizer(given, QuantizerConfig(execution_mode=ExecutionMode(mode)))
        ready = quantizer.prepare((x(),)).eval()
        kept = {k.replace("parametrizations.weight.original", "weight"): v
                for k, v in states(given).items()}  # fmt: skip
        assert same(kept, before)
        assert torch.equal(torch.get_rng_state(), random)
        if mode == "graph":
            assert flags(given) == modes
        evaluated = Quantizer(model().eval(), QuantizerConfig(execution_mode=ExecutionMode(mode)))
        assert torch.equal(evaluated.prepare((x(),)).eval()(x()), ready(x()))

    @each_mode
    def test_calibration(self, mode: str) -> None:
        quantizer, ready = prepared(mode)
        before, random, modes = states(ready), torch.get_rng_state(), flags(ready)
        with quantizer.calibration_mode(), torch.no_grad():
            assert not any(flags(ready))
            inside = ready(x(1))
        assert flags(ready) == modes
        assert same(states(ready), before)
        assert torch.equal(torch.get_rng_state(), random)
        assert torch.allclose(inside, model().eval()(x(1)), atol=1e-5)

    @each_mode
    def test_what_is_finalized_is_what_was_calibrated(self, mode: str) -> None:
        quantizer, ready = prepared(mode)
        with quantizer.calibration_mode():
            ready(x(1))
        modes = flags(ready)
        finalized = quantizer.finalize(backend="coreml")
        assert flags(ready) == modes
        assert torch.allclose(finalized(x(2)), ready.eval()(x(2)), atol=1e-5)

    @each_mode
    def test_modes_come_back_after_exceptions_and_refused_contexts(self, mode: str) -> None:
        quantizer, ready = prepared(mode)
        modes = flags(ready)
        with pytest.raises(KeyError):
            self._interrupted(quantizer, ready)
        assert flags(ready) == modes

    def _interrupted(self, quantizer: Quantizer, ready: nn.Module) -> None:
        with quantizer.calibration_mode():
            refused = quantizer.training_mode()
            with pytest.raises(RuntimeError, match="inside calibration_mode"):
                refused.__enter__()
            assert not any(flags(ready))
            raise KeyError

    def test_buffers_that_are_assigned_anew_come_back(self) -> None:
        given = nn.Sequential(Stateful(), nn.Linear(6, 3)).train()
        held = given[0].runs
        Quantizer(given, QuantizerConfig(execution_mode=ExecutionMode.EAGER)).prepare((x(),))
        assert given[0].runs is held
        assert (given[0].runs.item(), given[0].seen.item(), given[0].data.item()) == (0, 0, 0)

    def test_lazy_modules_are_made_by_the_example_inputs(self) -> None:
        given = nn.Sequential(nn.LazyConv1d(3, 1), nn.LazyBatchNorm1d())
        config = QuantizerConfig(execution_mode=ExecutionMode.EAGER)
        ready = Quantizer(given, config).prepare((x(),))
        assert ready.eval()(x()).shape == (8, 3, 6)
        assert "int8, weight" in repr(ready[0])
        assert torch.equal(given[1].running_mean, torch.zeros(3))

    @each_mode
    def test_buffers_that_nothing_writes_to_may_be_of_any_kind(self, mode: str) -> None:
        given = nn.Sequential(nn.Linear(6, 3))
        with torch.inference_mode():
            given.register_buffer("inference", torch.full((2,), torch.nan))
        given.register_buffer("sparse", torch.eye(3).to_sparse())
        given.register_buffer("one", torch.ones(()).expand(3))
        given.register_buffer("none", torch.empty(0, 3))
        given.register_buffer("unmade", torch.empty(3, device="meta"))
        Quantizer(given, QuantizerConfig(execution_mode=ExecutionMode(mode))).prepare((x(),))
        assert given.inference.isnan().all()

    @each_mode
    def test_what_train_does_beyond_its_flag_is_undone(self, mode: str) -> None:
        torch.manual_seed(0)
        given = Adapter().train()
        with torch.no_grad():
            given.base.weight.mul_(256).round_().div_(256)  # merging is exact
        weight = given.base.weight.clone()
        quantizer = Quantizer(given, QuantizerConfig(execution_mode=ExecutionMode(mode)))
        ready = quantizer.prepare((x(),))
        if mode == "eager":
            with quantizer.calibration_mode():
                assert given.merged
                inside = ready(x(1))
            assert torch.equal(inside, nn.functional.linear(x(1), weight + 0.5, given.base.bias))
        assert not given.merged
        original = given.base
        held = original.weight if mode == "graph" else original.parametrizations.weight.original
        assert torch.equal(held, weight)

    def test_finalize_leaves_parametrizations_with_a_training_mode_of_their_own(self) -> None:
        torch.manual_seed(0)
        layer = parametrizations.spectral_norm(nn.Linear(6, 3)).train()
        quantizer = Quantizer(layer, QuantizerConfig(execution_mode=ExecutionMode.EAGER))
        ready = quantizer.prepare((x(),))
        before = states(ready)
        finalized = quantizer.finalize(backend="coreml")
        assert same(states(ready), before)
        assert torch.allclose(finalized(x()), ready.eval()(x()), atol=1e-6)

    @each_mode
    def test_inspection(self, mode: str) -> None:
        given = model()
        before, random, modes = states(given), torch.get_rng_state(), flags(given)
        ModelInspector(given, (x(),), ExecutionMode(mode)).format_summary()
        assert same(states(given), before)
        assert torch.equal(torch.get_rng_state(), random)
        assert flags(given) == modes


class Wrapper(nn.Module):
    """What DistributedDataParallel is to a model."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any) -> Any:
        return self.module(*args)


class TestTheModelGivenCounts:
    @each_mode
    @each_context
    @pytest.mark.parametrize("around", [lambda m: m, Wrapper], ids=["itself", "wrapped"])
    def test_a_copy(
        self, mode: str, context: str, around: Callable[[nn.Module], nn.Module]
    ) -> None:
        quantizer, ready = prepared(mode)
        copied = copy.deepcopy(ready).train()
        with getattr(quantizer, context)(around(copied)), torch.no_grad():
            copied(50 * x(1))
        finalized = quantizer.finalize(backend="coreml")
        assert torch.allclose(finalized(50 * x(1)), copied.eval()(50 * x(1)), atol=1e-4)
        assert not torch.allclose(finalized(50 * x(1)), ready.eval()(50 * x(1)), atol=1e-2)

    @each_mode
    def test_the_model_given_to_finalize(self, mode: str) -> None:
        quantizer, ready = prepared(mode)
        copied = copy.deepcopy(ready)
        with quantizer.calibration_mode(copied):
            copied(50 * x(1))
        finalized = quantizer.finalize(ready, backend="coreml")
        assert torch.allclose(finalized(x()), ready.eval()(x()), atol=1e-4)

    @each_mode
    def test_steps_go_to_the_model_in_training(self, mode: str) -> None:
        schedule = {"global_config": {"qat_schedule": {"enable_fake_quant": 2}}}
        config = {"quantization_config": {"execution_mode": mode, **schedule}}
        quantizer = Quantizer(model(), QuantizerConfig.from_dict(config))
        ready = quantizer.prepare((x(),))
        copied = copy.deepcopy(ready)
        with quantizer.training_mode(copied):
            assert "fake_quant=off" in repr(copied)
            assert "fake_quant=off" not in repr(ready)
            quantizer.step()
            quantizer.step()
            assert "fake_quant=off" not in repr(copied)

    @each_mode
    @pytest.mark.parametrize(
        "call",
        [
            lambda q, m: q.calibration_mode(m).__enter__(),
            lambda q, m: q.training_mode(m).__enter__(),
            lambda q, m: q.finalize(m),
            lambda q, m: q.enable_observer(m),
            lambda q, m: q.disable_fake_quant(m),
            lambda q, m: q.freeze_batch_norm(m),
        ],
    )
    def test_others_are_refused(self, mode: str, call: Callable[[Quantizer, Any], Any]) -> None:
        quantizer, ready = prepared(mode)
        _, other = prepared(mode)
        with pytest.raises(ValueError, match=r"given a .* that another Quantizer prepared"):
            call(quantizer, other)
        with pytest.raises(ValueError, match="given a Sequential that was not prepared"):
            call(quantizer, model())
        with pytest.raises(TypeError, match=r"takes an nn\.Module, given list"):
            call(quantizer, [ready])
        quantizer.finalize(backend="coreml")  # nothing has changed

    @each_mode
    def test_a_part_is_no_model_and_has_switches(self, mode: str) -> None:
        quantizer, ready = prepared(mode)
        for whole in (ready, copy.deepcopy(ready)):
            part = next(child for child in whole.children() if "observer=" in repr(child))
            with pytest.raises(ValueError, match="a part of a prepared model"):
                quantizer.calibration_mode(part).__enter__()
            with pytest.raises(ValueError, match="a part of a prepared model"):
                quantizer.finalize(part)
            quantizer.enable_observer(part)
            assert "observer=on" in repr(part)
