"""Turns the outcome of a case into its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from quant_conformance.operations import OPERATIONS
from quant_conformance.placement import difference_of
from quant_conformance.protocol import Array
from quant_conformance.verdicts.admissible import judge_admissible, judge_information
from quant_conformance.verdicts.exact import compare, rules_for
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.verdicts.rules import follows_rules, judge_rules
from quant_conformance.verdicts.verdict import CaseResult, Verdict

if TYPE_CHECKING:
    from quant_vectors import Case, VectorSet

_WITHOUT_ANSWER = {
    "malformed": Verdict.WRONG,
    "unsupported": Verdict.UNSUPPORTED,
    "raised": Verdict.CRASHED,
    "died": Verdict.CRASHED,
    "timed_out": Verdict.TIMED_OUT,
    "unanswered": Verdict.UNANSWERED,
}


def judge(vectors: VectorSet, case: Case, outcome: Outcome) -> CaseResult:
    """Judges one outcome; "left_out" has no verdict and must not come here."""
    if outcome.mutated:
        names = ", ".join(outcome.mutated)
        return result_of(case, Verdict.WRONG, f"mutated its input {names}")
    if case.result == "refused" and outcome.kind == "raised" and outcome.refused:
        return result_of(case, Verdict.EXACT)
    if outcome.kind != "answer":
        return result_of(case, _WITHOUT_ANSWER[outcome.kind], outcome.text)
    if case.result is not None:
        return _judge_result(case, outcome)
    return _judge_tensors(vectors, case, outcome.outputs)


def result_of(case: Case, verdict: Verdict, detail: str = "") -> CaseResult:
    """Builds the result of a case."""
    return CaseResult(
        case.id, case.family, tuple(case.clauses), tuple(case.flags), verdict, detail, case.policy
    )


def _judge_result(case: Case, outcome: Outcome) -> CaseResult:
    if case.result == "refused":
        return result_of(case, Verdict.WRONG, "accepted what must be refused")
    given = outcome.outputs.get("result")
    judge_file = OPERATIONS[case.operation].judge
    if judge_file is not None:
        module, function = judge_file.split(":")
        return result_of(case, *getattr(import_module(module), function)(case, outcome.outputs))
    if type(given) is type(case.result) and given == case.result:
        return result_of(case, Verdict.EXACT)
    if isinstance(case.result, tuple) and isinstance(given, tuple):
        return result_of(case, Verdict.WRONG, difference_of(case.result, given))
    return result_of(case, Verdict.WRONG, f"expected {case.result}, got {given}")


def _judge_tensors(vectors: VectorSet, case: Case, outputs: Mapping[str, Array]) -> CaseResult:
    if follows_rules(case):
        return judge_rules(vectors, case, outputs, result_of(case, Verdict.WRONG))
    if case.rule == "admissible":
        return result_of(case, *judge_admissible(case, vectors.expected(case), outputs))
    if case.rule == "information":
        verdict, said = judge_information(vectors.expected(case), outputs)
        choice = "as_recorded" if verdict is Verdict.EXACT else "differs"
        told = None if verdict is Verdict.WRONG else choice
        held = verdict is Verdict.WRONG
        result = result_of(case, verdict, said)
        return replace(result, policy=case.operation, choice=told, judged=held)
    rules = rules_for(case.operation, case.arguments, case.spec or {})
    difference = compare(vectors.expected(case), outputs, rules, vectors.inputs(case))
    if difference is None:
        if case.rule == "policy":
            return replace(result_of(case, Verdict.POLICY), choice=case.choice)
        return result_of(case, Verdict.EXACT)
    loose = replace(rules, nan_codes_equal=True)
    for choice, legal in vectors.alternatives(case).items():
        if compare(legal, outputs, loose) is None:
            return replace(result_of(case, Verdict.POLICY), choice=choice)
    return result_of(case, Verdict.WRONG, difference.what)
