"""Conditions of a release: what counts as judged, and what no backend could meet."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.conformance.sets import encodes, make_set, one_of_each

from quant_conformance.errors import UsageError
from quant_conformance.runner.gates import FAIL_ON, conditions, held, unmet
from quant_conformance.verdicts.verdict import CaseResult, Verdict

CASES = make_set([*encodes(4), *one_of_each()]).cases
RESULTS = [CaseResult(c.id, c.family, (), (), Verdict.EXACT) for c in CASES]
ENCODES = sum(case.family == "encode" for case in CASES)


def as_if(change: dict[str, object], count: int, family: str = "encode") -> list[CaseResult]:
    """The results, with the first of a family changed."""
    first = [result.id for result in RESULTS if result.family == family][:count]
    return [replace(r, **change) if r.id in first else r for r in RESULTS]  # type: ignore[arg-type]


def lines(results: list[CaseResult], *require: str, least: int = 0, on: tuple[str, ...] = ()) -> (
    list[str]
):  # fmt: skip
    return unmet(results, conditions(CASES, require, least, on))


COUNTS = {
    Verdict.EXACT: True,
    Verdict.POLICY: True,
    Verdict.ADMISSIBLE: True,
    Verdict.UNLIKELY: True,
    Verdict.WRONG: True,
    Verdict.UNDECIDED: False,
    Verdict.UNSUPPORTED: False,
    Verdict.UNAVAILABLE: False,
    Verdict.CRASHED: False,
    Verdict.TIMED_OUT: False,
    Verdict.UNANSWERED: False,
}


@pytest.mark.parametrize("verdict", COUNTS)
def test_what_counts_as_judged_also_where_it_is_expected(verdict: Verdict) -> None:
    plain = replace(RESULTS[0], verdict=verdict)
    expected = replace(plain, verdict=Verdict.EXPECTED, was=verdict)
    assert (held(plain), held(expected)) == (COUNTS[verdict], COUNTS[verdict])
    assert not held(replace(plain, judged=False))


def test_every_verdict_is_decided() -> None:
    assert COUNTS.keys() == set(Verdict) - {Verdict.EXPECTED}
    assert set(FAIL_ON) == {"policy", "admissible", "unsupported", "unavailable", "expected"}


@pytest.mark.parametrize("verdict", [v for v, counts in COUNTS.items() if not counts])
def test_numbers_are_met_exactly(verdict: Verdict) -> None:
    assert ENCODES == 5
    for missing in range(ENCODES + 1):
        results = as_if({"verdict": verdict}, missing)
        left = ENCODES - missing
        assert bool(lines(results, "encode")) == (left < 1)
        for wanted in range(1, ENCODES + 1):
            assert bool(lines(results, f"encode={wanted}")) == (left < wanted)
        assert bool(lines(results, "encode=all")) == (missing > 0)
        total = len(CASES) - missing
        assert lines(results, least=total) == []
        if missing:
            assert lines(results, least=total + 1)
        assert lines(results, "quantize=all") == []


def test_the_line_says_what_is_missing() -> None:
    found = lines(as_if({"verdict": Verdict.CRASHED}, 2), "encode=all", "quantize")
    assert found == ["encode: 3 cases were judged, all 5 required"]


def test_cases_that_are_left_out_are_missing() -> None:
    few = [result for result in RESULTS if result.id != RESULTS[0].id]
    family = RESULTS[0].family
    assert lines(few, f"{family}=all")
    assert lines(few, on=("unsupported",)) == ["1 cases are unsupported: selects() leaves them out"]
    assert lines(RESULTS, on=("unsupported",)) == []


def test_answers_that_nothing_could_make_wrong_are_neither_judged_nor_missing() -> None:
    assert lines(as_if({"judged": False}, 2), "encode=all") == []
    assert lines(as_if({"judged": False}, 2), "encode=4")
    assert lines(as_if({"judged": False}, ENCODES), "encode=all")


@pytest.mark.parametrize("name", FAIL_ON)
def test_fail_on(name: str) -> None:
    results = as_if({"verdict": Verdict(name), "detail": "why"}, 2)
    (line,) = lines(results, on=(name,))
    assert line.startswith(f"2 cases are {name}, the first is encode/")
    assert line.endswith(": why")
    assert lines(results, on=tuple(set(FAIL_ON) - {name})) == []


@pytest.mark.parametrize(
    ("require", "least", "on", "problem"),
    [
        (["encoed"], 0, [], "unknown family that is run, .*did you mean encode"),
        (["encode=6"], 0, [], "encode=6: 5 cases of encode are run"),
        (["encode=0"], 0, [], "a number from 1, or 'all'"),
        (["encode=-1"], 0, [], "a number from 1"),
        (["encode="], 0, [], "a number from 1"),
        (["encode=٣"], 0, [], "a number from 1"),
        (["encode=99999999999999999999"], 0, [], "a number from 1"),
        (["encode", "encode=2"], 0, [], "names encode twice"),
        ([], 10_000, [], "--min-judged 10000: "),
        ([], 0, ["wrong"], "unknown verdict for --fail-on 'wrong'"),
    ],
)
def test_what_no_backend_could_meet_is_refused(
    require: list[str], least: int, on: list[str], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        conditions(CASES, require, least, on)
