"""A table that is computed from positions alone is an activation, and a converter may fold it."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.document import GateDocument
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.models.zoo import config_of
from quant_conformance.runtimes.quiet import quiet
from quant_torch.quantization import Quantizer, QuantizerConfig

pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")


class Rotary(nn.Module):  # type: ignore[misc]
    """Products with the cosines of positions, as attention turns its queries.

    Args:
        shift: of the angles.
    """

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Of shape (1, 12, 8)."""
        angles = torch.arange(12)[:, None] * (torch.arange(8) * 0.05 + 0.1) + self.shift
        turned = self.first(x) * angles.cos()
        return self.last(turned + x * angles.sin())


@functools.cache
def made(shift: float, mode: str) -> tuple[Quantizer, Any, list[Any]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Rotary(shift).eval()
        batches = [(torch.randn(1, 12, 8),) for _ in range(4)]
    quantizer = Quantizer(model, QuantizerConfig.from_dict(config_of("w8a8", mode)))
    prepared = quantizer.prepare(batches[0])
    with quantizer.calibration_mode():
        for batch in batches[:-1]:
            prepared(*batch)
    return quantizer, prepared, batches


def judged(shift: float, mode: str, backend: str) -> GateDocument:
    """A file of the model with shifted angles, beside the model without."""
    with quiet():
        _, prepared, batches = made(0.0, mode)
        made.cache_clear()
        finalized = made(shift, mode)[0].finalize(backend=backend)
    subject = Subject("rotary", None, batches, prepared=prepared, finalized=finalized)
    return check_export(subject, None, Question(backend))


@pytest.mark.parametrize("mode", ["graph", "eager"])
@pytest.mark.parametrize("backend", ["coreai", "coreml"])
def test_a_folded_table_passes_where_what_reads_it_is_right(mode: str, backend: str) -> None:
    document = judged(0.0, mode, backend)
    assert document.verdict in ("exact", "admissible"), [
        (x.name, x.verdict, x.detail) for x in (*document.layers, *document.weights)
    ]


@pytest.mark.parametrize("backend", ["coreai", "coreml"])
def test_another_table_does_not(backend: str) -> None:
    """The angles are off by 0.02: a cosine by at most two steps of its codes."""
    document = judged(0.02, "graph", backend)
    assert document.verdict in ("wrong", "unlikely")
