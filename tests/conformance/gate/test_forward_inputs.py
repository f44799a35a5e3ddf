"""Inputs by name and in nests: read, recorded, and judged in a file that takes them one by one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conformance.gate.support import failing
from torch import nn

from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.document import GateDocument
from quant_conformance.gate.errors import GateError
from quant_conformance.gate.freezing.vector_set import record_set
from quant_conformance.gate.recording.forward_inputs import Inputs
from quant_conformance.gate.recording.subject import Subject, load_config
from quant_vectors import load

pytestmark = pytest.mark.filterwarnings("ignore")

A, B, C = (torch.full((2, 3), float(value)) for value in (1, 2, 3))


@pytest.mark.parametrize(
    ("given", "args", "kwargs"),
    [
        (A, (A,), {}),
        ((A, B), (A, B), {}),
        ([A, B], (A, B), {}),
        (A.numpy(), (A,), {}),
        ({"x": A, "y": B}, (), {"x": A, "y": B}),
        (((A,), {"y": B.numpy()}), (A,), {"y": B}),
        (((A, [B]), {}), (A, [B]), {}),
        ((((A, B), {"c": C}), {}), ((A, B), {"c": C}), {}),
        # A dict behind a tensor is an argument, as torch has it.
        ((A, {"y": B}), (A, {"y": B}), {}),
        ([(A,), {"y": B}], ((A,), {"y": B}), {}),
        (Inputs((A,), {"y": B}), (A,), {"y": B}),
    ],
)
def test_every_form(given: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    found = Inputs.read(given)
    assert str((found.args, found.kwargs)) == str((args, kwargs))
    values = [float(t[0, 0]) for t in found.tensors]
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": 3}, "tuples, lists and dicts of them, given int"),
        ((A, None), "given NoneType"),
        (((A,), {"y": {A}}), "given set"),
        ({1: A}, "given the name 1"),
    ],
)
def test_what_are_no_inputs(given: Any, said: str) -> None:
    with pytest.raises(GateError, match=said):
        Inputs.read(given)


class Masked(nn.Module):
    """Takes one input by position, one that may be left out, and two by name alone."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(
        self, x: torch.Tensor, scale: Any = None, *, mask: torch.Tensor, shift: torch.Tensor
    ) -> torch.Tensor:
        x = torch.relu(self.linear(x)) * mask - shift
        return x if scale is None else x * scale


class Nested(nn.Module):
    """Takes a tuple with a list in it, and a dict; gives a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 4), nn.Linear(5, 4)

    def forward(self, pair: Any, named: Any) -> dict[str, Any]:
        left, (right,) = pair
        total = torch.relu(self.one(left) - self.other(right))
        return {"total": total, "rest": [named["z"] * named["a"]]}


def masked(generator: torch.Generator) -> Any:
    # By name, in another order than the model's.
    return {n: torch.randn(2, 3, generator=generator) for n in ("shift", "mask", "x")}


def nested(generator: torch.Generator) -> Any:
    left, right, z, a = (torch.randn(2, n, generator=generator) for n in (3, 5, 2, 2))
    return (((left, [right]), {"z": z, "a": a}), {})


MODELS = {"masked": (Masked, masked), "nested": (Nested, nested)}


def subject(name: str) -> Subject:
    model, make = MODELS[name]
    generator = torch.Generator().manual_seed(4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = model().eval()
    return Subject(name, made, [Inputs.read(make(generator)) for _ in range(3)])


def test_the_order_is_that_of_the_signature() -> None:
    bound = subject("masked").example.bound(Masked())
    assert len(bound.args) == 1
    assert list(bound.kwargs) == ["mask", "shift"]
    with pytest.raises(
        GateError, match=r"Masked.forward\(.*\) -> .* does not take these inputs: .*'mask'"
    ):
        Inputs((A,)).bound(Masked())


@pytest.mark.parametrize(
    ("name", "mode", "backend"),
    [
        ("masked", "graph", "coreai"),
        ("masked", "eager", "coreml"),
        ("nested", "graph", "coreml"),
        ("nested", "eager", "coreai"),
    ],
)
def test_they_are_judged(name: str, mode: str, backend: str) -> None:
    pytest.importorskip({"coreai": "coreai_torch", "coreml": "coremltools"}[backend])
    document: GateDocument = check_export(subject(name), load_config(None, mode), Question(backend))
    assert failing(document) == []
    assert document.verdict in ("exact", "admissible")
    assert document.end_to_end is not None
    assert document.end_to_end.outputs == {"masked": 1, "nested": 2}[name]


@pytest.mark.parametrize("name", MODELS)
def test_they_are_recorded(name: str, tmp_path: Path) -> None:
    summary = record_set(subject(name), load_config(None, "eager"), tmp_path / "set")
    assert summary.left_out == {}
    vectors = load(path=tmp_path / "set")
    tensors = vectors.inputs(vectors.case("model_output/0"))
    example = subject(name).example.bound(MODELS[name][0]())
    for index, tensor in enumerate(example.tensors):
        np.testing.assert_array_equal(tensors[f"input_{index}"], tensor.numpy())


def test_inputs_that_do_not_fit_are_told_by_either_command(tmp_path: Path) -> None:
    given = subject("masked")
    given.batches = [Inputs((A,))]
    said = re.escape("does not take these inputs: missing a required argument: 'mask'")
    with pytest.raises(GateError, match=said):
        check_export(given, load_config(None, "graph"), Question("coreai"))
    with pytest.raises(GateError, match=said):
        record_set(given, load_config(None, "graph"), tmp_path / "set")
