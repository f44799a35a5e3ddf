"""Models that write: into what they compute, and into what they keep between two runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.conformance.gate.stepped import check, normal, regions
from tests.conformance.gate.support import failing
from tests.conformance.gate.test_recording import MODES, ready
from torch import nn

from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.errors import GateError
from quant_conformance.gate.recording.recorder import record
from quant_conformance.gate.recording.subject import Subject, load_config
from quant_conformance.gate.regions.region import Regions

pytestmark = pytest.mark.filterwarnings("ignore")

X = normal(2, 4, 6)


class Counts(nn.Module):
    """Writes into one buffer, replaces another by other values and a third by the same ones."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)
        self.register_buffer("seen", torch.zeros(4))
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("table", torch.arange(4.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        self.seen.mul_(0.5).add_(y.mean(0).detach())
        self.calls = self.calls + 1
        self.table = torch.arange(4.0)
        return torch.relu(y - self.seen) + self.table


@pytest.mark.parametrize("mode", MODES)
def test_a_model_that_changes_its_buffers_has_them_back(mode: str) -> None:
    made = ready(Counts(), X[0], mode=mode)
    before = {name: buffer.clone() for name, buffer in made.named_buffers()}
    held = dict(made.named_buffers())
    one, two = (record(made, (X[0],)) for _ in range(2))
    assert one.changed == {"seen", "calls"}
    assert dict(made.named_buffers()).keys() == before.keys()
    for name, buffer in made.named_buffers():
        assert buffer is held[name]
        assert torch.equal(buffer, before[name])
    np.testing.assert_array_equal(one.values["seen"], before["seen"].numpy())
    np.testing.assert_array_equal(one.values[one.outputs[0]], two.values[two.outputs[0]])
    with torch.no_grad():
        right = made(X[0]).numpy()
    np.testing.assert_array_equal(one.values[one.outputs[0]], right)


def test_buffers_are_given_back_when_the_model_fails() -> None:
    class Fails(Counts):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            super().forward(x)
            raise ArithmeticError

    failing = Fails()
    held = dict(failing.named_buffers())
    with pytest.raises(ArithmeticError):
        record(failing, (X[0],))
    assert all(buffer is held[name] for name, buffer in failing.named_buffers())
    assert torch.equal(failing.seen, torch.zeros(4))


def test_what_a_copy_writes_over_is_not_read() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.exp(x).copy_(torch.relu(x))

    recording = check(function, X)
    assert [o.name for o in recording.operations] == ["exp", "relu", "copy_"]
    assert recording.operations[2].inputs == ["relu"]
    (region,) = regions(recording)
    assert [step.op for step in region.steps] == ["relu", "identity"]


class InPlace(nn.Module):
    """What is written into is read by another name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu_(self.first(x))
        held = y
        y += x
        held.mul_(0.5)
        return self.second(y) - held


@pytest.mark.parametrize("mode", MODES)
def test_a_prepared_model_with_operations_in_place(mode: str) -> None:
    made = ready(InPlace(), X[0], mode=mode)
    recording = record(made, (X[0],))
    with torch.no_grad():
        right = made(X[0]).numpy()
    np.testing.assert_array_equal(recording.values[recording.outputs[0]], right)
    assert not any(region.lacking for region in Regions(recording).build([]))
    assert recording.changed == set()


@pytest.mark.parametrize(("mode", "backend"), [("eager", "coreml"), ("eager", "coreai")])
def test_the_file_of_one(mode: str, backend: str) -> None:
    pytest.importorskip({"coreai": "coreai_torch", "coreml": "coremltools"}[backend])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        subject = Subject("m", InPlace().eval(), [(X[0],)])
    document = check_export(subject, load_config(None, mode), Question(backend))
    assert failing(document) == []
    assert document.verdict in ("exact", "admissible")


def test_a_model_that_keeps_a_state_is_refused() -> None:
    subject = Subject("m", Counts().eval(), [(X[0],)])
    said = r"m changes its own buffers in a forward pass \(seen\); a file that keeps a state"
    with pytest.raises(GateError, match=said):
        check_export(subject, load_config(None, "eager"), Question("coreml"))
