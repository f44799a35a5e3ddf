"""Models in float16 whose weights are quantized, to Core ML."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.runtimes import MilExecutor
from quant_torch.export import to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

pytest.importorskip("coremltools")
both = pytest.mark.parametrize("mode", ["eager", "graph"])


def network(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval().to(dtype)


def inputs() -> torch.Tensor:
    return torch.randn((2, 6), generator=torch.Generator().manual_seed(0)).half()


def subject() -> Subject:
    return Subject("m", network(torch.float16), [(inputs(),)])


def w8(mode: str) -> QuantizerConfig:
    return QuantizerConfig.presets.w8(execution_mode=mode)


@both
def test_weights_reach_the_file_as_codes(mode, tmp_path) -> None:
    x = inputs()
    quantizer = Quantizer(network(torch.float16), w8(mode))
    prepared = quantizer.prepare((x,))
    with torch.no_grad():
        wanted = prepared(x).float().numpy()
    executor = MilExecutor(to_coreml(quantizer, (x,), tmp_path / "m.mlpackage"))
    assert [stored.codes.dtype for stored in executor.stored.values()] == [np.int8, np.int8]
    (given,) = executor.run({executor.inputs[0]: x.float().numpy()}).values()
    assert given.shape == wanted.shape


@both
@pytest.mark.parametrize(("half", "verdict"), [(True, "exact"), (False, "admissible")])
def test_the_gate_judges_float16_models(mode, half, verdict) -> None:
    """A file that computes in float16 gives the model's bits, one in float32 rounds less often."""
    document = check_export(subject(), w8(mode), Question("coreml", half=half))
    assert document.verdict == verdict, document.detail
    assert len(document.weights) == 2


@both
def test_a_file_is_judged_by_the_arithmetic_that_it_has(mode, tmp_path) -> None:
    """Bounds of float16 around results of float16 are too narrow for what float32 gives."""
    x = inputs()
    quantizer = Quantizer(network(torch.float16), w8(mode))
    quantizer.prepare((x,))
    path = to_coreml(quantizer, (x,), tmp_path / "m.mlpackage")  # float32, by default
    for half, verdict in ((False, "admissible"), (True, "wrong")):
        question = Question("coreml", half=half, artifact=path)
        document = check_export(subject(), w8(mode), question)
        assert document.verdict == verdict, document.detail


@both
def test_the_gate_finds_a_file_of_other_weights(mode, tmp_path) -> None:
    x, other = inputs(), network(torch.float16)
    with torch.no_grad():
        other[2].weight.mul_(1 + 2**-7)
    quantizer = Quantizer(other, w8(mode))
    quantizer.prepare((x,))
    path = to_coreml(quantizer, (x,), tmp_path / "m.mlpackage")
    question = Question("coreml", artifact=path)
    assert check_export(subject(), w8(mode), question).verdict == "wrong"
