"""``quant-conformance converters``: what it measures, what it says, and which operations it has."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch

from quant_conformance.cli import main
from quant_conformance.converters.cases import Case
from quant_conformance.converters.every import CASES
from quant_conformance.converters.measure import Cell, judged, measure
from quant_conformance.converters.results_table import COLUMNS, changes, page
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
    assert judged(recording, [right]) == Cell("exact")
    beside = np.nextafter(right, np.float32(9))
    assert judged(recording, [beside]).verdict == "differs"
    assert judged(recording, [right[:1]]).verdict == "wrong"


def test_the_page_has_a_row_for_each_operation_and_says_what_is_left_out() -> None:
    chosen = CASES[:2]
    cells = {(c, column): Cell("exact") for c in chosen for column in COLUMNS}
    cells[chosen[0], COLUMNS[0]] = Cell("wrong", "1 for 2")
    text = page(cells, ["polygamma"])
    rows = [line for line in text.splitlines() if line.startswith(f"| {chosen[0].operation} ")]
    assert "wrong: 1 for 2" in rows[0]
    assert "1 exact, 1 wrong" in text
    assert "Without a model here: polygamma." in text


def test_what_a_converter_makes_of_an_operation_that_the_gate_reads_is_evaluated() -> None:
    """No operation is known to the recorder alone: the page was measured, and says `not run`."""
    page_of = Path(__file__).parents[3] / "docs" / "converters.md"
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page_of.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ][1:]
    assert {row[0] for row in rows} <= {case.operation for case in CASES}
    for operation, setting, *cells in rows:
        lacking = [cell for cell in cells if cell.startswith("not run")]
        assert operation not in TABLE or not lacking, (operation, setting, lacking)


def test_a_write_that_the_runtime_dies_of_is_right_exported() -> None:
    written = case("index_put", "a number, axis 1")
    alone = measure(written, "coreai", "alone")
    assert alone.verdict == "crashed"
    assert "SIGILL" in alone.detail
    assert measure(written, "coreai", "exported").verdict == "exact"


@pytest.mark.parametrize(
    ("operation", "setting"),
    [("expm1", "of small values"), ("log1p", "of small values"), ("softplus", ""), ("mish", "")],
)
def test_what_is_lost_beside_one_is_right_exported(operation: str, setting: str) -> None:
    """Core AI folds 1 + x - 1 into x, and takes no tensor that a rule makes of Python's numbers."""
    assert measure(case(operation, setting), "coreai", "exported").verdict == "admissible"


def test_the_page_has_nothing_exported_that_is_wrong_or_fails_in_our_rules() -> None:
    page_of = Path(__file__).parents[3] / "docs" / "converters.md"
    for line in page_of.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 6:
            exported = (cells[3], cells[5])
            assert not any(word in cell for cell in exported for word in ("wrong", "aot_autograd"))


def test_an_output_that_is_a_constant_is_read() -> None:
    for setting in ("crossed", "two equal numbers"):
        for way in ("alone", "exported"):
            assert measure(case("clamp", setting), "coreml", way) == Cell("exact")


def test_a_verdict_that_changed_is_told() -> None:
    chosen = CASES[:2]
    cells = {(c, column): Cell("exact") for c in chosen for column in COLUMNS}
    text = page(cells, [])
    assert changes(text, cells) == []
    cells[chosen[0], COLUMNS[1]] = Cell("admissible")
    assert changes(text, cells) == []
    cells[chosen[1], COLUMNS[2]] = Cell("refused", "ValueError: given a|b")
    (told,) = changes(text, cells)
    assert told.startswith(f"{chosen[1].operation}, {chosen[1].setting}: Core ML, alone: refused")
    assert told.endswith("it was exact")
    assert changes(page(cells, []), cells) == []
    assert len(changes("", cells)) == 2 * len(COLUMNS)


SHARE = 16
"""One operation in so many is taken through the converters here, all by ``make converters``."""


@pytest.mark.slow
@pytest.mark.peers
def test_the_page_says_what_the_converters_do() -> None:
    text = (Path(__file__).parents[3] / "docs" / "converters.md").read_text(encoding="utf-8")
    assert changes(text, {}) == []
    sample = [c for c in CASES if crc32(f"{c.operation} {c.setting}".encode()) % SHARE == 0]
    assert len(sample) > len(CASES) // (2 * SHARE)
    for target, way in COLUMNS:
        for each in sample:
            cell = measure(each, target, way)
            if cell.verdict != "differs":  # to which bit depends on the processor
                assert changes(text, {(each, (target, way)): cell}) == []


def test_all_operations_are_on_the_page() -> None:
    text = (Path(__file__).parents[3] / "docs" / "converters.md").read_text(encoding="utf-8")
    lacking = [c for c in CASES if f"| {c.operation} | {c.setting} |" not in text]
    assert lacking == [], "make converters"


def test_a_page_that_is_not_there_is_a_usage_error(capsys) -> None:
    assert main(["converters", "--check", "none.md"]) == 2
    assert "none.md" in capsys.readouterr().err


def test_an_operation_that_is_not_there_is_a_usage_error(capsys) -> None:
    assert main(["converters", "--operation", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err
