"""Models that compute what they do not hand on, such as the last sum of a chain of residuals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.conformance.gate.support import BOTH, failing, quiet
from torch import nn

from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.recording.recorder import record
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.gate.regions.dead_values import dead_values
from quant_torch.quantization import Quantizer, QuantizerConfig

pytestmark = pytest.mark.filterwarnings("ignore")


class Skips(nn.Module):
    """Sums up what its blocks skip; nothing reads the last residual sum and the layer behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.idle, self.out = nn.Linear(6, 5), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> Any:
        skipped: Any = 0
        for block in self.blocks:
            z = torch.tanh(block(x))
            skipped, x = skipped + z, x + z
        self.idle(x)
        return self.out(skipped)


def subject() -> Subject:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Subject("skips", Skips().eval(), [(torch.randn(4, 6),) for _ in range(2)])


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_a_file_without_what_nothing_reads(backend: str, mode: str) -> None:
    pytest.importorskip({"coreai": "coreai_torch", "coreml": "coremltools"}[backend])
    document = check_export(subject(), QuantizerConfig(execution_mode=mode), Question(backend))
    assert failing(document) == []
    parts = (*document.layers, *document.weights)
    found = [part for part in parts if "nothing reads" in part.detail]
    assert all(part.verdict == "exact" for part in found)
    if mode == "eager":  # a captured graph has no dead code
        assert "idle.weight" in " ".join(part.name for part in found)
        assert len(found) > 1


def test_what_an_output_follows_from_is_read() -> None:
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prepared = Quantizer(Skips().eval(), QuantizerConfig(execution_mode="eager")).prepare((x,))
        made = record(prepared, (x,))
    dead = dead_values(made)
    names = {q.facts.name for q in made.quantizations if q.result in dead}
    assert any(name.startswith("idle") for name in names)
    assert not any(name.startswith(("blocks.0", "blocks.1", "out")) for name in names)
    assert not dead & {*made.outputs}
