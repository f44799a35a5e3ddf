"""The documented scripts, up to finalize, with the import name changed: five models, both modes."""

from __future__ import annotations

import math
import re
import runpy
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch_impl.models import ResNet18, batches, examples
from torch import Tensor, fx, nn

import quant_reference as reference
from quant_reference.batch_norm import fold_batch_norm
from quant_torch.quantization import Quantizer, QuantizerConfig
from quant_torch.quantization.spec import FakeQuantizeImplBase

SCRIPTS = Path(__file__).parent / "seed"
EVERYWHERE = ("mlp", "cnn", "resnet", "transformer")
CASES = [(name, mode) for name in EVERYWHERE for mode in ("eager", "graph")]
CASES.append(("branching", "eager"))  # torch.export refuses its control flow
each = pytest.mark.parametrize(("name", "mode"), CASES)


@pytest.fixture(autouse=True)
def _warnings() -> Any:
    with warnings.catch_warnings():
        # A loop of the branching model may run once more than for the example inputs.
        warnings.filterwarnings("ignore", ".* was not reached by the example inputs")
        yield


def run(
    script: str, name: str, mode: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Names of a script that was changed by its import name alone."""
    changed, count = re.subn(r"\bcoreai_opt\b", "quant_torch", (SCRIPTS / script).read_text())
    assert count == 3
    path = folder / script
    path.write_text(changed)
    monkeypatch.setattr(sys, "argv", [script, name, mode])
    return runpy.run_path(str(path), run_name="__main__")


def fake_quantized(weight: Tensor, axis: int) -> Tensor:
    """int8, symmetric, per channel, by the reference."""
    spec = reference.QuantizationSpec(granularity=reference.PerChannel(axis))
    x = weight.detach().numpy()
    qparams = reference.compute_qparams(*reference.value_range(x, spec, "weight"), spec)
    return torch.from_numpy(reference.fake_quantize(x, spec, qparams))


def with_reference_weights(model: nn.Module) -> nn.Module:
    """The float model with the weights that w8 leaves."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            axis = 1 if isinstance(module, nn.modules.conv._ConvTransposeNd) else 0
            module.weight.data = fake_quantized(module.weight, axis)
    return model


def with_batch_norm_folded(model: nn.Module) -> nn.Module:
    """The model with the reference's folded weights; its batch norms do nothing any more."""
    previous = None
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            given = (module.weight, module.bias, module.running_mean, module.running_var)
            gamma, beta, mean, variance = (t.detach().numpy() for t in given)
            bias = None if previous.bias is None else previous.bias.detach().numpy()
            weight, bias = fold_batch_norm(
                previous.weight.detach().numpy(), bias, gamma, beta, mean, variance,
                np.float32(module.eps),
            )  # fmt: skip
            previous.weight.data = torch.from_numpy(weight)
            previous.bias = nn.Parameter(torch.from_numpy(bias))
            model.set_submodule(name, nn.Identity())
        elif isinstance(module, nn.modules.conv._ConvNd):
            previous = module
    return model


@each
def test_weight_only(name: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run("weight_only.py", name, mode, tmp_path, monkeypatch)
    model, inputs = examples()[name]
    model = with_batch_norm_folded(model) if mode == "graph" else model
    with torch.no_grad():
        expected = with_reference_weights(model)(*inputs)
    assert torch.equal(names["prepared_output"], expected)
    assert torch.equal(names["finalized_output"], expected)
    assert isinstance(names["prepared_model"], fx.GraphModule) == (mode == "graph")
    assert isinstance(names["finalized_model"], nn.Module)


@each
def test_calibration(name: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run("calibration.py", name, mode, tmp_path, monkeypatch)
    model, inputs = examples()[name]
    model = with_batch_norm_folded(model) if mode == "graph" else model
    with torch.no_grad():
        for given, batch in zip(names["observed_outputs"], batches(name, 3), strict=True):
            assert torch.equal(given, model(*batch)), "calibration distorts"
        exact = model(*inputs)
    assert not torch.equal(names["first_output"], names["prepared_output"])
    # Coarse on purpose: that each quantizer is right is tested elsewhere.
    noise = (names["prepared_output"] - exact).norm() / exact.norm()
    assert 0 < noise < 0.1
    assert torch.equal(names["finalized_output"], names["prepared_output"])


@each
def test_training(name: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run("qat.py", name, mode, tmp_path, monkeypatch)
    losses = names["val_losses"]
    assert all(map(math.isfinite, losses))
    assert min(losses[1:]) < losses[0]
    prepared = names["prepared_model"]
    quantizers = [m for m in prepared.modules() if isinstance(m, FakeQuantizeImplBase)]
    assert quantizers
    assert not any(m.observer_enabled for m in quantizers)
    assert all(m.fake_quant_enabled for m in quantizers)
    assert torch.equal(names["finalized_output"], names["prepared_output"])
    assert not prepared.training


@pytest.mark.slow
def test_the_published_size() -> None:
    """ResNet-18 with its 11 million weights: prepare, calibrate and one training step."""
    torch.manual_seed(0)
    model, x = ResNet18(width=64).eval(), torch.randn(2, 3, 64, 64)
    quantizer = Quantizer(model, QuantizerConfig(execution_mode="eager"))
    with torch.no_grad():
        exact = model(x)
        prepared = quantizer.prepare((x,))
        with quantizer.calibration_mode():
            assert torch.equal(prepared(x), exact)
        assert (prepared(x) - exact).norm() < 0.1 * exact.norm()
    with quantizer.training_mode():
        prepared(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in prepared.parameters())
