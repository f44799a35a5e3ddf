"""Known failures as data: what matches, what is stale, what is refused."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from tests.conformance.backends_for_tests import reference
from tests.conformance.sets import encodes, make_set, one_of_each

from quant_conformance.errors import ExpectationsError
from quant_conformance.registry import BACKENDS
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner
from quant_conformance.verdicts.expectations import (
    Expectations,
    builtin_expectations,
    load_expectations,
)
from quant_vectors import Case, VectorSet

VECTORS = make_set([*encodes(8), *one_of_each()])
# OneBit fails quantize/tie: clause Q-2, flag TiesToEven.


def expectations(tmp_path: Path, text: str) -> Expectations:
    path = tmp_path / "known.toml"
    path.write_text(text)
    return load_expectations(path)


def run(known: Expectations, cases: list[Case] | None = None, frozen: bool = True) -> Run:
    plan = Plan(isolate=False, expectations=known, frozen=frozen)
    return Runner(VECTORS, cases or VECTORS.cases, plan).run(reference("OneBit"))


@pytest.mark.parametrize(
    "conditions",
    [
        'cases = "quantize/tie"',
        'cases = "*/t?e"',
        'flag = "TiesToEven"',
        'clause = "Q-2"',
        'cases = "quantize/*"\nflag = "TiesToEven"\nclause = "Q-2"',
        'cases = "quantize/tie"\nversions = {numpy = ">=1", ml_dtypes = ">0"}',
    ],
)
def test_a_matching_failure_is_expected(tmp_path: Path, conditions: str) -> None:
    known = expectations(
        tmp_path, f'[[expect]]\n{conditions}\nreason = "flips a bit"\nlink = "findings.md#bit"'
    )
    done = run(known)
    (found,) = [r for r in done.results if r.verdict == "expected"]
    assert (found.id, found.was, found.link) == ("quantize/tie", "wrong", "findings.md#bit")
    assert found.detail.startswith("flips a bit: codes[1]: expected 2")
    assert (done.failed, done.stale) == (False, ())


@pytest.mark.parametrize(
    "conditions",
    [
        'cases = "encode/*"',
        'cases = "quantize/tie"\nclause = "ENC-1"',
        'cases = "quantize/tie"\nverdict = "crashed"',
        'cases = "no/such/case"',
    ],
)
def test_what_matches_no_failure_is_stale_and_fails_the_run(
    tmp_path: Path, conditions: str
) -> None:
    known = expectations(tmp_path, f'[[expect]]\n{conditions}\nreason = "was once so"')
    done = run(known)
    assert [r.id for r in done.failures] == ["quantize/tie"]
    (line,) = done.stale
    assert "known.toml" in line
    assert line.endswith("was once so")
    assert done.failed


@pytest.mark.parametrize(
    "versions", ['numpy = "<1"', 'no_such_package = ">=0"', 'numpy = ">=1", ml_dtypes = "==0.0.1"']
)
def test_an_entry_for_other_versions_says_nothing(tmp_path: Path, versions: str) -> None:
    text = f'[[expect]]\ncases = "quantize/tie"\nreason = "old"\nversions = {{{versions}}}'
    done = run(expectations(tmp_path, text))
    assert [r.verdict for r in done.failures] == ["wrong"]
    assert done.stale == ()


def test_an_entry_is_stale_only_if_every_case_it_could_match_was_run(tmp_path: Path) -> None:
    known = expectations(tmp_path, '[[expect]]\nclause = "ENC-1"\nreason = "fixed"')
    some = [case for case in VECTORS.cases if case.id in ("encode/tie", "encode/power-1")]
    assert run(known, some).stale == ()
    every = [case for case in VECTORS.cases if case.family == "encode"]
    assert len(run(known, every).stale) == 1


def test_in_a_set_of_ones_own_an_entry_about_other_vectors_is_not_stale(tmp_path: Path) -> None:
    known = expectations(tmp_path, '[[expect]]\ncases = "model/*"\nreason = "not here"')
    assert run(known, frozen=False).stale == ()
    assert len(run(known, frozen=True).stale) == 1


def test_the_first_of_two_entries_gives_the_reason_and_neither_is_stale(tmp_path: Path) -> None:
    text = "".join(f'[[expect]]\nclause = "Q-2"\nreason = "{r}"\n' for r in ("first", "second"))
    done = run(expectations(tmp_path, text))
    assert [r.detail.partition(":")[0] for r in done.results if r.verdict == "expected"] == [
        "first"
    ]
    assert done.stale == ()


def test_what_could_not_be_asked_makes_nothing_stale(tmp_path: Path) -> None:
    known = expectations(tmp_path, '[[expect]]\nclause = "ENC-1"\nreason = "x"')
    plan = Plan(isolate=False, expectations=known)
    done = Runner(VECTORS, VECTORS.cases, plan).run(reference("LacksPackage"))
    assert (done.stale, done.failed) == ((), False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[expect]]\nreason = "x"', "one of cases, flag and clause is needed"),
        ('[[expect]]\ncases = "a"', r"expect\.0\.reason: Field required"),
        ('[[expect]]\ncases = "a"\nreason = ""', "expect.0.reason: .*the reason is empty"),
        ('[[expect]]\ncases = "a"\nreason = " \\n"', "the reason is empty"),
        ('[[expect]]\ncases = "a"\nreason = "x"\ncase = "b"', "Extra inputs are not permitted"),
        ('[[expects]]\ncases = "a"\nreason = "x"', "expects: Extra inputs"),
        ('[[expect]]\ncases = "a"\nreason = "x"\nverdict = "exact"', "'wrong', 'crashed'"),
        ('[[expect]]\ncases = "a"\nreason = "x"\nversions = {n = "1.2"}', "a range is like"),
        ("[[expect", "is not TOML"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ExpectationsError, match=problem):
        expectations(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExpectationsError, match=r"cannot read .*none\.toml"):
        load_expectations(tmp_path / "none.toml")


def test_every_shipped_file_belongs_to_a_backend_and_can_be_read() -> None:
    folder = files("quant_conformance").joinpath("verdicts", "known")
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    assert {name.removesuffix(".toml") for name in names} <= BACKENDS.keys()
    for name in BACKENDS:
        builtin_expectations(name)


def test_a_vector_set_is_what_the_tests_think() -> None:
    assert isinstance(VECTORS, VectorSet)
    assert {c.id for c in VECTORS.cases if "TiesToEven" in c.flags} == {
        "encode/tie",
        "quantize/tie",
    }
