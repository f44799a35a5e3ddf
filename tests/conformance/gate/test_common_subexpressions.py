"""Models that compute something twice: a converter does it once, and leaves nothing out by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.conformance.gate.support import BOTH, failing, quiet
from torch import nn

from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.recording.recorder import Recording, record
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.gate.regions.common_subexpressions import first_alike
from quant_torch.quantization import Quantizer, QuantizerConfig

pytestmark = pytest.mark.filterwarnings("ignore")


class Twice(nn.Module):
    """One layer called twice on one tensor, and each result used otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)

    def forward(self, x: torch.Tensor) -> Any:
        h = torch.relu(self.first(x))
        return h + self.again(h), h - self.again(h) * 0.5


def subject() -> Subject:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Subject("twice", Twice().eval(), [(torch.randn(4, 6),) for _ in range(2)])


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_a_file_that_computes_it_once(backend: str, mode: str) -> None:
    pytest.importorskip({"coreai": "coreai_torch", "coreml": "coremltools"}[backend])
    document = check_export(subject(), QuantizerConfig(execution_mode=mode), Question(backend))
    assert failing(document) == []
    left_out = {x.detail for x in document.layers if "left out" in x.detail}
    assert left_out == {"left out of the file: another quantizer gives the same"}


def recording(model: nn.Module) -> Recording:
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
    with quiet():
        prepared = Quantizer(model.eval(), QuantizerConfig()).prepare((x,))
        return record(prepared, (x,))


def test_what_is_made_alike_has_one_first() -> None:
    made = recording(Twice())
    found = first_alike(made)
    repeated = {name: first for name, first in found.items() if name != first}
    assert repeated, "the second call of the layer is found"
    for name, first in repeated.items():
        np.testing.assert_array_equal(made.values[name], made.values[first])
    # The sum, the difference and the product are read from the same, and made otherwise.
    assert {*made.outputs} & {*repeated} == set()


def test_random_numbers_are_no_repetition() -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return x + torch.rand_like(x), x - torch.rand_like(x)

    found = first_alike(recording(nn.Sequential(nn.Linear(6, 6), Noisy())))
    assert [name for name, first in found.items() if "rand" in name and name != first] == []
