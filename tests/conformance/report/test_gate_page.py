"""The HTML report of the gate, from a document written by hand."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conformance.report.report_pages import (
    HOSTILE,
    LONG,
    Node,
    gate_document,
    gate_page,
    layer,
    parse,
)

from quant_conformance.errors import ResultsError
from quant_conformance.gate.document import EndToEnd, GateDocument, Layer, Weight, Worst
from quant_conformance.report.html import check_gate, gate_html_text, gate_schema
from quant_conformance.report.html.gate_page import OPEN


@pytest.fixture(scope="module")
def page() -> Node:
    return parse(gate_page())


def bars(page: Node, row: int, css: str) -> list[float]:
    """Lengths of a layer's bars of this class, out of 100."""
    (table,) = page.find("table", class_="board layers")
    found = table.find("tr")[row + 1].find("rect", class_=css)
    return [float(rect.attributes["width"] or "") for rect in found]


def test_the_schema_is_one_and_takes_the_document() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(gate_schema())
    check_gate(gate_document())
    check_gate(gate_document(end_to_end=None, layers=[], weights=[], detail="did not load"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "quant-conformance/gate/2"}, r"\$.schema"),
        ({"verdict": "fine"}, r"\$.verdict: 'fine' is not one of \['exact', 'admissible'"),
        ({"mode": "jit"}, r"\$.mode"),
        ({"more": 1}, "'more' was unexpected"),
        ({"layers": [layer(flipped=1.5)]}, r"\$.layers\[0\].flipped: 1.5 is greater than"),
        ({"layers": [layer(code_errors={"half": 1})]}, "'half' does not match"),
        ({"layers": [{"name": "conv"}]}, r"\$.layers\[0\]: 'operation' is a required"),
        ({"layers": [layer(worst={"index": [0]})]}, r"\$.layers\[0\].worst"),
        ({"end_to_end": {"sqnr": 1.0}}, r"\$.end_to_end"),
    ],
)
def test_another_document_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=f"no document of the gate: .*{message}"):
        gate_html_text(gate_document(**changes))


def test_what_the_gate_writes_follows_the_schema() -> None:
    worst = Worst([1], 0.5, 2.0, 0.0, 1.0, 0.0, 1.0, 1.0)
    document = GateDocument("m", "default", "eager", "coreml", False, {"torch": "2"})
    document.facts = {"cpu": "c", "commit": None, "command": "x"}
    document.layers.append(Layer("linear", "linear", ["Q-1"], "wrong", "int8", 2, worst=worst))
    document.weights.append(Weight("w", "exact", "int4", "per_tensor", []))
    document.end_to_end = EndToEnd(None, 0.0, None, 1)
    page = parse(gate_html_text(document.to_dict()))
    assert "1 output against the prepared model: SQNR ∞ dB" in page.text
    assert "first choice" not in page.text
    failed = GateDocument("m", "default", "graph", "coreai", True, failure="crashed", detail="why")
    failed.facts = document.facts
    assert "why" in parse(gate_html_text(failed.to_dict())).find(id="overview")[0].text


def test_the_headline_and_the_whole(page: Node) -> None:
    headline = " ".join(page.find("p", class_="headline")[0].text.split())
    assert headline == (
        "✗ wrong resnet, config w8a8, graph mode, exported to coreai, cast to 16 bits. 2026-01-02."
    )
    text = page.find(id="overview")[0].text.replace("\u00a0", " ")
    assert "SQNR 33.3 dB, 1 % of the codes differ, the same first choice in 100 %." in text


def test_the_table_of_layers(page: Node) -> None:
    _, conv, linear, out, long = page.find("table", class_="board layers")[0].cells()
    numbers = ["", "40.0", "", "0.4 %", "98 %", "·", "·", "·"]
    assert conv == ["conv2d", "✓ admissible", *numbers]
    assert linear[3] == "∞"
    assert linear[7] == "2"
    assert out[6] == "–"
    assert long[0] == LONG
    assert long[9] == "7"


def test_bars_are_as_long_as_what_they_stand_for(page: Node) -> None:
    # SQNR of 40 (the highest), none (infinite), 40 and 20 dB.
    assert [bars(page, i, "plain") for i in range(4)] == [[100], [100], [100], [50]]
    # 0.4 % of at most 50 % is 0.8 of 100: drawn as the least that can be seen.
    assert bars(page, 0, "good") == [1]
    assert bars(page, 1, "bad") == [100]


def test_layers_that_fail_are_open_and_told_in_full(page: Node) -> None:
    panels = [d for n in range(1, 5) for d in page.find("details", id=f"layer-{n}")]
    assert ["open" in panel.attributes for panel in panels] == [False, True, False, True]
    text = " ".join(panels[1].text.split())
    assert "Worst element: [0, 3], exact value 1.25" in text
    worst, codes = panels[1].find("table")
    assert worst.cells()[:2] == [["got", "4"], ["legal for any order of summation", "1 … 2"]]
    assert codes.cells()[-1] == ["+3 … +4", "", "500"]
    assert "repro/linear" in text
    assert "500 of 1,000 elements right" in text
    assert "no bound decides" in panels[3].text


def test_few_layers_are_open() -> None:
    page = parse(gate_page(layers=[layer(verdict="wrong", name=str(n)) for n in range(20)]))
    opened = [d for d in page.find("details", class_="failure") if "open" in d.attributes]
    assert len(opened) == OPEN


def test_errors_of_all_layers_together(page: Node) -> None:
    overview = page.find(id="overview")[0]
    codes, ulps = overview.find("div", class_="histogram")
    # 996 twice and 500, of three layers with codes.
    assert "2,492 of 3,000 elements right" in codes.text
    found = [(row[0], row[2]) for row in codes.cells()[1:]]
    assert found == [("−1", "6"), ("+1", "2"), ("+2", "0"), ("+3 … +4", "500")]
    assert ulps.cells()[1:] == [["+2¹⁶ … +2¹⁷", "", "1"]]


def test_weights_and_clauses(page: Node) -> None:
    weights = page.find(id="weights")[0]
    assert weights.find("a", href="#clause-QP-2")
    assert "conv2d.weight" in weights.text
    (clause,) = page.find("details", id="clause-Q-1")
    assert f"among the failures of linear, {LONG}" in clause.find("summary")[0].text


def test_nothing_to_show_is_said() -> None:
    page = parse(gate_page(layers=[], weights=[], end_to_end=None, verdict="exact"))
    assert "No layer was judged." in page.text
    assert "No weight is quantized." in page.text


def test_hostile_text_is_text() -> None:
    hostile = layer(name=HOSTILE, operation=HOSTILE, dtype=HOSTILE, detail=HOSTILE, repro=HOSTILE,
                    clauses=[HOSTILE])  # fmt: skip
    page = parse(
        gate_page(
            model=HOSTILE,
            config=HOSTILE,
            versions={HOSTILE: HOSTILE},
            facts={"cpu": HOSTILE, "commit": HOSTILE, "command": HOSTILE},
            layers=[hostile],
        )
    )
    assert len(page.find("script")) == 1
    assert page.find("img") == []
    assert page.text.count(HOSTILE) >= 12
