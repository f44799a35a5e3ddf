"""Gating options of the command line: exit codes, reports, and the file of known failures."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.conformance.backends_for_tests import reference
from tests.conformance.sets import encodes, make_set, one_of_each, write_set

from quant_conformance.cli import main
from quant_conformance.errors import ExpectationsError
from quant_conformance.report.known_failures import known_failures_text
from quant_conformance.report.results import read_results
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.expectations import load_expectations
from quant_conformance.verdicts.verdict import CaseResult, Verdict

Capture = pytest.CaptureFixture[str]
Command = Callable[..., int]

RIGHT = ("--case", "encode/power-*", "--case", "quantize/*")
"""Four cases that Powers gets right, and two that it does not support."""


def test_a_backend_without_the_family_passes_until_it_is_required(
    run: Command, tmp_path: Path, capsys: Capture
) -> None:
    powers = reference("Powers")
    assert run(powers, more=RIGHT) == 0
    assert run(powers, more=(*RIGHT, "--require", "encode=all", "--min-judged", "4")) == 0
    names = ("out.json", "out.xml", "out.md", "out.html")
    reports = [str(tmp_path / name) for name in names]
    options = ("--json", "--junit", "--markdown", "--html")
    more = [part for pair in zip(options, reports, strict=True) for part in pair]
    capsys.readouterr()
    assert run(powers, more=(*RIGHT, "--require", "quantize", *more)) == 1
    line = "quantize: 0 cases were judged, at least 1 required"
    assert f"condition not met powers: {line}\n" in capsys.readouterr().out
    for report in reports:
        assert line in Path(report).read_text(encoding="utf-8"), report
    assert read_results(tmp_path / "out.json")["powers"]["unmet"] == [line]


def test_unsupported_can_fail_and_enough_can_be_asked_for(run: Command) -> None:
    assert run(reference("Powers"), more=(*RIGHT, "--fail-on", "expected")) == 0
    for condition in (("--fail-on", "unsupported"), ("--min-judged", "5")):
        assert run(reference("Powers"), more=(*RIGHT, *condition)) == 1
        assert run("numpy-reference", more=(*RIGHT, *condition)) == 0


def test_a_condition_that_nobody_can_meet_is_refused_before_the_run(
    run: Command, capsys: Capture
) -> None:
    more = ("--family", "encode", "--require", "quantize")
    assert run(reference("Raises"), more=more) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "unknown family that is run, for --require: 'quantize'" in err


def test_known_failures_are_written_filled_in_and_used(run: Command, tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    wrong = reference("OneBit")
    assert run(wrong, more=("--write-expectations", str(known))) == 1
    (entry,) = tomllib.loads(known.read_text())["expect"]
    assert entry == {"cases": "quantize/tie", "reason": ""}
    assert run(wrong, more=("--expectations", str(known))) == 2
    known.write_text(known.read_text().replace('reason = ""', 'reason = "flips a bit"'))
    assert run(wrong, more=("--expectations", str(known))) == 0
    assert run(wrong, more=("--expectations", str(known), "--fail-on", "expected")) == 1
    # What is known keeps its reason; what is there is not written over.
    again = tmp_path / "again.toml"
    more = ("--expectations", str(known), "--write-expectations")
    assert run(wrong, more=(*more, str(known))) == 2
    assert run(wrong, more=(*more, str(again))) == 0
    assert tomllib.loads(again.read_text())["expect"] == [{**entry, "reason": "flips a bit"}]


def test_a_file_of_known_failures_belongs_to_one_backend(run: Command, tmp_path: Path) -> None:
    more = ("--write-expectations", str(tmp_path / "known.toml"))
    assert run("numpy-reference", "ml-dtypes", more=more) == 2
    assert run("numpy-reference", more=more) == 0
    assert load_expectations(tmp_path / "known.toml").entries == ()


VERDICTS = {
    "a/all/1": Verdict.WRONG,
    "a/all/2": Verdict.WRONG,
    "a/mixed/1": Verdict.WRONG,
    "a/mixed/2": Verdict.CRASHED,
    "a/some/1": Verdict.WRONG,
    "a/some/2": Verdict.EXACT,
    "a/part/1": Verdict.WRONG,  # and 2 is not run
    "a/one": Verdict.UNANSWERED,
    "b/x": Verdict.WRONG,
    "b/y": Verdict.WRONG,
    "b/deep/z": Verdict.EXACT,
    'odd/[*?]"\\\x7f\ud800é': Verdict.TIMED_OUT,
}


def a_run() -> Run:
    results = [
        CaseResult(name, "f", (), (), verdict, 'line 1\n[[expect]]\ncases = "*"\x00')
        for name, verdict in VERDICTS.items()
    ]
    vectors = {"version": "mine\n[[expect]]", "digest": "0"}
    return Run("odd\nname", "odd", {"n": "1"}, vectors, tuple(results))


def test_what_passed_is_never_named_and_every_failure_is(tmp_path: Path) -> None:
    text = known_failures_text(a_run(), [*VERDICTS, "a/part/2"])
    found = tomllib.loads(text)["expect"]
    assert [entry["cases"] for entry in found[:-1]] == [
        "a/all/*", "a/mixed/1", "a/mixed/2", "a/some/1", "a/part/1", "b/x", "b/y",
    ]  # fmt: skip
    assert found[2]["verdict"] == "crashed"
    path = tmp_path / "known.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ExpectationsError, match="the reason is empty"):
        load_expectations(path)
    path.write_text(text.replace('reason = ""', 'reason = "known"'), encoding="utf-8")
    results, stale = load_expectations(path).apply(
        a_run().results, make_set([*encodes(1), *one_of_each()]).cases, {}, frozen=False
    )
    left = {result.id for result in results if result.verdict is not Verdict.EXPECTED}
    # Half of a surrogate pair cannot be written in a file, so that name is not found again.
    odd = next(name for name in VERDICTS if name.startswith("odd"))
    assert left == {"a/some/2", "a/one", "b/deep/z", odd}
    assert "1 cases are unanswered" in text
    assert stale == []


def test_judge_takes_the_conditions(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "asked"
    own = ("--vectors", str(write_set(encodes(4), tmp_path / "set")))
    assert main(["questions", "--out", str(folder), *own]) == 0
    known = tmp_path / "known.toml"
    judge = ["judge", str(folder / "answers"), *own]
    assert main([*judge, "--require", "encode", "--write-expectations", str(known)]) == 1
    assert "encode: 0 cases were judged" in capsys.readouterr().out
    assert "cases are unanswered" in known.read_text()
    assert main([*judge, "--partial", "*"]) == 2  # nothing was judged
    assert main([*judge, "--partial", "*", "--min-judged", "1"]) == 1
    assert main([*judge, "--partial", "*", "--fail-on", "unsupported"]) == 1


def test_the_version_is_that_of_the_package(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"quant-conformance {version('quant-conformance')}\n"


def test_results_without_conditions_are_as_before(run: Command, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert run("numpy-reference", more=("--json", str(out))) == 0
    assert "unmet" not in json.loads(out.read_text())
