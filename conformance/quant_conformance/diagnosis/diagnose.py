"""Tries the mutants as hypotheses and keeps the few that explain most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quant_conformance.diagnosis.evidence import Answer, Mask
from quant_conformance.mutants import MUTANTS, Mutant

MAX_EXPLANATIONS = 5
"""Explanations that are looked for in one operation."""

SAMPLE = 24
"""Wrong answers on which all hypotheses are compared."""

FINALISTS = 6
"""Hypotheses that are then compared on right answers, too."""

RIGHT_SAMPLE = 100
"""Right answers on which they are."""


@dataclass(frozen=True)
class Explanation:
    """A known bug that gives the same wrong answers.

    Attributes:
        operation: Operation that was answered wrongly.
        hypothesis: Id of the mutant; empty for the elements that none matches.
        bug: What it does wrong.
        matched: Wrong elements that it gives, too, bit for bit.
        total: Wrong elements of the operation.
        further: Those of ``matched`` that no explanation before this one matches.
        contradicted: Right elements that the bug would have made wrong.
        cases: Wrong answers that it gives as a whole.
        of_cases: Wrong answers of the operation.
    """

    operation: str
    hypothesis: str
    bug: str
    matched: int
    total: int
    further: int
    contradicted: int
    cases: int
    of_cases: int


def diagnose(answers: Iterable[Answer]) -> list[Explanation]:
    """Explains wrong answers by known bugs.

    In each operation the hypothesis is taken that matches most wrong elements and denies least
    right ones; then the one that matches most of the rest, and so on.

    Args:
        answers: Wrong answers of one backend. Right ones may stand among them: they speak
            against bugs that would have made them wrong.

    Returns:
        Explanations as they were found, operation by operation. One without a hypothesis holds
        what remains unexplained.
    """
    by_operation: dict[str, list[Answer]] = {}
    for answer in answers:
        by_operation.setdefault(answer.case.operation, []).append(answer)
    return [found for group in by_operation.values() for found in _Inquiry(group).explain()]


def sentence(explanation: Explanation) -> str:
    """Writes an explanation as one line."""
    share = explanation.matched / explanation.total
    # Never round up to "all".
    percent = "100" if share == 1 else f"{min(share * 100, 99.9):.3g}"
    of_all = f"its {explanation.total} mismatch" + ("" if explanation.total == 1 else "es")
    if not explanation.hypothesis:
        return f"{explanation.operation}: no known bug gives {percent} % of {of_all}"
    line = f"{explanation.operation}: matches {explanation.hypothesis} ({explanation.bug}) on "
    line += f"{percent} % of {of_all}"
    if explanation.further < explanation.matched:
        line += f", {explanation.further} of them not explained before"
    line += f"; {explanation.cases} of {explanation.of_cases} wrong cases wholly"
    if explanation.contradicted:
        line += f"; but {explanation.contradicted} right elements speak against it"
    return line


class _Inquiry:
    """The wrong and right answers of one operation."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._wrong = [answer for answer in answers if answer.wrong.any()]
        self._right = [answer for answer in answers if not answer.wrong.any()]
        self._open = [answer.wrong.copy() for answer in self._wrong]

    def explain(self) -> list[Explanation]:
        found: list[Explanation] = []
        while len(found) < MAX_EXPLANATIONS:
            for mutant in self._best():
                backend = mutant.backend()
                matches = [answer.matched(backend) for answer in self._wrong]
                explanation = self._explanation(mutant, matches)
                if explanation.further > explanation.contradicted:
                    break
            else:
                break
            denied = sum(_count(~answer.matched(backend)) for answer in self._right)
            contradicted = explanation.contradicted + denied
            found.append(replace(explanation, contradicted=contradicted))
            for mask, match in zip(self._open, matches, strict=True):
                mask &= ~match
        left = sum(map(_count, self._open))
        if left:
            unmatched = sum(bool(mask.any()) for mask in self._open)
            found.append(self._made("", "", left, left, 0, unmatched))
        return found

    def _best(self) -> list[Mutant]:
        """Picks the hypotheses that explain most of a sample; of equals, the first in the table."""
        sample = _spread([i for i, mask in enumerate(self._open) if mask.any()], SAMPLE)
        families = {self._wrong[i].case.family for i in sample}
        scored = []
        for mutant in MUTANTS:
            if not families.isdisjoint(mutant.families):
                backend = mutant.backend()
                score = sum(
                    _score(self._wrong[i], self._open[i], self._wrong[i].matched(backend))
                    for i in sample
                )
                if score > 0:
                    scored.append((score, mutant))
        scored.sort(key=lambda pair: -pair[0])
        # A bug that would make every right answer wrong is half as likely.
        some = [self._right[i] for i in _spread(range(len(self._right)), RIGHT_SAMPLE)]
        finals = [(s * (1 - _denied(m, some) / 2), m) for s, m in scored[:FINALISTS]]
        finals.sort(key=lambda pair: -pair[0])
        equals = [m for score, m in finals if score == finals[0][0]]
        if len(equals) > 1:  # all right answers may still tell them apart
            equals.sort(key=lambda m: _denied(m, self._right))
        return equals + [mutant for _, mutant in finals[len(equals) :]]

    def _explanation(self, mutant: Mutant, matches: Sequence[Mask]) -> Explanation:
        pairs = [(a.wrong, match) for a, match in zip(self._wrong, matches, strict=True)]
        return self._made(
            mutant.id,
            mutant.bug,
            sum(_count(wrong & match) for wrong, match in pairs),
            sum(_count(mask & match) for mask, match in zip(self._open, matches, strict=True)),
            sum(_count(~wrong & ~match) for wrong, match in pairs),
            sum(bool(match.all()) for match in matches),
        )

    def _made(
        self, hypothesis: str, bug: str, matched: int, further: int, contradicted: int, cases: int
    ) -> Explanation:
        return Explanation(
            operation=self._wrong[0].case.operation,
            hypothesis=hypothesis,
            bug=bug,
            matched=matched,
            total=sum(_count(answer.wrong) for answer in self._wrong),
            further=further,
            contradicted=contradicted,
            cases=cases,
            of_cases=len(self._wrong),
        )


def _denied(mutant: Mutant, right: Sequence[Answer]) -> float:
    """Share of right answers that a hypothesis does not give."""
    backend = mutant.backend()
    return sum(not answer.matched(backend).all() for answer in right) / max(1, len(right))


def _score(answer: Answer, open_: Mask, match: Mask) -> float:
    """Share of the wrong elements that it explains, less the share of right ones it denies."""
    wrong = _count(answer.wrong)
    loss = _count(~answer.wrong & ~match) / max(1, answer.wrong.size - wrong)
    return _count(match & open_) / wrong - loss


def _spread(indices: Sequence[int], size: int) -> list[int]:
    """Picks at most ``size`` of them, from the first to the last."""
    picks = np.linspace(0, len(indices) - 1, min(size, len(indices))).astype(int)
    return [indices[i] for i in picks]


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))
