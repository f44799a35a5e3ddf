"""Tensors that a model only moves: partners are those with the elements in their own order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.conformance.gate.stepped import normal
from tests.conformance.gate.support import failing
from torch import nn

from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.recording.subject import Subject, load_config

pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")

X = normal(2, 4, 8)


class Moved(nn.Module):
    """Two layers with something between them that only moves elements."""

    def __init__(self, move: Callable[[torch.Tensor], torch.Tensor], width: int) -> None:
        super().__init__()
        self.first, self.move, self.second = nn.Linear(8, 8), move, nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.move(self.first(x)))


MOVES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], int]] = {
    "the same shape, then transposed": (lambda y: y.reshape(2, 4, 8).transpose(1, 2), 4),
    "flattened, then permuted": (lambda y: y.flatten(0, 0).permute(0, 2, 1), 4),
    "one more axis and back": (lambda y: y.unsqueeze(1).squeeze(1).transpose(1, 2), 4),
    "expanded to what it is": (lambda y: y.expand(2, 4, 8).transpose(1, 2), 4),
    "halves exchanged": (lambda y: torch.cat([y[:, 2:], y[:, :2]], 1), 8),
    "heads": (lambda y: y.reshape(2, 4, 2, 4).transpose(1, 2).reshape(4, 4, 4).transpose(1, 2), 4),
}


FILES = [("coreai", next(iter(MOVES))), *(("coreml", name) for name in MOVES)]


@pytest.mark.parametrize(("backend", "name"), FILES)
def test_a_partner_across_a_move(backend: str, name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        subject = Subject("m", Moved(*MOVES[name]).eval(), [(X,)])
    document = check_export(subject, load_config(None, "graph"), Question(backend))
    assert failing(document) == []
