"""The HTML report of a run: what it says, and that it says nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conformance.report.report_pages import (
    FACTS,
    HOSTILE,
    VECTORS,
    Node,
    make_runs,
    parse,
    run_page,
)

import quant_conformance.report.html.run_page as report_runs
from quant_conformance import Verdict
from quant_conformance.cli import main
from quant_conformance.report.html import html_text
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(runs: list[Run]) -> Node:
    return parse(run_page(runs))


def panel(page: Node, number: int) -> Node:
    """The part of the backend that stands in this place, counted from 0."""
    (found,) = page.find("section", id=f"backend-{number + 1}")
    return found


def table(node: Node, css: str) -> list[list[str]]:
    """The cells of the first table of a class."""
    return node.find("table", class_=css)[0].cells()


# What is untrusted stays text.


def test_hostile_text_is_text(runs: list[Run], page: Node) -> None:
    assert len(page.find("script")) == 1
    assert page.find("img") == []
    text = page.text
    # Name, versions, case id, flag, detail, reason, stale expectation.
    assert text.count(HOSTILE) >= 7
    assert page.find("title")[0].text == "quant-conformance: run"
    crash = panel(page, 2).text
    assert "RuntimeError: ��[31m" in crash
    assert not re.search("[\0-\x08\x0b-\x1f\ud800-\udfff]", text)
    run_page(runs).encode()  # no half of a surrogate pair


def test_only_web_addresses_become_links(page: Node) -> None:
    outward = [a for a in page.find("a") if not (a.attributes["href"] or "").startswith("#")]
    assert {a.attributes["href"] for a in outward} == {"https://example.org/why"}
    assert all(a.attributes["rel"] == "noreferrer" for a in outward)
    assert "javascript:window.hacked=1" in page.text


# What is said.


def test_the_scoreboard_has_every_verdict_that_occurs(runs: list[Run], page: Node) -> None:
    head, *rows = table(page.find("section", id="overview")[0], "board")
    occurring = {result.verdict for run in runs for result in run.results}
    titles = [v.value.replace("_", " ") for v in Verdict if v in occurring]
    assert head == ["backend", "", *titles, "cases"]
    for row, run in zip(rows, runs, strict=True):
        assert row[0].endswith(run.backend)
        assert row[-1] == str(len(run.results))
        counts = [int(cell.replace("·", "0")) for cell in row[2:-1]]
        assert dict(zip(titles, counts, strict=True)) == {
            v.value.replace("_", " "): sum(r.verdict is v for r in run.results)
            for v in Verdict
            if v in occurring
        }


def test_families_by_backend(page: Node) -> None:
    head, *rows = table(page.find("section", id="overview")[0], "matrix")
    encode = head.index("encode")
    # 50 powers of two, a tie, a subnormal tie and the hostile case.
    assert [row[encode] for row in rows] == ["✓53", "✗0/53", "✗0/53", "✗0/53", "–"]


def test_clauses_of_a_family(page: Node) -> None:
    (encode,) = [
        d
        for d in panel(page, 1).find("details", class_="by-clause")
        if "encode" in d.find("summary")[0].text
    ]
    rows = {row[0]: row[1:] for row in table(encode, "board")[1:]}
    assert rows["✗MINE-1"][-1] == "1"
    assert rows["✗ENC-1"][-1] == "51"
    # A clause that SPEC.md lacks has nowhere to lead.
    assert page.find("a", href="#clause-ENC-1")
    assert not page.find("a", href="#clause-MINE-1")


def test_failures_are_shown_in_bits(page: Node) -> None:
    (failure,) = [
        d
        for d in panel(page, 1).find("details", class_="failure")
        if "encode/subnormal-tie" in d.find("summary")[0].text
    ]
    # 2^-10 is midway between 0 and the least code. NaN + 1 is -0.
    assert table(failure, "bits") == [
        ["", "decimal", "hex float", "bits or code"],
        ["codes[0]"],
        ["x", "0.0009765625", "0x1p-10", "0x3a800000"],
        ["expected", "0", "0x0p+0", "0x00"],
        ["actual", "0.00195312", "0x1p-9", "0x01"],
        ["codes[1]"],
        ["x", "nan", "nan", "0x7fc00000"],
        ["expected", "nan", "nan", "0x7f"],
        ["actual", "-0", "-0x0p+0", "0x80"],
    ]
    assert "quant-conformance explain encode/subnormal-tie --backend " in failure.text


def test_the_command_that_explains_a_case_names_the_vectors(runs: list[Run]) -> None:
    folder = Path("my vectors")
    shown = [
        code.text
        for code in parse(html_text(runs, FACTS, folder)).find("code")
        if code.text.startswith("quant-conformance explain")
    ]
    assert shown
    assert all(command.endswith(" --vectors 'my vectors'") for command in shown)
    assert "--vectors" not in run_page(runs)


def test_failures_are_capped_and_the_rest_is_listed(
    runs: list[Run], page: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = panel(page, 1).find("details", class_="failure")
    assert len(shown) == report_runs.FAILURES_SHOWN
    rest = len(runs[1].failures) - report_runs.FAILURES_SHOWN
    assert rest > 0
    (lines,) = panel(page, 1).find("ul", class_="lines")
    assert len(lines.find("li")) == rest
    assert f"{rest} further cases, without their elements" in panel(page, 1).text
    told = {d.find("summary")[0].find("code")[0].text for d in shown}
    told |= {li.find("code")[0].text for li in lines.find("li")}
    assert told == {result.id for result in runs[1].failures}
    monkeypatch.setattr(report_runs, "LINES_SHOWN", 5)
    assert f"… and {rest - 5} more failures." in panel(parse(run_page(runs)), 1).text


def test_failures_are_grouped_by_cause_and_what_explains_them(page: Node) -> None:
    (kind,) = panel(page, 1).find("details", class_="kind failures")
    assert kind.find("summary")[0].text.endswith("53 wrong in encode")
    assert "encode: " in kind.find("ul", class_="diagnosis")[0].text
    (crashed,) = panel(page, 2).find("details", class_="kind failures")
    assert "53 crashed in encode" in crashed.find("summary")[0].text
    assert "RuntimeError: " in crashed.find("span", class_="cause")[0].text


def test_the_overview_shows_what_failed_and_why(runs: list[Run], page: Node) -> None:
    (overview,) = page.find("section", id="overview")
    cards = overview.find("article")
    assert len(cards) == sum(run.failed for run in runs)
    text = cards[0].text
    assert "next-code" in text
    assert "53 wrong in encode" in text
    assert "encode: " in text  # what explains it
    first = runs[1].failures[0]
    assert first.id in text
    assert first.detail in text
    (link, *_) = [a for a in cards[0].find("a") if "53 wrong" in a.text]
    assert page.find("details", id=(link.attributes["href"] or "")[1:])
    assert "53 crashed in encode" in cards[1].text
    assert "RuntimeError: " in cards[1].text


def test_every_section_of_a_backend_can_be_reached(page: Node) -> None:
    for number in range(5):
        part = panel(page, number)
        (links,) = part.find("nav", class_="sections")
        targets = [(a.attributes["href"] or "")[1:] for a in links.find("a")]
        assert [h.attributes["id"] for h in part.find("h3") if "id" in h.attributes] == targets
    titles = [a.text for a in panel(page, 1).find("nav", class_="sections")[0].find("a")]
    assert titles[:2] == ["Failures", "Families"]
    assert "Number lines" in titles


def test_what_was_not_judged_is_noted(runs: list[Run]) -> None:
    noted = replace(runs[0], notes=("nothing was judged: why",))
    assert "nothing was judged: why" in panel(parse(run_page([noted])), 0).text


def test_known_failures_are_gathered_by_reason(page: Node) -> None:
    groups = [d.find("summary")[0].text for d in panel(page, 3).find("details", class_="known")]
    assert len(groups) == 2
    assert re.search(r"50 cases\s*$", groups[0])
    assert re.search(r"ties go up\s+1 case\s*$", groups[1])


def test_stale_expectations_and_problems_are_told(page: Node) -> None:
    assert "fixed " in panel(page, 3).find("ul")[0].text
    assert "no-such-package-anywhere not installed" in panel(page, 4).text


def test_diagnosis_and_policies(page: Node) -> None:
    assert "encode: " in panel(page, 1).find("ul", class_="diagnosis")[0].text
    policies = panel(page, 0).find("table", class_="policies")[0].text
    assert "nan_payload" in policies
    assert "canonical (1)" in policies


def test_number_lines_mark_what_is_wrong(page: Node) -> None:
    wrong = panel(page, 1)
    (overview,) = wrong.find("svg", class_="line-overview")
    # A tick for each finite code. The inputs: 8 powers of two and their negatives, 1.0625, -0 and
    # 2^-10; the NaN is off the line.
    assert len(overview.find("line", class_="tick")) == 253
    assert len(overview.find("circle", class_="expected")) == 19
    assert len(overview.find("path", class_="actual")) == 19
    assert len(overview.find("path", class_="given")) == 19
    assert len(wrong.find("svg", class_="line-card")) == 6
    assert "1 with a NaN" in wrong.text
    assert not panel(page, 0).find("svg", class_="line-overview")


def test_distances(page: Node) -> None:
    (encode,) = [
        h for h in panel(page, 1).find("div", class_="histogram") if "encode: codes" in h.text
    ]
    # One code up is one step up for 50 powers, 1.0625, 1 and 2^-10, one down for 50 negative
    # powers and -0; the code above that of NaN is -0.
    assert "0 of 105 elements right" in encode.text
    rows = [(row[0], row[2]) for row in encode.cells()[1:]]
    assert rows == [("−1", "51"), ("+1", "53"), ("NaN on one side", "1")]


def test_facts(page: Node) -> None:
    (facts,) = page.find("section", id="facts")
    for words in (FACTS.command, FACTS.date, FACTS.cpu, "c0ffee", "0" * 64, "numpy"):
        assert words in facts.text


def test_the_same_run_gives_the_same_bytes(runs: list[Run], tmp_path: Path) -> None:
    assert run_page(runs) == run_page(make_runs(tmp_path))


def test_an_empty_run_has_a_report() -> None:
    run = Runner(VECTORS, [], Plan(isolate=False)).run("numpy-reference")
    for runs in ([], [run]):
        page = parse(html_text(runs, FACTS))
        assert len(page.find("section", id="overview")) == 1


def test_the_command_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    file = tmp_path / "report.html"
    case = "encode/float8_e4m3fn/every-value"
    options = ["--backend", "numpy-reference", "--case", case, "--html", str(file)]
    assert main(["run", *options]) == 0
    assert "1970-01-02 00:00 UTC" in parse(file.read_text()).text
    assert main(["run", *options[:-1], str(tmp_path / "none" / "r.html")]) == 2
