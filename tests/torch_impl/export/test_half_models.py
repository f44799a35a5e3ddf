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


@both
def test_weights_reach_the_file_as_codes(mode, tmp_path) -> None:
    dtype = torch.float16
    x = torch.randn(2, 6).to(dtype)
    quantizer = Quantizer(network(dtype), QuantizerConfig.presets.w8(execution_mode=mode))
    prepared = quantizer.prepare((x,))
    with torch.no_grad():
        wanted = prepared(x).float().numpy()
    executor = MilExecutor(to_coreml(quantizer, (x,), tmp_path / "m.mlpackage"))
    assert [stored.codes.dtype for stored in executor.stored.values()] == [np.int8, np.int8]
    (given,) = executor.run({executor.inputs[0]: x.float().numpy()}).values()
    # The file computes in float32 what the model rounds at each step.
    step = torch.finfo(dtype).eps
    assert np.abs(given - wanted).max() <= 8 * step * np.abs(wanted).max()
    assert not np.array_equal(given, np.zeros_like(given))


def test_the_gate_judges_float16_models() -> None:
    x = torch.randn(2, 6).half()
    subject = Subject("m", network(torch.float16), [(x,)])
    config = QuantizerConfig.presets.w8(execution_mode="graph")
    document = check_export(subject, config, Question("coreml", half=True))
    assert document.verdict == "exact", document.detail
    assert len(document.weights) == 2
