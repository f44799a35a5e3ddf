"""Outputs that are no results: an input that a model gives back."""

from __future__ import annotations

import pytest
import torch
from tests.conformance.gate.support import BOTH, failing
from torch import nn

from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.recording.subject import Subject
from quant_torch.quantization import QuantizerConfig

pytestmark = pytest.mark.filterwarnings("ignore")


class GivesBack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.relu(self.linear(x)), x


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_an_input_that_is_given_back(backend: str, mode: str, half: bool) -> None:
    """Also where a 16-bit program never rounds it."""
    pytest.importorskip({"coreai": "coreai_torch", "coreml": "coremltools"}[backend])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        subject = Subject("m", GivesBack().eval(), [(torch.randn(4, 6),) for _ in range(2)])
    question = Question(backend, half=half)
    document = check_export(subject, QuantizerConfig(execution_mode=mode), question)
    assert document.failure is None
    assert [name for name in failing(document) if name.startswith("output")] == []
