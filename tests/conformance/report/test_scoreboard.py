"""The scoreboard on terminals of any width, and failures gathered by cause."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from tests.conformance.report.report_pages import VECTORS, make_runs, own

from quant_conformance import Verdict
from quant_conformance.report.causes import Group, failure_groups, group_failures, spread
from quant_conformance.report.documents import markdown_text
from quant_conformance.report.evidence import evidence_of
from quant_conformance.report.scoreboard import print_run, print_scoreboard
from quant_conformance.report.scoreboard_rows import COLUMNS
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner
from quant_conformance.verdicts.verdict import CaseResult

WORST = tuple(
    CaseResult(f"default_axis/{verdict.value}-{i}", family, (), (), verdict, "it")
    for family in ("export_weights", "default_axis", "fake_quantize")
    for verdict in Verdict
    for i in range(1234 if verdict is Verdict.EXACT else 120)
)
"""Every verdict in every family, and a number of four digits."""


def printed(runs: list[Run], width: int, *, terminal: bool = True) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    print_scoreboard(runs, console)
    return out.getvalue().splitlines()


def run_of(*results: CaseResult, name: str = "onnxruntime-nonsaturating") -> Run:
    return Run(name, f"{name}.py:Class", {}, {"version": "v1", "digest": "0" * 64}, results)


def tables(lines: list[str]) -> list[list[str]]:
    """The lines of each table: a heading, a rule, rows up to an empty line or indented notes."""
    found = []
    for number, line in enumerate(lines):
        if line.startswith("─"):
            rows = []
            for row in lines[number + 1 :]:
                if not row or row.startswith(" "):
                    break
                rows.append(row)
            found.append([lines[number - 1], *rows])
    return found


@pytest.mark.parametrize("width", [60, 80, 110])
@pytest.mark.parametrize("results", [WORST, WORST[:2]], ids=["every verdict", "exact alone"])
def test_tables_fit_the_terminal(width: int, results: tuple[CaseResult, ...]) -> None:
    lines = printed([run_of(*results), run_of(*results, name="other")], width)
    found = tables(lines)
    assert len(found) == 3  # one each, and all backends
    for table in found:
        assert all(len(line) <= width for line in table)
        assert len({len(line) for line in table}) == 1  # aligned
        titles = table[0].split()[1:]
        assert all(len(row.split()) == len(titles) + 1 for row in table[1:])
    if results is WORST:
        sums = dict(zip(found[0][0].split()[1:], found[0][-1].split()[1:], strict=True))
        assert sum(map(int, sums.values())) == len(WORST)  # no verdict is left out
        assert sums["exact"] == "3702"


def test_titles_are_whole_words_where_there_is_room() -> None:
    wide, narrow = (printed([run_of(*WORST)], width) for width in (110, 80))
    assert tables(wide)[0][0].split()[1:] == [column.title for column in COLUMNS]
    assert tables(narrow)[0][0].split()[1:] == [column.short for column in COLUMNS]
    few = printed([run_of(*WORST[:2])], 80)
    assert tables(few)[0][0].split()[1:] == [c.title for c in COLUMNS if not c.rare]


@pytest.mark.parametrize("width", [60, 80])
def test_notes_wrap_between_words_and_ids_stay_whole(tmp_path: Path, width: int) -> None:
    runs = make_runs(tmp_path)[1:2]
    lines = printed(runs, width)
    long = [line for line in lines if len(line) > width]
    # Only what is one word, or a command, may be longer than the line.
    assert all(" " not in line.strip() or "quant-conformance explain" in line for line in long)
    plain = printed(runs, width, terminal=False)
    told = [" ".join(line.split()) for line in plain if "matches" in line]
    assert told
    words = " ".join(" ".join(lines).split())
    assert all(line in words for line in told)


def test_each_run_can_be_printed_as_soon_as_it_is_done(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=False)
    for run in runs:
        print_run(run, console)
    assert out.getvalue() in "\n".join(printed(runs, 80, terminal=False))


def result(case: str, detail: str, verdict: Verdict = Verdict.CRASHED) -> CaseResult:
    return CaseResult(case, case.partition("/")[0], (), (), verdict, detail)


def test_one_cause_is_one_group_whatever_the_family() -> None:
    groups = group_failures(
        [
            result("encode/a", "TypeError: 3 of (2, 4) given"),
            result("decode/a", "TypeError: 7 of (2, 4, 1) given"),
            result("decode/b", "KeyError: 'x'"),
        ]
    )
    assert [group.title for group in groups] == [
        "2 crashed in encode, decode",
        "1 crashed in decode",
    ]
    assert groups[0].cause == "TypeError: 3 of (2, 4) given"


def test_wrong_elements_are_gathered_by_family() -> None:
    element = "codes[{}]: expected 1, got 2; {} of 24 elements differ"
    groups = group_failures(
        [
            *(result(f"quantize/{i}", element.format(i, i), Verdict.WRONG) for i in range(3)),
            result("encode/0", element.format(0, 1), Verdict.WRONG),
            result("quantize/dtype", "codes has dtype int32, expected int8", Verdict.WRONG),
        ],
        {"quantize": ["quantize: a known bug"]},
    )
    assert [(len(g.results), g.families, g.cause) for g in groups] == [
        (3, ["quantize"], ""),
        (1, ["encode"], ""),
        (1, ["quantize"], "codes has dtype int32, expected int8"),
    ]
    assert [g.diagnosis for g in groups] == [("quantize: a known bug",), (), ()]


def test_groups_take_turns() -> None:
    groups = [
        Group(tuple(result(f"{f}/{i}", "") for i in range(n))) for f, n in (("a", 3), ("b", 1))
    ]
    shown = [[r.id for r in chosen] for _, chosen in spread(groups, 3)]
    assert shown == [["a/0", "a/1"], ["b/0"]]
    assert [len(chosen) for _, chosen in spread(groups, 1)] == [1]
    assert [len(chosen) for _, chosen in spread(groups, 99)] == [3, 1]


def test_the_terminal_and_markdown_have_the_same_groups() -> None:
    run = Runner(VECTORS, VECTORS.cases, Plan(isolate=False)).run(own("NextCode"))
    groups = failure_groups(run)
    assert groups[0].title == "53 wrong in encode"
    assert "  … and 48 wrong in encode" in printed([run], 80, terminal=False)
    text = markdown_text([run], failures=5)
    assert "### 53 wrong in encode\n\n- encode: " in text  # the diagnosis beside what it explains
    assert "- … and 48 more" in text
    assert text.count("\n- encode: ") == len(evidence_of(run).diagnosis)  # and nowhere else
