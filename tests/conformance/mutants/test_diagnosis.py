"""Diagnosis: which known bug gives the same wrong answers."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.backends_for_tests import reference
from tests.conformance.sets import INT8, ONE, ZERO_POINT, Draft, f32, make_set, one_of_each

from quant_conformance.mutants import MUTANTS, Mutated, wrong
from quant_conformance.mutants.diagnosis import Explanation, diagnose, sentence
from quant_conformance.mutants.exchanged import patched
from quant_conformance.mutants.hunt import ask, prepare
from quant_conformance.report.evidence import evidence_of
from quant_conformance.report.explain import explain
from quant_conformance.report.results import read_results, results_text
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner, ask_one
from quant_conformance.verdicts.answers import Answer, answers_of
from quant_conformance.verdicts.judge import judge
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.verdicts.verdict import Verdict
from quant_vectors import VectorSet, load


@functools.cache
def frozen() -> VectorSet:
    return load()


def answers(backend: Mutated, vectors: VectorSet, *families: str) -> list[Answer]:
    """What a backend gets wrong, and what it gets right."""
    found: list[Answer] = []
    for case in vectors.cases:
        if case.family in families:
            inputs = vectors.inputs(case)
            outcome = ask(backend, prepare(case, vectors.inputs(case)))
            if judge(vectors, case, outcome).verdict in (Verdict.WRONG, Verdict.EXACT):
                found += answers_of(vectors, case, inputs, outcome)
    return found


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("ties-away", "quantize"),
        ("ties-up", "encode"),
        ("truncation", "fake_quantize"),
        ("floor", "gradient"),
        ("multiply-by-reciprocal", "quantize"),
        ("quotient-through-float16", "quantize"),
        ("quotient-through-bfloat16", "fake_quantize"),
        ("float64-quotient", "quantize"),
        ("minval-added-fused", "dequantize"),
        ("code-subnormals-flushed", "encode"),
        ("subnormal-scale-flushed", "quantize"),
        ("int32-cast-before-clamp", "quantize"),
        ("overflow-wraps", "encode"),
        ("negative-zero-lost", "encode"),
        ("zero-point-before-rounding", "quantize"),
        ("zero-point-one-more", "qparams"),
        ("least-scale-added", "qparams"),
        ("scale-by-127", "qparams"),
        ("e8m0-ceil", "qparams"),
        ("e8m0-round", "qparams"),
        ("axis-swapped", "range"),
        ("blocks-interleaved", "qparams"),
        ("nibbles-swapped", "pack"),
        ("first-scale-of-a-byte", "dequantize"),
        ("first-scale-of-a-byte-by-rows", "quantize"),
        ("last-scale-of-a-byte", "fake_quantize"),
        ("groups-of-whole-bytes", "dequantize"),
        ("nibble-of-the-group", "dequantize"),
        ("channel-from-flat-position", "quantize"),
        ("channel-from-leading-rows", "dequantize"),
        ("magnitude-below-zero", "quantize"),
        ("magnitude-of-unsigned-quotient", "fake_quantize"),
        ("first-batch-averaged", "observe"),
        ("zero-averaged-evenly", "observe"),
        ("sign-not-extended", "pack"),
        ("weights-swapped", "observe"),
        ("default-axis-zero", "default_axis"),
        ("float-range-bool-accepted", "invalid_spec"),
    ],
)
def test_a_known_bug_is_recognised_by_its_answers(name: str, family: str) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.id == name)
    found = diagnose(answers(mutant.backend(), frozen(), family))
    by_operation: dict[str, Explanation] = {}
    for explanation in found:
        by_operation.setdefault(explanation.operation, explanation)
    assert by_operation
    for first in by_operation.values():
        assert first.hypothesis == name
        assert (first.matched, first.cases) == (first.total, first.of_cases)
        assert first.contradicted == 0
    assert len(found) == len(by_operation)  # and nothing is left to explain


def test_two_bugs_are_told_apart() -> None:
    two = patched(
        round_code=lambda p, v: wrong.ties_away(v),
        encode_element=next(m for m in MUTANTS if m.id == "negative-zero-lost").steps[
            "encode_element"
        ],
    )
    found = diagnose(answers(two, frozen(), "quantize"))
    assert {e.hypothesis for e in found} == {"ties-away", "negative-zero-lost"}
    assert sum(e.further for e in found) == found[0].total
    assert all(e.further == e.matched < e.total for e in found)


def quantized(got: list[int], want: list[int], name: str = "made") -> Answer:
    """A quantize case of 0.5, 1.5, 2.5, 3.25, scale 1."""
    draft = Draft(
        f"quantize/{name}",
        "quantize",
        {"x": f32(0.5, 1.5, 2.5, 3.25), "scale": ONE, "zero_point": ZERO_POINT},
        {"codes": np.array(want, np.int8)},
        more={"spec": INT8},
    )
    vectors = make_set([draft])
    (case,) = vectors.cases
    outcome = Outcome("answer", {"codes": np.array(got, np.int8)})
    (found,) = answers_of(vectors, case, vectors.inputs(case), outcome)
    return found


RIGHT = [0, 2, 2, 3]


def test_shares_are_counted_in_elements_and_in_cases() -> None:
    # Ties away, once wholly and once with one further wrong code that no bug gives.
    found = diagnose([quantized([1, 2, 3, 3], RIGHT), quantized([1, 2, 3, 99], RIGHT, "other")])
    first, rest = found
    assert first.hypothesis == "ties-away"
    assert (first.matched, first.total, first.further, first.contradicted) == (4, 5, 4, 0)
    assert (first.cases, first.of_cases) == (1, 2)
    assert sentence(first) == (
        "quantize: matches ties-away (rounds ties away from zero) on 80 % of its 5 mismatches; "
        "1 of 2 wrong cases wholly"
    )
    assert (rest.hypothesis, rest.matched, rest.total, rest.cases) == ("", 1, 5, 1)
    assert sentence(rest) == "quantize: no known bug gives 20 % of its 5 mismatches"


def test_what_no_bug_gives_is_said_so() -> None:
    (only,) = diagnose([quantized([0, 2, 2, 77], RIGHT)])
    assert sentence(only) == "quantize: no known bug gives 100 % of its 1 mismatch"


def test_a_bug_that_right_elements_deny_is_no_explanation() -> None:
    # A code of 1 for 0.5 is a tie away from zero, but then 2.5 would be 3 and not 2.
    (first, *_) = diagnose([quantized([1, 2, 2, 3], RIGHT)])
    assert first.hypothesis == "only-half-ties-away"
    assert first.contradicted == 0


def test_a_share_below_all_is_never_rounded_to_all() -> None:
    part = Explanation("encode", "x", "does x", 99_999, 100_000, 1, 3, 1, 2)
    assert sentence(part) == (
        "encode: matches x (does x) on 99.9 % of its 100000 mismatches, 1 of them not explained "
        "before; 1 of 2 wrong cases wholly; but 3 right elements speak against it"
    )
    whole = dataclasses.replace(part, matched=100_000)
    assert "on 100 % of" in sentence(whole)


def test_nothing_wrong_needs_no_explanation() -> None:
    assert diagnose([]) == []
    assert diagnose([quantized(RIGHT, RIGHT)]) == []


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"codes": np.array(["a", "b"])},
        {"codes": np.zeros((4, 1), np.int8)},
        {"codes": np.zeros(4, np.float64)},
        {"codes": np.zeros(0, np.int8)},
        {"codes": np.int8(3).reshape(())},
        {"codes": None},
    ],
    ids=["nothing", "text", "rank", "dtype", "empty", "scalar", "none"],
)
def test_answers_of_any_kind_are_taken(answer: dict[str, Any]) -> None:
    right = quantized([1, 2, 3, 3], RIGHT)
    odd = Answer(right.case, right.inputs, right.expected, answer)
    assert "ties-away" in {e.hypothesis for e in diagnose([right, odd])}


def test_answers_too_big_are_not_kept() -> None:
    found = quantized([1, 2, 3, 3], RIGHT)
    vectors = make_set(one_of_each())
    case = vectors.case("quantize/tie")
    big = Outcome("answer", {"codes": np.zeros(5000, np.int8)})
    assert answers_of(vectors, case, found.inputs, big) == []
    assert answers_of(vectors, case, found.inputs, Outcome("raised")) == []


def run(name: str) -> tuple[VectorSet, Run]:
    vectors = make_set(one_of_each())
    return vectors, Runner(vectors, vectors.cases, Plan(isolate=False)).run(reference(name))


def test_a_run_carries_its_diagnosis_into_the_results_file(tmp_path: Path) -> None:
    _, done = run("OneBit")
    (explanation,) = evidence_of(done).diagnosis
    # The second of three codes is 3 for 1.5 and not 2: what rounding to odd would give is
    # denied by the code 0 for 0.5.
    assert (explanation.operation, explanation.total) == ("quantize", 1)
    path = tmp_path / "results.json"
    path.write_text(results_text([done]), encoding="utf-8")
    (document,) = read_results(path).values()
    assert document["diagnosis"] == [dataclasses.asdict(explanation)]
    assert json.loads(path.read_text())["diagnosis"][0]["total"] == 1


def test_explain_says_which_bug_it_looks_like() -> None:
    vectors = make_set(one_of_each())
    case = vectors.case("quantize/tie")
    plan = Plan(isolate=False)
    outcome, result = ask_one(vectors, case, reference("TiesAway"), plan)
    assert "diagnosis  quantize: matches ties-away" in explain(vectors, case, outcome, result)
    outcome, result = ask_one(vectors, case, "numpy-reference", plan)
    assert "diagnosis" not in explain(vectors, case, outcome, result)


@pytest.mark.parametrize("operation", ["encode", "decode"])
def test_wrong_answers_in_every_format_are_diagnosed(operation: str) -> None:
    """Formats that ml_dtypes does not have are diagnosed by fewer properties, and do not crash."""
    vectors = load("block_v1")
    seen: dict[str, list[Answer]] = {}
    for case in vectors.cases:
        if case.operation == operation and case.rule == "exact" and vectors.expected(case):
            (name, right), *_ = vectors.expected(case).items()
            bits = right.copy().view(f"u{right.itemsize}") ^ 1
            given = Outcome("answer", {name: bits.view(right.dtype)})
            seen.setdefault(str(case.arguments["format"]), []).extend(
                answers_of(vectors, case, vectors.inputs(case), given)
            )
    assert {"mxint8", "nf4", "float8_ue4m3", "float6_e2m3fn"} <= seen.keys()
    for found in seen.values():
        diagnose(found)
