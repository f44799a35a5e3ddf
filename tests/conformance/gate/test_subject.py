"""Models, data and configs that users bring, and what they are told where one does not fit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from quant_conformance.errors import UsageError
from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.errors import GateError
from quant_conformance.gate.recording.forward_inputs import Inputs
from quant_conformance.gate.recording.prepared import prepare_subject
from quant_conformance.gate.recording.subject import load_batches, load_config, load_subject
from quant_torch.quantization import Quantizer

MODELS = """
import numpy as np
import torch
from torch import nn

x = torch.ones(2, 3)

def pair():
    return nn.Linear(3, 2), (x,)

def alone():
    return nn.Linear(3, 2)

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        return self.linear(x)

    def batches(self, count):
        return [(float(i) * x,) for i in range(count)]

class Example(nn.Linear):
    example_inputs = (x,)

    def __init__(self):
        super().__init__(3, 2)

class Asked(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)

    def example_inputs(self):
        return (x,)

def mapping():
    return {"model": nn.Linear(3, 2), "batches": [x, (x + 1,), [np.ones((2, 3), np.float32)]]}

def example():
    return {"model": nn.Linear(3, 2), "example_inputs": (x,)}

def prepared():
    return {"prepared": nn.Linear(3, 2), "example_inputs": x}

def empty():
    return {"model": nn.Linear(3, 2), "batches": []}

def number():
    return 3

def wrong_part():
    return {"model": nn.Linear(3, 2), "prepared": "file.pt", "example_inputs": (x,)}

def no_model():
    return {"finalized": nn.Linear(3, 2), "example_inputs": (x,)}

def words():
    return nn.Linear(3, 2), ("text",)

def loader():
    return [(x,), (2 * x,)]

data = [x, 3 * x]
three = 3
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return "models.py"


@pytest.mark.parametrize(
    ("name", "first", "passes"),
    [
        ("pair", 1.0, 1),
        ("Own", 0.0, 4),
        ("Example", 1.0, 1),
        ("Asked", 1.0, 1),
        ("mapping", 1.0, 3),
        ("example", 1.0, 1),
        ("prepared", 1.0, 1),
    ],
)
def test_every_form_of_a_model(file: str, name: str, first: float, passes: int) -> None:
    subject = load_subject(f"{file}:{name}")
    assert len(subject.batches) == passes
    assert all(len(batch.args) == 1 and not batch.kwargs for batch in subject.batches)
    assert float(subject.batches[0].args[0][0, 0]) == first
    assert len(subject.calibration) == max(1, passes - 1)
    assert subject.example is subject.batches[-1]
    model = subject.prepared if name == "prepared" else subject.model
    assert isinstance(model, nn.Module)
    assert (subject.model is None) == (name == "prepared")


def test_a_model_is_in_evaluation_mode_and_the_same_every_time(file: str) -> None:
    before = torch.random.get_rng_state()
    one, two = (load_subject(f"{file}:pair").model for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one is not None
    assert two is not None
    assert not one.training
    assert torch.equal(one.weight, two.weight)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("alone", "brings no data; give --data, or an nn.Module that has example_inputs"),
        ("number", "made int; give an nn.Module that"),
        ("wrong_part", "made dict; give"),
        ("no_model", "made dict; give"),
        ("empty", "brings no data; give --data"),
        ("three", "is int; give"),
        ("nothing", "nothing"),
        ("words", "tuples, lists and dicts of them, given str"),
    ],
)
def test_what_is_no_model(file: str, name: str, said: str) -> None:
    with pytest.raises((UsageError, GateError), match=said):
        load_subject(f"{file}:{name}")


def test_data_by_name_and_by_file(file: str, tmp_path: Path) -> None:
    assert len(load_subject(f"{file}:alone", f"{file}:loader").batches) == 2
    assert float(load_batches(f"{file}:data")[1].args[0][0, 0]) == 3
    rows = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    np.savez(tmp_path / "d.npz", input_0=rows, input_1=np.zeros((2, 4), np.int64))
    found = load_batches(str(tmp_path / "d.npz"))
    assert [tuple(t.shape for t in batch.args) for batch in found] == [((2, 3), (4,))] * 2
    assert torch.equal(found[1].args[0], torch.from_numpy(rows[1]))
    assert found[0].args[1].dtype == torch.int64
    # Data that are given go before those that a model brings.
    assert len(load_subject(f"{file}:mapping", f"{file}:loader").batches) == 2


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros((1, 2))}, "holds ['x']; it must hold input_0, input_1"),
        ({"input_0": np.zeros((1, 2)), "input_2": np.zeros((1, 2))}, "must hold input_0"),
        ({"input_0": np.zeros((1, 2)), "input_1": np.zeros((2, 2))}, "same number of passes"),
        ({"input_0": np.zeros((0, 2))}, "at least one"),
        ({"input_0": np.zeros(())}, "every array needs the shape (passes, …)"),
        ({}, "it must hold input_0"),
        ({"input_0": np.array([["a"]])}, "text"),
        ({"input_0": np.array([{}], object)}, "text"),
    ],
)
def test_a_file_of_other_data(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    with pytest.raises((UsageError, GateError)) as caught:
        load_batches(str(path))
    if said != "text":
        assert said in str(caught.value)
    assert "d.npz" in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        load_batches(str(tmp_path / "none.npz"))
    (tmp_path / "text.npz").write_text("not a zip")
    with pytest.raises(UsageError, match=r"text.npz"):
        load_batches(str(tmp_path / "text.npz"))


def test_data_that_are_none(file: str) -> None:
    with pytest.raises(
        UsageError, match="gave int; data are a list, for each forward pass a tensor, a tuple"
    ):
        load_batches(f"{file}:three")


CONFIG = """quantization_config:
  execution_mode: eager
  global_config:
    op_state_spec: {weight: {dtype: int4}}
"""


def test_configs(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    assert load_config(path, None).execution_mode.value == "eager"
    assert load_config(path, "graph").execution_mode.value == "graph"
    assert load_config(None, None).execution_mode.value == "graph"
    assert load_config(None, "eager").execution_mode.value == "eager"
    with pytest.raises(UsageError, match=r"there is no config .*none\.yaml"):
        load_config(tmp_path / "none.yaml", None)
    for text in (
        CONFIG.replace("int4", "int5"),
        CONFIG.replace("op_state", "state"),
        "quantization_config: [",
        "- 1",
        "",
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"c\.yaml is no valid config: "):
            load_config(path, None)


def test_a_prepared_model_is_taken_as_it_is(file: str) -> None:
    subject = load_subject(f"{file}:prepared")
    with pytest.raises(GateError, match=r"models.py:prepared has no fake-quantize module of quan"):
        prepare_subject(subject, None)
    subject.prepared = Quantizer(nn.Linear(3, 2)).prepare((torch.ones(2, 3),))
    assert prepare_subject(subject, None) == (None, subject.prepared)
    with pytest.raises(GateError, match="needs its finalized form, or a file made from it"):
        check_export(subject, None, Question("coreai"))


def test_data_that_the_model_cannot_take(file: str) -> None:
    subject = load_subject(f"{file}:pair", f"{file}:loader")
    subject.batches = [Inputs((torch.ones(2, 5),))]
    with pytest.raises(GateError, match=r"models.py:pair cannot be prepared with this config and"):
        check_export(subject, load_config(None, "eager"), Question("coreai"))


def test_the_module_of_a_file_does_not_stay(file: str) -> None:
    before = set(sys.modules)
    load_subject(f"{file}:pair")
    assert "models" not in set(sys.modules) - before


RAISING = """
def helper():
    return {}["no such key"]


def net():
    return helper()
"""


@pytest.mark.parametrize("what", ["model", "data"])
def test_what_a_factory_raises_is_told_with_its_line(tmp_path: Path, what: str) -> None:
    file = tmp_path / "raising_nets.py"
    file.write_text(RAISING)
    call = load_subject if what == "model" else load_batches
    with pytest.raises(UsageError) as caught:
        call(f"{file}:net")
    first, *trace = str(caught.value).splitlines()
    assert first == (
        f"{what} '{file}:net' raised KeyError: 'no such key' (raising_nets.py:3 in helper)"
    )
    assert trace[0] == "Traceback (most recent call last):"
    assert [line for line in trace if line.startswith("  File")] == [  # nothing of ours
        f'  File "{file}", line 7, in net',
        f'  File "{file}", line 3, in helper',
    ]
