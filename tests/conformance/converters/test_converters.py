"""``quant-conformance converters``: what it measures, what it says, and which operations it has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quant_conformance.cli import main
from quant_conformance.converters.cases import Case
from quant_conformance.converters.every import CASES
from quant_conformance.converters.measure import Cell, _judged, measure
from quant_conformance.converters.results_table import COLUMNS, page
from quant_conformance.gate.aten.step_table import TABLE
from quant_conformance.gate.recording.recorder import record

pytest.importorskip("coremltools")
pytest.importorskip("coreai_torch")


def case(operation: str, setting: str) -> Case:
    (found,) = [c for c in CASES if (c.operation, c.setting) == (operation, setting)]
    return found


def test_settings_are_unique_and_functions_run() -> None:
    assert len({(c.operation, c.setting) for c in CASES}) == len(CASES)
    for each in CASES:
        with torch.no_grad():
            result = each.function(*each.inputs)
        assert isinstance(result, torch.Tensor)


def test_most_of_what_the_gate_reads_has_a_model() -> None:
    lacking = set(TABLE) - {c.operation for c in CASES}
    assert len(lacking) < len(TABLE) / 2, f"without a model: {sorted(lacking)}"


def test_a_converter_that_changes_a_model_is_wrong_alone_and_right_exported() -> None:
    inverse = case("reciprocal", "")
    assert measure(inverse, "coreml", "alone").verdict == "wrong"
    assert measure(inverse, "coreml", "exported").verdict in ("exact", "admissible")
    scaled = case("add", "alpha 0.3")
    assert measure(scaled, "coreai", "alone").verdict == "wrong"
    assert measure(scaled, "coreai", "exported").verdict in ("exact", "admissible")


def test_what_no_bound_is_known_for_is_compared_to_the_bit() -> None:
    class Cubed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.lgamma(x)

    x = torch.tensor([0.5, 2.5])
    recording, right = record(Cubed(), (x,)), torch.lgamma(x).numpy()
    assert _judged(recording, [right]) == Cell("exact")
    beside = np.nextafter(right, np.float32(9))
    assert _judged(recording, [beside]).verdict == "differs"
    assert _judged(recording, [right[:1]]).verdict == "wrong"


def test_the_page_has_a_row_for_each_operation_and_says_what_is_left_out() -> None:
    chosen = CASES[:2]
    cells = {(c, column): Cell("exact") for c in chosen for column in COLUMNS}
    cells[chosen[0], COLUMNS[0]] = Cell("wrong", "1 for 2")
    text = page(cells, ["polygamma"])
    rows = [line for line in text.splitlines() if line.startswith(f"| {chosen[0].operation} ")]
    assert "wrong: 1 for 2" in rows[0]
    assert "1 exact, 1 wrong" in text
    assert "Without a model here: polygamma." in text


def test_an_operation_that_is_not_there_is_a_usage_error(capsys) -> None:
    assert main(["converters", "--operation", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err
