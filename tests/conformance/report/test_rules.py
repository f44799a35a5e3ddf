"""Which requantization rule a backend follows: told, counted, warned about, and never guessed."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import numpy as np
import pytest

from quant_conformance import Backend
from quant_conformance.report.followed_rules import followed, mixed, parting, rule_lines
from quant_conformance.report.results import results_schema, run_document
from quant_conformance.rule_questions.names import expanded, shortened
from quant_conformance.runner.invoke import invoke
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.judge import judge
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.verdicts.verdict import CaseResult, Verdict
from quant_reference.integer import (
    RULES,
    IntegerLayer,
    Requantization,
    integer_layer,
    requantize,
    rule_names,
)
from quant_vectors import load

VECTORS = load("integer_v1")
CASES = [case for case in VECTORS if case.result is None]


class Follower(Backend):
    """The reference under one rule for requantize, and one for each operator."""

    name = "follower"

    def __init__(self, rule: str = "double", **by_operator: str) -> None:
        self.rule, self.by_operator = rule, by_operator

    def requantize(self, acc: Any, params: Requantization) -> Any:
        if acc.dtype == np.int64:
            raise NotImplementedError("int32 accumulators only")
        return requantize(acc, params, self.rule)

    def integer_layer(self, layer: IntegerLayer) -> Any:
        if any(operand.dtype == "int16" for operand in layer.operands):
            raise NotImplementedError("8 bits only")
        return integer_layer(layer, self.by_operator.get(layer.op, self.rule))


def results(backend: Backend) -> list[CaseResult]:
    found = []
    for case in CASES:
        outcome = invoke(backend, case, VECTORS.inputs(case), "full")
        found.append(judge(VECTORS, case, outcome))
    return found


def run_of(backend: Backend) -> Run:
    told = {"version": VECTORS.version, "digest": VECTORS.digest}
    return Run(
        backend.name, "x:Y", {}, told, tuple(results(backend)), declared=dict(backend.policies)
    )


@pytest.mark.parametrize("rule", ["float32_division", "float32_even", "fixed_up", "double"])
def test_an_engine_of_one_rule_is_named_everywhere(rule: str) -> None:
    found = results(Follower(rule))
    verdicts = {result.verdict for result in found}
    assert verdicts <= {Verdict.EXACT, Verdict.POLICY, Verdict.UNSUPPORTED}
    told = followed(found)
    assert {one.operator for one in told} >= {"requantize", "conv2d", "mean", "cat", "add"}
    assert all(one.whole and rule in one.rules for one in told)
    assert mixed(told) is None
    assert next(one for one in told if one.operator == "requantize").rules[0] == rule


def test_an_engine_that_mixes_rules_is_warned_about() -> None:
    run = run_of(Follower("double", mean="float32_division", conv2d="fixed_up"))
    assert not run.failed
    lines = rule_lines(run)
    assert any(line.startswith("requantize: double, 100 % of ") for line in lines)
    warning = lines[-1]
    assert warning.startswith("mixed rules: no rule explains every operator")
    assert "conv2d" in warning
    assert "mean" in warning


def test_two_rules_part_at_a_smallest_accumulator() -> None:
    found = parting(VECTORS, "fixed_up", "double")
    assert found is not None
    acc, case_id = found
    params_case = VECTORS.case(case_id)
    assert acc in VECTORS.inputs(params_case)["acc"]
    assert parting(VECTORS, "double", "double") is None


class Narrow(Follower):
    """Loses what an accumulator has beyond 20 bits."""

    def requantize(self, acc: Any, params: Requantization) -> Any:
        codes = super().requantize(acc, params)
        return np.where(np.abs(acc.astype(np.int64)) < 2**20, codes, params.least).astype(
            codes.dtype
        )


def test_what_no_rule_gives_is_wrong_with_the_smallest_accumulator_that_leaves_the_best() -> None:
    run = run_of(Narrow("double"))
    assert run.failed
    wrong = [result for result in run.results if result.verdict is Verdict.WRONG]
    assert wrong
    assert all(result.detail.startswith("no rule gives this: ") for result in wrong)
    (told,) = [one for one in followed(run.results) if one.operator == "requantize"]
    assert {"double", "double_saturating"} & set(told.rules)
    assert not told.whole
    assert told.leaves is not None
    assert abs(told.leaves) >= 2**20
    (line,) = [line for line in rule_lines(run) if line.startswith("requantize")]
    assert f"left first at the accumulator {told.leaves}" in line
    assert "100 %" not in line


def test_a_mixture_within_one_answer_is_wrong() -> None:
    """Every element follows some rule, and no rule gives the whole."""
    case = VECTORS.case("requantize/ties/shift-8/zero-3")
    answers = {
        str(case.choice): VECTORS.expected(case),
        **VECTORS.alternatives(case),
    }
    first, second = list(answers.values())[:2]
    differs = np.flatnonzero(first["codes"] != second["codes"])
    assert differs.size > 1
    codes = first["codes"].copy()
    codes[differs[0]] = second["codes"][differs[0]]
    result = judge(VECTORS, case, Outcome("answer", {"codes": codes}))
    assert result.verdict is Verdict.WRONG
    assert result.rules is not None


@pytest.mark.parametrize(
    "codes", [np.zeros(3, np.int8), np.zeros(63, np.uint8), np.zeros((63, 1), np.int8)]
)
def test_an_answer_of_another_shape_or_dtype_is_wrong(codes: Any) -> None:
    case = VECTORS.case("requantize/ties/shift-8/zero-3")
    result = judge(VECTORS, case, Outcome("answer", {"codes": codes}))
    assert result.verdict is Verdict.WRONG
    assert "codes has" in result.detail


def test_what_must_be_refused_and_is_not_is_wrong() -> None:
    case = VECTORS.case("requantize/refused/zero-scale")
    outcome = Outcome("answer", {"codes": np.zeros((2, 3), np.int8)})
    assert judge(VECTORS, case, outcome).verdict is Verdict.WRONG


def test_a_declared_rule_is_held_beside_the_one_that_is_followed() -> None:
    class Declaring(Follower):
        policies = {"requantization": "fixed_up"}  # noqa: RUF012

    lines = rule_lines(run_of(Declaring("double")))
    (line,) = [line for line in lines if line.startswith("requantize")]
    assert line.endswith("; it documents fixed_up")


def test_results_files_have_the_rules() -> None:
    document = json.loads(json.dumps(run_document(run_of(Follower("double")))))
    jsonschema.Draft202012Validator(results_schema()).validate(document)
    by_operator = {one["operator"]: one for one in document["rules"]}
    told = by_operator["requantize"]
    assert "double" in told["rules"] or "double@*" in told["rules"]
    assert told["matched"] == told["elements"] > 20_000


def test_lines_of_rules_are_read_as_they_are_written() -> None:
    everything = [name for rule in RULES.values() for name in rule_names(rule)]
    assert expanded(shortened(everything)) == tuple(everything)
    assert shortened(["double", "fixed_up@float64_to_float32"]) == (
        "fixed_up@float64_to_float32 double"
    )
    assert expanded("average_half_away double@*") == (
        "average_half_away",
        *rule_names(RULES["double"]),
    )
