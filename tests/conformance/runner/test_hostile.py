"""Hostile backends: whatever one does on a case is a verdict on that case, and the run goes on."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from tests.conformance.backends_for_tests import RaisesInConstructor, reference
from tests.conformance.sets import encodes, make_set, one_of_each

from quant_conformance.runner.giving_up import GIVE_UP_AFTER
from quant_conformance.runner.questions import Limits
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner

VECTORS = make_set(encodes(8))
QUICK = Limits(timeout=1.0, start_timeout=60.0)

ANYWHERE = [
    ("Raises", "crashed", "RuntimeError: no such kernel"),
    ("RaisesBase", "crashed", "GeneratorExit"),
    ("RaisesBadText", "crashed", "_UntellableError: (its text cannot be had)"),
    ("NotThisCase", "unsupported", "4 is not offered"),
    ("Exits", "crashed", "SystemExit: 0"),
    ("ReturnsNone", "wrong", "codes is None, not a numpy array"),
    ("ReturnsText", "wrong", "codes is of type str, not a numpy array"),
    ("ReturnsList", "wrong", "codes is of type list, not a numpy array"),
    ("ReturnsScalar", "wrong", "codes has shape (), expected (2,)"),
    ("ReturnsZeroDim", "wrong", "codes has shape (), expected (2,)"),
    ("ReturnsNanShape", "wrong", "codes has shape (0, 5), expected (2,)"),
    ("ReturnsObjects", "wrong", "codes is an array of Python objects"),
    ("ReturnsOtherDtype", "wrong", "codes has dtype int64, expected uint8"),
    ("ReturnsHuge", "wrong", "codes has shape (1099511627776,): 1099511627776 bytes"),
    ("ReturnsSubclass", "exact", ""),
    ("Mutates", "wrong", "mutated its input x"),
    ("Reshapes", "wrong", "mutated its input x"),
]

ONLY_ISOLATED = [
    ("RaisesInterrupt", "crashed", "KeyboardInterrupt"),
    ("OsExits", "crashed", "the process exited with code 7; it printed: last words"),
    ("Segfaults", "crashed", "the process died of SIGSEGV"),
    ("Hangs", "timed_out", "no answer within 1 s"),
    ("Prints", "exact", ""),
]


def run(name: str, *, isolate: bool | None = None, limits: Limits = QUICK) -> Run:
    return Runner(VECTORS, VECTORS.cases, Plan(limits, isolate)).run(reference(name))


def check(done: Run, verdict: str, detail: str) -> None:
    assert [r.verdict for r in done.results] == ["exact"] * 2 + [verdict] + ["exact"] * 5
    assert done.results[2].detail.startswith(detail)


@pytest.mark.parametrize(("name", "verdict", "detail"), ANYWHERE)
def test_in_this_process(name: str, verdict: str, detail: str) -> None:
    check(run(name, isolate=False), verdict, detail)


@pytest.mark.parametrize(("name", "verdict", "detail"), [*ANYWHERE, *ONLY_ISOLATED])
def test_in_a_process_of_its_own(name: str, verdict: str, detail: str) -> None:
    check(run(name), verdict, detail)


def test_what_others_wrote_is_isolated_unless_the_user_says_otherwise() -> None:
    # Were it not isolated, this would end the test run.
    check(run("OsExits", isolate=None), "crashed", "the process exited with code 7")


def test_ctrl_c_in_this_process_is_the_users() -> None:
    with pytest.raises(KeyboardInterrupt):
        run("RaisesInterrupt", isolate=False)


def test_printing_is_swallowed(capfd: pytest.CaptureFixture[str]) -> None:
    run("Prints")
    assert capfd.readouterr() == ("", "")


def test_error_modes_that_a_backend_sets_end_with_the_case() -> None:
    before = np.geterr()
    assert run("SetsErrorModes", isolate=False).summary == {"exact": 8}
    assert np.geterr() == before


def test_a_backend_that_says_it_is_slow_is_given_its_time() -> None:
    limits = Limits(timeout=0.3, start_timeout=60.0)
    assert run("Patient", isolate=True, limits=limits).summary == {"exact": 8}


def test_standard_input_is_empty() -> None:
    assert run("ReadsInput").summary == {"exact": 8}


def test_a_backend_that_always_hangs_is_given_up_per_operation() -> None:
    times = GIVE_UP_AFTER["timed_out"]
    vectors = make_set([*encodes(times + 3), *one_of_each()[1:2]])
    plan = Plan(Limits(timeout=0.2, start_timeout=60.0))
    done = Runner(vectors, vectors.cases, plan).run(reference("HangsAlways"))
    assert done.summary == {"timed_out": times + 3, "wrong": 1}
    assert [r.detail for r in done.results[times - 1 : times + 1]] == [
        "no answer within 0.2 s",
        f"not run: encode timed out {times} times in a row",
    ]
    assert done.results[-1].id == "decode/max"


@pytest.mark.parametrize(
    ("name", "seconds", "text"),
    [
        ("DiesInConstructor", 60, "did not start: the process exited with code 9"),
        ("RaisesInConstructor", 60, "cannot be opened: SystemExit: no device"),
        ("HangsInConstructor", 1.5, "did not start within 1.5 s"),
    ],
)
def test_a_backend_that_cannot_be_opened_crashes_on_every_case(
    name: str, seconds: float, text: str
) -> None:
    done = run(name, limits=Limits(timeout=1.0, start_timeout=seconds))
    assert done.summary == {"crashed": 8}
    (detail,) = {r.detail for r in done.results}
    assert detail.startswith(text)
    if name == "RaisesInConstructor":  # the line of the user's file that it comes from
        line = inspect.getsourcelines(RaisesInConstructor)[1] + 4
        assert detail == f"{text} (backends_for_tests.py:{line} in __init__)"
    else:
        assert detail == text
    assert done.failed


@pytest.mark.parametrize("isolate", [False, True])
def test_a_prepare_that_fails_changes_nothing(isolate: bool) -> None:
    assert run("Prepares", isolate=isolate).summary == {"exact": 8}


@pytest.mark.parametrize(
    ("name", "seconds", "summary", "text"),
    [
        ("HangsInPrepare", 5, {"timed_out": 8}, "prepare() did not return within 5 s"),
        ("DiesInPrepare", 60, {"crashed": 8}, "in prepare(): the process exited with code 4"),
    ],
)
def test_a_prepare_that_never_comes_back_is_a_verdict_on_every_case(
    name: str, seconds: float, summary: dict[str, int], text: str
) -> None:
    done = run(name, limits=Limits(timeout=1.0, start_timeout=seconds))
    assert done.summary == summary
    assert {r.detail for r in done.results} == {text}
