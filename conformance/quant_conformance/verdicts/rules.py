"""Judges answers by rules: which ones an answer follows, and on what share of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from quant_conformance.protocol import Array
from quant_conformance.rule_questions import answers, is_told, operator_of, output_of
from quant_conformance.rule_questions.names import grouped
from quant_conformance.verdicts.exact import Difference, compare, differing, rules_for
from quant_conformance.verdicts.verdict import CaseResult, RuleMatches, Verdict

if TYPE_CHECKING:
    from quant_vectors import Case, VectorSet


def follows_rules(case: Case) -> bool:
    """Tells whether the answer of a case is told by its rule."""
    return is_told(case)


def judge_rules(
    vectors: VectorSet, case: Case, outputs: Mapping[str, Array], base: CaseResult
) -> CaseResult:
    """Judges an answer: right under a rule on every element, or wrong.

    Args:
        vectors: the set.
        case: one that :func:`follows_rules`.
        outputs: the answer.
        base: the result to complete.
    """
    legal = legal_answers(vectors, case)
    rules = rules_for(case.operation, case.arguments, case.spec or {})
    inputs = vectors.inputs(case)
    differences = {name: compare(codes, outputs, rules, inputs) for name, codes in legal.items()}
    names = next((name for name, found in differences.items() if found is None), None)
    output = output_of(case)
    expected = vectors.expected(case)[output]
    got = outputs.get(output)
    if got is None or (got.shape, got.dtype) != (expected.shape, expected.dtype):
        found = next(iter(differences.values()))
        assert found is not None  # noqa: S101 (it has another shape or dtype)
        return replace(base, verdict=Verdict.WRONG, detail=found.what)
    wrong = {name: differing(output, own[output], got, None) for name, own in legal.items()}
    matches = {name: int(np.sum(~where)) for name, where in wrong.items()}
    acc = inputs.get("acc")
    leaves = {
        name: _smallest(acc, where)
        for name, where in wrong.items()
        if acc is not None and acc.shape == got.shape and where.any()
    }
    told = RuleMatches(operator_of(case), int(got.size), matches, leaves)
    if names is None:
        best = max(matches, key=lambda name: matches[name])
        detail = _unexplained(best, matches[best], int(got.size), differences[best])
        return replace(base, verdict=Verdict.WRONG, detail=detail, rules=told)
    if case.rule == "policy":
        return replace(base, verdict=Verdict.POLICY, choice=names, rules=told)
    return replace(base, verdict=Verdict.EXACT, rules=told)


def nearest(
    legal: Mapping[str, Mapping[str, Array]], got: Array | None, output: str = "codes"
) -> str:
    """The rules that agree with most elements of an answer, in one line.

    Args:
        legal: what :func:`legal_answers` gives.
        got: the answer; if it has another shape or dtype, the reference's rules are the
            nearest.
        output: name of the output.
    """
    names = list(legal)
    first = legal[names[0]][output]
    if got is None or (got.shape, got.dtype) != (first.shape, first.dtype):
        return names[0]
    differs = {name: differing(output, legal[name][output], got, None) for name in names}
    return min(names, key=lambda name: int(np.sum(differs[name])))


def legal_answers(vectors: VectorSet, case: Case) -> dict[str, dict[str, Array]]:
    """The legal answers of a case by the rules that give them.

    Where all rules agree the set has one answer and no names: then the rules that do not refuse
    the case are asked for.
    """
    expected = vectors.expected(case)
    if case.rule == "policy":
        return {str(case.choice): expected, **vectors.alternatives(case)}
    (names,) = grouped(answers(case, vectors.inputs(case)))
    return {names: expected}


def _unexplained(best: str, count: int, size: int, difference: Difference | None) -> str:
    first, *others = best.split()
    more = f" and {len(others)} more" if others else ""
    what = "" if difference is None else f"; {difference.what}"
    return f"no rule gives this: {first}{more} explains {count} of {size} elements{what}"


def _smallest(acc: Array, where: Array) -> int:
    """The accumulator of least magnitude among some."""
    found = acc[where].astype(np.int64)
    return int(found[np.argmin(np.abs(found))])
