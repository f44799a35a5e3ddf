"""The runner: right answers, verdicts, tiers, several backends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.conformance.backends_for_tests import reference
from tests.conformance.sets import Draft, encodes, f32, make_set, one_of_each

from quant_conformance import CaseResult, Verdict
from quant_conformance.errors import UsageError
from quant_conformance.operations import OPERATIONS
from quant_conformance.registry import BACKENDS, LONGEST
from quant_conformance.report.explain import explain
from quant_conformance.report.results import run_document
from quant_conformance.runner import isolated
from quant_conformance.runner.isolated import ONE_THREAD
from quant_conformance.runner.loading import load_class
from quant_conformance.runner.questions import Limits
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner, ask_one
from quant_conformance.runner.schedule import shortest_first
from quant_conformance.runner.selection import Selection, select_cases
from quant_vectors import OPERATION_OUTPUTS, VectorSet


def run(vectors: VectorSet, name: str, plan: Plan | None = None) -> Run:
    return Runner(vectors, vectors.cases, plan).run(name)


def test_every_operation_of_the_vectors_can_be_asked() -> None:
    assert OPERATIONS.keys() == OPERATION_OUTPUTS.keys()
    # Models are asked for in test_placement.py, test_exported_family.py and gate/test_family.py,
    # layers in test_record.py, those on integers in report/test_rules.py,
    # blocks in tests/vectors/test_block_set.py.
    asked = {draft.operation for draft in one_of_each()}
    elsewhere = {
        "placement", "export_weights", "layer", "float_layer", "model_output", "model",
        "fold_batch_norm", "lifecycle", "requantize", "integer_layer",
        "block_scale", "block_quantize", "block_dequantize", "block_dot", "scale_layout",
    }  # fmt: skip
    assert asked | elsewhere == OPERATIONS.keys()


@pytest.mark.parametrize("isolate", [False, True])
def test_a_right_backend_is_all_exact(isolate: bool) -> None:
    done = run(make_set(one_of_each()), "numpy-reference", Plan(isolate=isolate))
    assert {r.id: (r.verdict, r.detail) for r in done.results if r.verdict != "exact"} == {
        "quantize/nan": ("policy", "")
    }
    assert done.policies == {"nan_payload": {"canonical": 1}}
    assert done.versions["numpy"] == np.__version__
    assert not done.failed


def test_one_wrong_bit_is_caught_named_and_explained() -> None:
    vectors = make_set(
        one_of_each(), {"TiesToEven": {"bug": "ties away", "effect": "", "link": ""}}
    )
    done = run(vectors, reference("OneBit"))
    (wrong,) = done.failures
    assert done.failed
    assert (wrong.id, wrong.verdict, wrong.clauses) == ("quantize/tie", "wrong", ("Q-2",))
    assert wrong.detail == (
        "codes[1]: expected 2 (bits 0x02), got 3 (bits 0x03), "
        "for x = 0.75 (0x1.8p-1, bits 0x3f400000); 1 of 3 elements differ"
    )
    case = vectors.case("quantize/tie")
    outcome, result = ask_one(vectors, case, reference("OneBit"), Plan())
    story = explain(vectors, case, outcome, result)
    assert "flag       TiesToEven: ties away" in story
    assert "    expected   2 (bits 0x02)\n    actual     3 (bits 0x03)" in story
    assert "Q-2 Round to nearest, ties to even" in story
    assert "1 of 3 elements differ" in story


def test_a_policy_that_is_followed_is_named() -> None:
    nan_code = [d for d in one_of_each() if d.id == "quantize/nan"]
    # Any NaN code will do: the alternative states 0xFF, the backend gives it negated.
    nan_code[0].expected = {"codes": np.array([0x00], np.uint8)}
    done = run(make_set(nan_code), "numpy-reference")
    assert [(r.verdict, r.policy, r.choice) for r in done.results] == [
        ("policy", "nan_payload", "any_nan")
    ]
    nan_code[0].alternatives = {"zero": {"codes": np.array([0x01], np.uint8)}}
    done = run(make_set(nan_code), "numpy-reference")
    assert [r.verdict for r in done.results] == ["wrong"]


@pytest.mark.parametrize(
    ("result", "backend_raises", "verdict"),
    [("refused", True, "exact"), ("refused", False, "wrong"), ("accepted", False, "exact")],
)
def test_refusals(result: str, backend_raises: bool, verdict: str) -> None:
    mapping = {"dtype": "int3" if backend_raises else "int4"}
    draft = Draft(
        "invalid_spec/x",
        "validate_spec",
        more={"arguments": {"mapping": mapping}, "result": result},
    )
    (found,) = run(make_set([draft]), "numpy-reference").results
    assert found.verdict == verdict


def test_an_operation_with_tensors_may_have_to_be_refused_too() -> None:
    arguments = {"format": "float8_e8m0fnu"}
    draft = Draft(
        "encode/three", "encode", {"x": f32(3)}, more={"arguments": arguments, "result": "refused"}
    )
    vectors = make_set([draft])
    assert run(vectors, "numpy-reference").summary == {"exact": 1}
    (found,) = run(vectors, reference("Powers")).results
    assert (found.verdict, found.detail) == ("wrong", "accepted what must be refused")
    # NameErrors and the like are blunders, not refusals.
    (found,) = run(vectors, reference("Blunders")).results
    assert found.verdict == "crashed"


def test_what_a_backend_lacks_is_unsupported_with_its_reason() -> None:
    vectors = make_set([*encodes(4), *one_of_each()[1:2]])
    done = run(vectors, reference("Picky"))
    assert {r.id: r.detail for r in done.results if r.verdict == Verdict.UNSUPPORTED} == {
        "encode/power-1": "no power of one",
        "decode/max": "the backend has no decode()",
    }
    assert done.declared == {"nan_payload": "any_nan"}
    assert not done.failed


def test_a_backend_may_leave_cases_out_of_the_quick_tier() -> None:
    vectors = make_set(encodes(3))
    told: list[CaseResult | None] = []
    runner = Runner(
        vectors, vectors.cases, Plan(Limits(tier="quick")), lambda _, result: told.append(result)
    )
    assert [r.id for r in runner.run(reference("Picky")).results] == [
        "encode/power-1",
        "encode/power-2",
    ]
    assert [result is None for result in told] == [True, False, False]


def test_a_case_may_belong_to_the_full_tier_only() -> None:
    drafts = encodes(2)
    drafts[1].more = {**drafts[1].more, "arguments": {"format": "x", "tier": "full"}}
    vectors = make_set(drafts)
    assert len(select_cases(vectors, Selection("quick"))) == 1
    assert len(select_cases(vectors, Selection("full"))) == 2


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(), 14),
        (Selection(families=["pack", "range"]), 3),
        (Selection(flags=["TiesToEven"]), 2),
        (Selection(clauses=["Q-2", "Q-6"]), 2),
        (Selection(patterns=["pack/*", "encode/tie"]), 3),
        (Selection(families=["quantize"], flags=["TiesToEven"]), 1),
    ],
)
def test_selection(selection: Selection, count: int) -> None:
    assert len(select_cases(make_set(one_of_each()), selection)) == count


@pytest.mark.parametrize(
    ("selection", "text"),
    [
        (Selection(families=["quantise"]), "unknown family 'quantise'; did you mean quantize"),
        (Selection(flags=["Ties"]), "did you mean TiesToEven"),
        (Selection(clauses=["Q-99"]), "unknown clause 'Q-99'"),
        (Selection(patterns=["quantize/tye"]), "did you mean quantize/tie"),
        (Selection("slow"), "allowed: full, quick"),
        (Selection(families=["pack"], flags=["TiesToEven"]), "no case has all"),
    ],
)
def test_a_selection_of_nothing_says_what_there_is(selection: Selection, text: str) -> None:
    with pytest.raises(UsageError, match=text.replace("?", r"\?")):
        select_cases(make_set(one_of_each()), selection)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("numpy-refrence", "did you mean numpy-reference"),
        ("no_such_module_here:Class", "there is no module 'no_such_module_here'"),
        ("json.no_such:Class", "there is no module 'json.no_such'"),
        ("no/such/file.py:Class", "there is no file no/such/file.py"),
        (f"{Path(__file__)}:", "neither module:Class nor"),
        (reference("Missing"), "unknown class in"),
        (reference("a_value"), "unknown class in"),
        (reference("NotABackend"), "not a subclass of quant_conformance.Backend"),
    ],
)
@pytest.mark.parametrize("isolate", [False, True])
def test_a_backend_that_does_not_exist_is_a_usage_error(
    name: str, text: str, isolate: bool
) -> None:
    with pytest.raises(UsageError, match=text):
        run(make_set(encodes(1)), name, Plan(isolate=isolate))


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LacksPackage", "install with: pip install no-such-package-anywhere"),
        (
            "LacksPackageLate",
            "no_such_package_anywhere not installed; install with: pip install the-",
        ),
    ],
)
def test_a_missing_package_is_unavailable_with_its_pip_line(
    name: str, text: str, isolate: bool
) -> None:
    done = run(make_set(encodes(3)), reference(name), Plan(isolate=isolate))
    assert done.summary == {"unavailable": 3}
    assert done.problem == "unavailable"
    assert all(text in r.detail for r in done.results)
    assert not done.failed


def test_backends_run_beside_each_other_and_come_back_in_order() -> None:
    vectors = make_set([*encodes(8), *one_of_each()])
    names = [reference("Powers"), "numpy-reference", reference("Raises"), "ml-dtypes"]
    told: dict[str, int] = dict.fromkeys(names, 0)

    def listen(name: str, result: CaseResult | None) -> None:
        told[name] += 1

    runs = Runner(vectors, vectors.cases, Plan(jobs=2), listen).run_all(names)
    assert [r.backend for r in runs] == ["powers", "numpy-reference", "hostile", "ml-dtypes"]
    assert told == dict.fromkeys(names, 22)
    # encode/tie holds no powers of two.
    assert [[r.id for r in done.failures] for done in runs] == [
        ["encode/tie"],
        [],
        ["encode/power-2", "encode/tie"],
        [],
    ]
    serial = Runner(vectors, vectors.cases).run_all(names)
    assert list(map(run_document, serial)) == list(map(run_document, runs))


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_run_is_told_when_it_ends(jobs: int) -> None:
    vectors = make_set(encodes(4))
    names = ["numpy-reference", "ml-dtypes", "gfloat"]
    told: dict[str, int] = dict.fromkeys(names, 0)
    ended: list[str] = []

    def listen(name: str, result: CaseResult | None) -> None:
        told[name] += 1

    def end(run: Run) -> None:
        ended.append(run.reference)
        assert told[run.reference] == 4
        if jobs == 1:
            assert sum(told.values()) == 4 * len(ended)  # the next has not begun

    runs = Runner(vectors, vectors.cases, Plan(jobs=jobs), listen).run_all(names, end)
    assert sorted(ended) == sorted(names)
    assert [run.reference for run in runs] == names


@pytest.mark.parametrize(("name", "variables"), [("torch", ONE_THREAD), ("Powers", None)])
def test_only_our_own_backends_get_one_thread(
    name: str, variables: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Started(Exception):  # noqa: N818 (no error)
        pass

    given = []

    def start(*arguments: object) -> None:
        given.append(arguments[3])
        raise Started

    monkeypatch.setattr(isolated, "Child", start)
    with pytest.raises(Started):
        isolated.Isolated(name if name in BACKENDS else reference(name), [], Limits())
    assert given == [variables]


def test_what_takes_longest_goes_last_in_the_order() -> None:
    assert [LONGEST[0], LONGEST[-1]] == ["coreai-torch", "quant-torch-eager"]
    names = [LONGEST[0], "numpy-reference", LONGEST[1], "my.py:Backend"]
    assert shortest_first(names) == [1, 3, 2, 0]
    assert set(LONGEST) <= set(BACKENDS)


def test_backends_of_one_name_are_told_apart() -> None:
    vectors = make_set(encodes(1))
    names = [reference("Raises"), reference("Hangs")]
    runs = Runner(vectors, vectors.cases).run_all(names)
    assert [r.backend for r in runs] == [f"hostile ({name})" for name in names]


def test_an_error_in_one_of_several_stops_the_others() -> None:
    vectors = make_set(encodes(1))
    names = [reference("HangsAlways"), reference("NotABackend")]
    told: list[str] = []
    plan = Plan(Limits(timeout=60), jobs=2)
    with pytest.raises(UsageError, match="not a subclass"):
        Runner(vectors, vectors.cases, plan, lambda name, _: told.append(name)).run_all(names)
    assert told == []  # the one that hangs was not waited for


def test_an_invalid_case_blames_the_vectors() -> None:
    draft = Draft("quantize/bad", "quantize", {"x": f32(1), "scale": f32(1)})
    draft.more = {"spec": {"dtype": "int3"}}
    with pytest.raises(UsageError, match=r"case quantize/bad of the vectors is invalid: .*int3"):
        run(make_set([draft]), "numpy-reference")


def test_an_operation_that_the_suite_does_not_know_is_unsupported() -> None:
    done = run(make_set([Draft("new/x", "transmogrify", {"x": f32(1)})]), "numpy-reference")
    assert [(r.verdict, r.detail) for r in done.results] == [
        ("unsupported", "this suite has no operation 'transmogrify'")
    ]


@pytest.mark.parametrize("name", BACKENDS)
def test_every_line_of_the_registry_names_a_backend(name: str) -> None:
    assert load_class(name).name == name
