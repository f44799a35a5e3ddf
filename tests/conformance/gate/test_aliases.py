"""Writes into memory that several tensors share, recorded as operations without writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.conformance.gate.stepped import Function, check, normal, recorded
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


def into_a_row(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y[0].add_(1)
    return y


def behind_a_view(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    flat = y.view(-1)
    y.add_(1)
    return flat


def half_of_it(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[:, :2] += 1.0
    y[:, 2:] = 0.5
    return y * 2


def through_a_transpose(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y.transpose(1, 2).mul_(torch.arange(1.0, 5.0))
    return y


def through_two_views_that_overlap(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    one, other = y[:, 0:3], y[:, 2:4]
    one.add_(1)
    other.mul_(3)
    return one - y[:, :3] * 0.5


def parts_of_a_split(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    first, second = y.unsafe_chunk(2, 2)
    second.add_(first).sigmoid_()
    return second * first


def strided(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y.view(-1)[1::3] = torch.relu(x.reshape(-1)[1::3])
    return y


def named_out(x: torch.Tensor) -> torch.Tensor:
    y = torch.empty_like(x)
    view = y[0]
    torch.add(x, 1, out=y)
    return view - y


def zeroed_and_filled(x: torch.Tensor) -> torch.Tensor:
    y = torch.exp(x)
    y[1].zero_()
    y[0, 1].fill_(2)
    return y


FUNCTIONS: list[Callable[[torch.Tensor], torch.Tensor]] = [
    into_a_row,
    behind_a_view,
    half_of_it,
    through_a_transpose,
    through_two_views_that_overlap,
    parts_of_a_split,
    strided,
    named_out,
    zeroed_and_filled,
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_a_write_leaves_in_other_tensors(function: Callable[..., Any]) -> None:
    recording = check(function, X)
    np.testing.assert_array_equal(recording.values[recording.outputs[0]], function(X).numpy())
    names = [name for o in recording.operations for name in o.outputs]
    assert len(names) == len({*names})  # each value is written once


def test_what_was_read_before_a_write_keeps_its_value() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        row = y[0]
        before = row * 2
        y.mul_(3)
        return before - row

    recording = check(function, X)
    np.testing.assert_array_equal(recording.values[recording.outputs[0]], function(X).numpy())


def test_a_write_beside_a_view_makes_no_operation() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        row = y[0]
        y[1].add_(1)
        return row * 2

    recording = check(function, X)
    assert [o.name for o in recording.operations] == ["mul", "select", "select", "add_", "mul"]


def test_memory_read_as_elements_of_another_size_is_refused() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        halves = y.view(torch.float16)
        y.add_(1)
        return halves * 0

    with pytest.raises(GateError, match=r"memory that is read as torch.float16; write it out of"):
        recorded(function, X)


def test_a_buffer_written_through_a_view_is_given_back() -> None:
    class Cache(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("cache", torch.zeros(3, 2, 4, 6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.cache[1] = x
            return self.cache.sum(0)

    model = Cache()
    recording = record(model, (X,))
    assert recording.changed == {"cache"}
    assert not model.cache.any()
    np.testing.assert_array_equal(recording.values[recording.outputs[0]], X.numpy())


CELLS = {"GRUCell": nn.GRUCell, "LSTMCell": nn.LSTMCell, "RNNCell": nn.RNNCell}
LAYERS = {"GRU": nn.GRU, "LSTM": nn.LSTM, "RNN": nn.RNN}


class Recurrent(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.recurrent = (CELLS | LAYERS)[kind](6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = self.recurrent(x)
        return self.head(result[0] if isinstance(result, tuple) else result)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [*CELLS, *LAYERS])
def test_recurrent_layers_in_which_torch_writes(kind: str, mode: str) -> None:
    x = X[0] if kind in CELLS else X
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = ready(Recurrent(kind), x, mode=mode)
    recording = record(made, (x,))
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        right = made(x).numpy()
    np.testing.assert_array_equal(recording.values[recording.outputs[0]], right)
    assert not any(region.lacking for region in Regions(recording).build([]))


def test_the_file_of_a_recurrent_layer() -> None:
    pytest.importorskip("coreai_torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        subject = Subject("m", Recurrent("GRU").eval(), [(X,)])
    document = check_export(subject, load_config(None, "eager"), Question("coreai"))
    assert failing(document) == []


class Counter(nn.Module):
    """Counts its calls, for nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.linear(x)


def test_a_state_that_no_output_follows_from_is_no_obstacle() -> None:
    pytest.importorskip("coremltools")
    subject = Subject("m", Counter().eval(), [(X,)])
    document = check_export(subject, load_config(None, "eager"), Question("coreml"))
    assert failing(document) == []


def test_a_file_that_keeps_such_a_state_is_not_judged() -> None:
    pytest.importorskip("coreai_torch")
    subject = Subject("m", Counter().eval(), [(X,)])
    document = check_export(subject, load_config(None, "eager"), Question("coreai"))
    assert document.verdict == "unsupported"
    assert document.detail.endswith("the model changes its own buffers: calls")


def test_an_input_written_through_a_view_is_a_copy() -> None:
    given = X.clone()
    record(Function(lambda x: x[0].zero_()), (given,))
    assert torch.equal(given, X)
