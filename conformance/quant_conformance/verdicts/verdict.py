"""The words a case is judged with, and what is recorded beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What the suite says of one case of one backend."""

    EXACT = "exact"
    """The bits agree with the one legal answer."""
    POLICY = "policy"
    """The spec names several legal answers; this is one of them, and the result says which."""
    ADMISSIBLE = "admissible"
    """The answer depends on an order of roundings, and correct arithmetic can give this one."""
    UNLIKELY = "unlikely"
    """Correct arithmetic can give this answer, but with a probability below 1e-9."""
    UNDECIDED = "undecided"
    """The arithmetic is so coarse that every answer is possible: nothing has been shown."""
    WRONG = "wrong"
    """The answer is none that the spec allows, or it is no answer of the right shape and dtype."""
    UNSUPPORTED = "unsupported"
    """The system does not offer this; the result says why."""
    UNAVAILABLE = "unavailable"
    """A package that the backend needs is not installed; the result holds the pip line."""
    CRASHED = "crashed"
    """The backend raised, exited or died."""
    TIMED_OUT = "timed_out"
    """The backend gave no answer within the time limit."""
    UNANSWERED = "unanswered"
    """A file or a program that answers questions by itself left this one out."""
    EXPECTED = "expected"
    """A failure that the backend's expectations file names, with its reason."""


FAILURES = frozenset(
    {
        Verdict.UNLIKELY,
        Verdict.UNDECIDED,
        Verdict.WRONG,
        Verdict.CRASHED,
        Verdict.TIMED_OUT,
        Verdict.UNANSWERED,
    }
)
"""Verdicts that fail a run."""

RANK = {
    Verdict.EXACT: 0,
    Verdict.POLICY: 0,
    Verdict.ADMISSIBLE: 0,
    Verdict.EXPECTED: 1,
    Verdict.UNSUPPORTED: 2,
    Verdict.UNAVAILABLE: 2,
    Verdict.UNDECIDED: 3,
    Verdict.UNLIKELY: 3,
    Verdict.WRONG: 3,
    Verdict.CRASHED: 3,
    Verdict.TIMED_OUT: 3,
    Verdict.UNANSWERED: 3,
}
"""How bad a verdict is, for comparing two runs; equal ranks are a change, not better or worse."""


@dataclass(frozen=True)
class RuleMatches:
    """How far an answer of an integer layer follows each rule (SPEC.md, INT-5 to INT-11).

    Attributes:
        operator: what a report calls the operator.
        elements: number of elements of the answer.
        matches: rules in one line (``rule_questions.names.shortened``) to the number of elements
            that they give.
        leaves: the same lines to the smallest accumulator at which the answer leaves these rules,
            where the case has accumulators and they do.
    """

    operator: str
    elements: int
    matches: Mapping[str, int]
    leaves: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseResult:
    """The verdict on one case.

    Attributes:
        id: the case's id.
        family: the family of vectors it belongs to.
        clauses: clause ids of SPEC.md that the case tests.
        flags: the bugs it is there to catch.
        verdict: the verdict.
        detail: for people: the differing element, the reason or the error; empty for ``exact``.
        policy: name of the policy, for a case that has legal alternatives.
        choice: the alternative that the backend followed.
        was: the verdict that an expectation replaced.
        link: where the expected failure is documented.
        reason: why the failure is expected, as the expectation says; ``detail`` begins with it.
        judged: False if the answer was only set beside another, which nothing could make wrong.
        rules: how far the answer of an integer layer follows each rule; None for other operations.
    """

    id: str
    family: str
    clauses: tuple[str, ...]
    flags: tuple[str, ...]
    verdict: Verdict
    detail: str = ""
    policy: str | None = None
    choice: str | None = None
    was: Verdict | None = None
    link: str | None = None
    reason: str | None = None
    judged: bool = True
    rules: RuleMatches | None = None


def count_verdicts(results: Iterable[CaseResult]) -> dict[str, int]:
    """Counts results per verdict, in the order of ``Verdict``, leaving out zeros."""
    counts = Counter(result.verdict for result in results)
    return {verdict.value: counts[verdict] for verdict in Verdict if counts[verdict]}


def count_policies(results: Iterable[CaseResult]) -> dict[str, dict[str, int]]:
    """Counts, per policy, the cases that followed each choice, both in alphabetical order.

    The rules of integer layers are no choice between two or three: ``report.rules`` has them.
    """
    table: dict[str, Counter[str]] = {}
    for result in results:
        if result.policy is not None and result.choice is not None and result.rules is None:
            table.setdefault(result.policy, Counter())[result.choice] += 1
    return {name: dict(sorted(table[name].items())) for name in sorted(table)}
