"""Which rule a backend follows, operator by operator, and where rules part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from quant_conformance.rule_questions import kind_of
from quant_conformance.rule_questions.integers import POLICY
from quant_conformance.rule_questions.names import expanded, shortened
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import CaseResult, RuleMatches
from quant_vectors import VectorSet

NAMES_SHOWN = 3
"""Rules that are named where several explain an operator."""


@dataclass(frozen=True)
class Followed:
    """What explains the answers of one operator.

    Attributes:
        operator: its name.
        rules: the rules that explain most of its elements, the reference's names.
        matched: number of elements that they explain.
        elements: number of elements that were judged.
        leaves: smallest accumulator at which the answers leave these rules, if it is known.
    """

    operator: str
    rules: tuple[str, ...]
    matched: int
    elements: int
    leaves: int | None = None

    @property
    def whole(self) -> bool:
        """Whether every element is explained."""
        return self.matched == self.elements


def followed(results: Iterable[CaseResult]) -> list[Followed]:
    """The best rules of each operator, in the order in which the cases have them.

    Best is what leaves the fewest elements unexplained. A rule that refuses a case is not held to
    it, but has to be defined on half of the elements at least.
    """
    groups: dict[str, list[RuleMatches]] = {}
    for result in results:
        if result.rules is not None:
            groups.setdefault(result.rules.operator, []).append(result.rules)
    return [_best(operator, told) for operator, told in groups.items()]


def _best(operator: str, told: Sequence[RuleMatches]) -> Followed:
    matched: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for one in told:
        for names, count in one.matches.items():
            for name in expanded(names):
                matched[name] += count
                asked[name] += one.elements
    elements = sum(one.elements for one in told)
    able = [name for name in asked if 2 * asked[name] >= elements]
    left = {name: asked[name] - matched[name] for name in able}
    least = min(left.values())
    best = [name for name in able if left[name] == least]
    most = max(asked[name] for name in best)
    best = [name for name in best if asked[name] == most]
    leaves = [
        smallest
        for one in told
        for names, smallest in one.leaves.items()
        if best[0] in expanded(names)
    ]
    smallest = min(leaves, key=abs) if leaves else None
    return Followed(operator, tuple(best), matched[best[0]], asked[best[0]], smallest)


def rule_lines(run: Run) -> list[str]:
    """Writes a line for each operator, and a warning where one engine mixes rules.

    For example ``conv2d: double, 100 % of 48,000 elements``.
    """
    found = followed(run.results)
    declared = run.declared.get(POLICY)
    lines = [_line(one, declared if kind_of(one.operator) == POLICY else None) for one in found]
    for kind in dict.fromkeys(kind_of(one.operator) for one in found):
        warning = mixed([one for one in found if kind_of(one.operator) == kind])
        lines += [warning] if warning else []
    return lines


def mixed(found: Sequence[Followed]) -> str | None:
    """A warning if no rule explains all operators that some rule explains."""
    whole = [one for one in found if one.whole]
    common = set.intersection(*(set(one.rules) for one in whole)) if whole else set()
    if common or len(whole) < 2:
        return None
    kinds: dict[tuple[str, ...], list[str]] = {}
    for one in whole:
        kinds.setdefault(one.rules, []).append(one.operator)
    told = "; ".join(f"{', '.join(names)}: {_names(rules)}" for rules, names in kinds.items())
    return f"mixed rules: no rule explains every operator ({told})"


def parting(vectors: VectorSet, first: str, second: str) -> tuple[int, str] | None:
    """The smallest accumulator of a set of which two rules make different codes, and its case.

    Args:
        vectors: the set.
        first: name of a rule.
        second: name of another.
    """
    best: tuple[int, str] | None = None
    for case in vectors.cases:
        if case.operation != "requantize" or case.policy != POLICY:
            continue
        answers = {str(case.choice): vectors.expected(case), **vectors.alternatives(case)}
        by_rule = {n: found["codes"] for names, found in answers.items() for n in expanded(names)}
        if first not in by_rule or second not in by_rule:
            continue
        acc = vectors.inputs(case)["acc"].astype(np.int64)
        apart = acc[by_rule[first] != by_rule[second]]
        if apart.size:
            smallest = int(apart[np.argmin(np.abs(apart))])
            if best is None or abs(smallest) < abs(best[0]):
                best = (smallest, case.id)
    return best


def _line(one: Followed, declared: str | None) -> str:
    share = 100 * one.matched / one.elements
    text = "100 %" if one.whole else f"{min(share, 99.99):.2f} %"
    line = f"{one.operator}: {_names(one.rules)}, {text} of {one.elements:,} elements"
    if not one.whole and one.leaves is not None:
        line += f", left first at the accumulator {one.leaves}"
    if declared is not None and declared not in one.rules:
        line += f"; it documents {declared}"
    return line


def _names(rules: Sequence[str]) -> str:
    names = shortened(rules).split()
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} or {len(names) - NAMES_SHOWN} more"
