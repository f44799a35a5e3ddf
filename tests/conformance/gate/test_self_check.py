"""A file is not called wrong where the gate reads the model wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conformance.gate.planting import exported, made
from tests.conformance.gate.stepped import normal, recorded
from torch import nn

from quant_conformance.gate.aten import step_table as steps
from quant_conformance.gate.aten.calls import Call
from quant_conformance.gate.check import open_program
from quant_conformance.gate.document import Layer
from quant_conformance.gate.judging.comparison import compare
from quant_conformance.gate.regions.region import Regions
from quant_conformance.gate.regions.self_check import SelfCheck
from quant_conformance.runtimes.quiet import quiet
from quant_reference.admissible import Arithmetic, Bounds

pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")


def scaled_bias(graph: Any) -> None:
    head = graph.get_submodule("head")
    head.bias = nn.Parameter(head.bias + 1.0, requires_grad=False)


def layers(backend: str, half: bool, folder: Path, plant: Any = None) -> dict[str, Layer]:
    path = exported(backend, "mixed", "w8a8", "graph", half, folder, plant)
    with quiet():
        program = open_program(path)
        try:
            arithmetic = Arithmetic("float16" if half else "float32")
            found = compare(made("mixed", "w8a8", "graph")[1], program, arithmetic).layers
        finally:
            program.close()
    return {layer.name: layer for layer in found}


@pytest.mark.parametrize(
    ("backend", "half"), [("coreai", False), ("coreml", False), ("coreml", True)]
)
def test_what_is_read_wrong_is_unsupported_and_no_more(
    backend: str, half: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_max(call: Call) -> Any:
        return [call.step("amax", call["self"], dim=call["dim"], keepdim=call["keepdim"])]

    with monkeypatch.context() as patched:
        patched.setitem(steps.TABLE, "mean", as_max)
        found = layers(backend, half, tmp_path)
    (name,) = (name for name, layer in found.items() if "amax" in layer.operation)
    misread = found.pop(name)
    assert (misread.verdict, misread.wrong) == ("unsupported", 0)
    assert "the prepared model's own result is not admissible in" in misread.detail
    assert "amax is not what it computes" in misread.detail.replace(misread.operation, "amax")
    assert {layer.verdict for layer in found.values()} <= {"exact", "admissible"}


@pytest.mark.parametrize("backend", ["coreai", "coreml"])
def test_what_is_read_right_stays_wrong_beside_it(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_max(call: Call) -> Any:
        return [call.step("amax", call["self"], dim=call["dim"], keepdim=call["keepdim"])]

    monkeypatch.setitem(steps.TABLE, "mean", as_max)
    found = layers(backend, False, tmp_path, scaled_bias).values()
    verdicts = {("amax" in x.operation, "linear" in x.operation): x.verdict for x in found}
    assert verdicts[True, False] == "unsupported"
    assert verdicts[False, True] == "wrong"


def test_a_reading_is_held_to_what_the_model_read() -> None:
    recording = recorded(lambda x, y: torch.relu(x) * y, normal(3, 4), normal(3, 4, seed=1))
    (region,) = Regions(recording).build([])
    assert SelfCheck(recording, []).fault(region) == ""
    # Bounds on other operands than the model's say nothing, either way.
    other = Bounds.exact(recording.values[region.target] + 1)
    assert SelfCheck(recording, []).fault(region, other) == ""
    recording.values[region.target] = recording.values[region.target] * 1.5
    assert "in 5 of 12 elements" in SelfCheck(recording, []).fault(region)
