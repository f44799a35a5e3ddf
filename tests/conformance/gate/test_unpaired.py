"""Right files in which tensors were not found: a word of its own, which is none for a defect."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from tests.conformance.gate import mil_edits as mil
from tests.conformance.gate.stepped import normal
from tests.conformance.gate.support import quiet
from tests.conformance.gate.test_qparams import SPEC
from torch import nn

from quant_conformance.gate.alignment.constants import Constants
from quant_conformance.gate.alignment.pairing import Pairing
from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.document import GateDocument, Layer, Weight
from quant_conformance.gate.judging.weight_verdicts import judge_weight
from quant_conformance.gate.recording.quantizers import QuantizerFacts
from quant_conformance.gate.recording.recorder import Quantization
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.report.gate_table import print_document
from quant_conformance.report.html import check_gate, gate_html_text
from quant_reference import QParams
from quant_torch.export import to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")

X = normal(2, 5, 8)


class Turned(nn.Module):
    """Two layers with a transpose between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).reshape(2, 5, 8).transpose(1, 2))


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The model, prepared, and its file."""
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        quantizer = Quantizer(Turned().eval(), QuantizerConfig())
        prepared = quantizer.prepare((X,))
        with quantizer.calibration_mode():
            prepared(X)
        path = to_coreml(quantizer, (X,), tmp_path_factory.mktemp("turned") / "m.mlpackage")
    return prepared, path


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partners are moved across the transpose."""
    monkeypatch.setattr(Pairing, "_in_one_order", lambda *_: True)


def judged(prepared: Any, path: Path) -> GateDocument:
    subject = Subject("m", None, [(X,)], prepared=prepared)
    document = check_export(subject, None, Question("coreml", artifact=path))
    document.facts = {"cpu": "c", "commit": None, "command": "x"}
    check_gate(document.to_dict())
    return document


@pytest.mark.usefixtures("blind")
def test_a_right_file_whose_tensors_were_not_found(turned: tuple[Any, Path]) -> None:
    document = judged(*turned)
    found = [layer for layer in document.layers if layer.verdict == "unpaired"]
    assert [layer.name for layer in found] == ["linear/again", "linear_1"]
    assert document.verdict == "unpaired"
    assert document.failed
    assert document.unpaired == document.to_dict()["unpaired"] == 2
    said = "looked for a quantizer to int8 of shape (2, 5, 8) behind no operation; the file has"
    assert found[0].detail.startswith(said)
    assert document.end_to_end is not None
    assert document.end_to_end.sqnr is None
    shown = io.StringIO()
    print_document(document, Console(file=shown, width=100))
    assert "unpaired: 2 tensors and weights" in shown.getvalue()
    assert "verdict: unpaired" in shown.getvalue()
    assert "unpaired" in gate_html_text(document.to_dict())


def one_ulp_more(tensor: Any) -> None:
    (value,) = tensor.floats.values
    tensor.floats.values[0] = np.nextafter(np.float32(value), np.float32(np.inf))


def without_a_quantizer(block: Any) -> None:
    """The first layer reads the input as it is."""
    source = mil.input_of("quantize", 0, "input")(block)
    readers = [op for op in block.operations if op.type == "linear"]
    readers[0].inputs["x"].arguments[0].name = source


def another_bias(tensor: Any) -> None:
    tensor.floats.values[1] += 0.3


DEFECTS = {
    "a scale": (mil.constant("quantize", 1, "scale", one_ulp_more), "linear"),
    "a bias": (mil.constant("linear", 0, "bias", another_bias), "linear"),
    "no quantizer of the input": (without_a_quantizer, "linear"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_wrong_though_tensors_were_not_found(
    turned: tuple[Any, Path], tmp_path: Path, name: str, blind: None
) -> None:
    edit, _ = DEFECTS[name]
    document = judged(turned[0], mil.edited_package(turned[1], edit, tmp_path))
    assert document.verdict == "wrong"
    assert document.unpaired == 0


@pytest.mark.parametrize("name", DEFECTS)
def test_the_same_defects_where_they_are(
    turned: tuple[Any, Path], tmp_path: Path, name: str
) -> None:
    edit, wanted = DEFECTS[name]
    document = judged(turned[0], mil.edited_package(turned[1], edit, tmp_path))
    assert wanted in {layer.name for layer in document.layers if layer.verdict == "wrong"}
    assert document.unpaired == 0


def test_a_weight_of_whose_layer_nothing_was_found() -> None:
    facts = QuantizerFacts(
        "w", "weight", SPEC, QParams(np.full((1, 1), 0.5, np.float32), np.zeros((1, 1), np.int32))
    )
    quantization, codes = Quantization(facts, "w", "q"), np.ones((2, 4), np.uint8)
    for lost, wanted in ((set[str](), "wrong"), ({"q"}, "unpaired")):
        constants = Constants({}, lost=frozenset(lost))
        weight = judge_weight(quantization, codes, constants, dead=False)
        assert weight.verdict == wanted
        assert weight.detail == "no uint8 weight of shape (2, 4) in the file"
    assert judge_weight(quantization, codes, Constants({}), dead=True).verdict == "exact"


def layer(verdict: str) -> Layer:
    return Layer("a", "relu", [], verdict)


@pytest.mark.parametrize(
    ("verdicts", "wanted"),
    [
        (("exact", "unpaired"), "unpaired"),
        (("unpaired", "undecided"), "undecided"),
        (("unpaired", "wrong"), "wrong"),
        (("unpaired", "unsupported"), "unsupported"),
    ],
)
def test_the_verdict_on_the_whole(verdicts: tuple[str, ...], wanted: str) -> None:
    document = GateDocument("m", "", "graph", "coreml", False)
    document.layers = [layer(verdict) for verdict in verdicts]
    document.weights = [Weight("w", "unpaired", "int8", "per_tensor", [])]
    assert document.verdict == wanted
    assert document.failed
    assert document.unpaired == 2
