"""Results files, reports, the difference of two runs, and the clauses of SPEC.md."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import jsonschema
import pytest
import tests.conformance.backends_for_tests as backends
from tests.conformance.backends_for_tests import reference
from tests.conformance.sets import encodes, make_set, one_of_each

from quant_conformance.errors import ResultsError
from quant_conformance.files import write_text
from quant_conformance.report.diff import compare_results
from quant_conformance.report.documents import junit_text, markdown_text
from quant_conformance.report.results import (
    read_results,
    results_schema,
    results_text,
    run_document,
)
from quant_conformance.report.scoreboard_rows import rows
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner
from quant_conformance.verdicts.clauses import parse_clauses, spec_clauses
from quant_conformance.verdicts.expectations import load_expectations

# Where _raise() of the backends for tests raises, as whoever reads the report finds it.
RAISED = f"backends_for_tests.py:{backends._raise.__code__.co_firstlineno + 1} in _raise"

VECTORS = make_set([*encodes(4), *one_of_each()])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    known = tmp_path_factory.mktemp("known") / "known.toml"
    known.write_text(
        '[[expect]]\ncases = "encode/tie"\nreason = "a <known> one"\nlink = "here"\n'
        '[[expect]]\ncases = "encode/power-0"\nreason = "fixed"\n'
    )
    runner = Runner(VECTORS, VECTORS.cases, Plan(isolate=False))
    hostile = Plan(isolate=False, expectations=load_expectations(known))
    return [
        runner.run("numpy-reference"),
        Runner(VECTORS, VECTORS.cases, hostile).run(reference("Raises")),
        runner.run(reference("LacksPackage")),
    ]


def test_results_follow_their_schema_and_can_be_read_again(runs: list[Run], tmp_path: Path) -> None:
    schema = results_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in (runs, runs[:1], runs[2:]):
        path = tmp_path / "r.json"
        write_text(path, results_text(part))
        value = json.loads(path.read_text())
        jsonschema.validate(value, schema)
        assert list(read_results(path)) == [run.backend for run in part]


def test_a_result_document_says_everything(runs: list[Run]) -> None:
    document = run_document(runs[1])
    assert document["backend"] == "hostile"
    assert document["versions"] == {"powers": "1.5"}
    assert document["vectors"] == {"version": "v1", "digest": "0" * 64}
    assert document["summary"] == {"exact": 3, "unsupported": 13, "crashed": 1, "expected": 1}
    assert len(document["stale"]) == 1
    by_id = {case["id"]: case for case in document["cases"]}
    assert by_id["encode/power-2"] == {
        "id": "encode/power-2",
        "family": "encode",
        "clauses": ["ENC-1"],
        "flags": [],
        "verdict": "crashed",
        "detail": f"RuntimeError: no such kernel ({RAISED})",
    }
    assert (by_id["encode/tie"]["was"], by_id["encode/tie"]["link"]) == ("wrong", "here")
    assert run_document(runs[0])["policies"] == {"nan_payload": {"canonical": 1}}
    assert run_document(runs[2])["problem"]["kind"] == "unavailable"


def test_the_same_run_gives_the_same_bytes(runs: list[Run]) -> None:
    again = Runner(VECTORS, VECTORS.cases, Plan(isolate=False)).run("numpy-reference")
    assert results_text([again]) == results_text(runs[:1])


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda d: d.pop("summary"), "'summary' is a required property"),
        (lambda d: d.update(schema="other"), "was expected"),
        (lambda d: d["cases"][0].update(verdict="fine"), r"\$.cases\[0\].verdict"),
        (lambda d: d["cases"][0].update(mood="fine"), "Additional properties"),
    ],
)
def test_a_spoilt_results_file_says_where(
    runs: list[Run], tmp_path: Path, spoil: Any, problem: str
) -> None:
    document = run_document(runs[0])
    spoil(document)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ResultsError, match=problem):
        read_results(path)


def test_what_is_no_results_file(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="cannot read"):
        read_results(tmp_path / "none.json")
    path = tmp_path / "r.json"
    path.write_text("{")
    with pytest.raises(ResultsError, match="is not JSON"):
        read_results(path)
    path.write_text("[]")
    with pytest.raises(ResultsError, match="is no results file"):
        read_results(path)
    path.write_text(results_text([runs[0], runs[0]]))
    with pytest.raises(ResultsError, match="names a backend twice"):
        read_results(path)


def test_junit_counts_what_it_holds(runs: list[Run]) -> None:
    suites = {suite.get("name"): suite for suite in Xml.fromstring(junit_text(runs).encode())}
    hostile = suites["hostile"]
    numbers = {key: hostile.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert numbers == {"tests": "19", "failures": "1", "errors": "1", "skipped": "14"}
    (error,) = hostile.iter("error")
    assert error.get("message") == f"crashed: RuntimeError: no such kernel ({RAISED})"
    (stale,) = hostile.iter("failure")
    assert stale.get("type") == "stale"
    assert suites["lacks-package"].get("skipped") == "18"


def test_junit_survives_any_text(runs: list[Run]) -> None:
    bad = replace(runs[1].results[2], detail="\x00\x1b[31m<&>\ud800 é")
    text = junit_text([replace(runs[1], results=(bad,))])
    assert "crashed: ��[31m<&>� é" in [e.get("message") for e in Xml.fromstring(text).iter()]


def test_markdown_shows_the_board_and_the_failures(runs: list[Run]) -> None:
    text = markdown_text(runs)
    assert "| hostile | encode | 3 | · | · | · | 1 | 1 | · |" in text
    assert "### 1 crashed in encode\n\n" in text
    assert "- **crashed** `encode/power-2` — RuntimeError: no such kernel" in text
    assert "- policy nan_payload: canonical (1)" in text
    assert "unavailable: no-such-package-anywhere not installed" in text
    assert "stale expectation: known.toml: cases = " in text


def test_families_that_are_lacking_take_one_row(runs: list[Run]) -> None:
    assert [(row.label, sum(row.counts.values())) for row in rows(runs[1])] == [
        ("encode", 5),
        ("11 others", 13),
        ("all", 18),
    ]
    assert [row.label for row in rows(runs[2])] == ["all"]


def document(**verdicts: str) -> dict[str, Any]:
    def case(name: str, verdict: str) -> dict[str, Any]:
        word, _, choice = verdict.partition(":")
        return {
            "id": name,
            "verdict": word,
            "detail": "d",
            **({"choice": choice} if choice else {}),
        }

    return {"cases": [case(name, verdict) for name, verdict in verdicts.items()]}


def test_diff_says_better_worse_changed_new_and_gone() -> None:
    before = document(
        a="exact", b="wrong", c="policy:x", d="exact", e="exact", f="wrong", g="expected"
    )
    after = document(
        a="wrong", b="expected", c="policy:y", e="unsupported", f="crashed", g="exact", h="wrong"
    )
    changes = compare_results({"m": before, "old": document(z="exact")}, {"m": after})
    assert [(c.kind, c.backend, c.id, c.before, c.after) for c in changes] == [
        ("worse", "m", "a", "exact", "wrong"),
        ("worse", "m", "e", "exact", "unsupported"),
        ("better", "m", "b", "wrong", "expected"),
        ("better", "m", "g", "expected", "exact"),
        ("changed", "m", "c", "policy x", "policy y"),
        ("changed", "m", "f", "wrong", "crashed"),
        ("new", "m", "h", None, "wrong"),
        ("gone", "m", "d", "exact", None),
        ("gone", "old", "z", "exact", None),
    ]
    assert str(changes[0]) == "worse m a (exact -> wrong): d"
    assert compare_results({"m": after}, {"m": after}) == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_clauses_are_read_from_headings() -> None:
    text = (
        "# T\n## 1 Part\nintro\n### Q-1 True division\nx / s\n\n| a |\n### Q-2\ntext\n## 2 End\nz"
    )
    clauses = parse_clauses(text)
    assert list(clauses) == ["Q-1", "Q-2"]
    assert (clauses["Q-1"].title, clauses["Q-1"].text) == ("True division", "x / s\n\n| a |")
    assert (clauses["Q-2"].title, clauses["Q-2"].text) == ("", "text")
    with pytest.raises(ValueError, match="clause Q-1 is there twice"):
        parse_clauses("### Q-1 a\n### Q-1 b\n")


def test_markers_of_generated_parts_are_no_text() -> None:
    clauses = parse_clauses("### Q-1 a\nx\n<!-- table -->\ny\n<!-- /table -->\n")
    assert clauses["Q-1"].text == "x\ny"
    assert not any("<!--" in clause.text for clause in spec_clauses().values())


def test_the_spec_that_ships_has_clauses() -> None:
    assert {"ENC-1", "Q-2", "OBS-2"} <= spec_clauses().keys()
    assert all(clause.title and clause.text for clause in spec_clauses().values())
