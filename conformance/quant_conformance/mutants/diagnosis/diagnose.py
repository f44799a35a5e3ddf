"""Tries the mutants as hypotheses and keeps the few that explain most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quant_conformance.mutants import MUTANTS, Mutant
from quant_conformance.mutants.diagnosis.characterize import SHARP, Trait, characterize
from quant_conformance.mutants.diagnosis.hypothesis import matched
from quant_conformance.verdicts.answers import Answer, Mask

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
        property: Without a hypothesis, what the elements have that are counted in ``matched``, as
            the rest of "the elements where …"; those right elements that have it, too, are counted
            in ``contradicted``. Empty where nothing is sure.
        of_right: Right elements that the property was held against.
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
    property: str = ""
    of_right: int = 0


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
        return f"{explanation.operation}: {_left_over(explanation, percent, of_all)}"
    line = f"{explanation.operation}: matches {explanation.hypothesis} ({explanation.bug}) on "
    line += f"{percent} % of {of_all}"
    if explanation.further < explanation.matched:
        line += f", {explanation.further} of them not explained before"
    line += f"; {explanation.cases} of {explanation.of_cases} wrong cases wholly"
    if explanation.contradicted:
        line += f"; but {explanation.contradicted} right elements speak against it"
    return line


def _left_over(explanation: Explanation, percent: str, of_all: str) -> str:
    """Says what no known bug gives, and where it lies if that is sure."""
    unknown = f"no known bug gives {percent} % of {of_all}"
    if not explanation.property:
        return unknown
    if explanation.contradicted:
        verb = "is" if explanation.contradicted == 1 else "are"
        right = f"{explanation.contradicted} of {explanation.of_right} right elements"
        where = f"all lie where {explanation.property}, as {verb} {right}"
    else:
        where = f"are exactly the elements where {explanation.property}"
    if explanation.matched == explanation.total:
        return f"{of_all} {where}; no known bug gives them all"
    return f"{unknown}; they {where}"


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
                matches = [matched(answer, backend) for answer in self._wrong]
                explanation = self._explanation(mutant, matches)
                if explanation.further <= explanation.contradicted:
                    continue
                denied = sum(_count(~matched(answer, backend)) for answer in self._right)
                denied += explanation.contradicted
                if explanation.further > denied:  # else right elements say that it is not the bug
                    explanation = replace(explanation, contradicted=denied)
                    break
            else:
                break
            found.append(explanation)
            for mask, match in zip(self._open, matches, strict=True):
                mask &= ~match
        return self._plainly(found) or found + self._unexplained()

    def _plainly(self, found: Sequence[Explanation]) -> list[Explanation]:
        """What all wrong elements have in common, if that says more than the known bugs found.

        It does where a property tells wrong from right nearly exactly, and every bug that was
        found leaves wrong elements over or is denied by more right ones.
        """
        total = sum(_count(answer.wrong) for answer in self._wrong)
        if any(e.matched == total and not e.contradicted for e in found):
            return []
        traits = self._traits([answer.wrong for answer in self._wrong])[:1]
        if not traits or traits[0].right > SHARP * total:
            return []
        (trait,) = traits
        left = [a.wrong & ~held for a, held in zip(self._wrong, trait.holds, strict=True)]
        whole = not any(mask.any() for mask in left)
        if not whole or any(e.matched == total and e.contradicted <= trait.right for e in found):
            return []
        return [self._left(trait.holds, trait)]

    def _traits(self, masks: Sequence[Mask]) -> list[Trait]:
        """Properties of wrong elements, held against all right ones."""
        none = [np.zeros_like(answer.wrong) for answer in self._right]
        traits = characterize([*self._wrong, *self._right], [*masks, *none])
        return [replace(trait, holds=trait.holds[: len(self._wrong)]) for trait in traits]

    def _unexplained(self) -> list[Explanation]:
        """What remains, by the properties of its elements as far as there are any."""
        if not any(mask.any() for mask in self._open):
            return []
        traits = self._traits(self._open)
        found = [self._left(trait.holds, trait) for trait in traits]
        for trait in traits:
            self._open = [mask & ~held for mask, held in zip(self._open, trait.holds, strict=True)]
        if any(mask.any() for mask in self._open):
            found.append(self._left(self._open, None))
        return found

    def _left(self, masks: Sequence[Mask], trait: Trait | None) -> Explanation:
        count = sum(map(_count, masks))
        cases = sum(bool(mask.any()) for mask in masks)
        right, of_right = (0, 0) if trait is None else (trait.right, trait.of_right)
        made = self._made("", "", count, count, right, cases)
        return replace(made, property="" if trait is None else trait.text, of_right=of_right)

    def _best(self) -> list[Mutant]:
        """Picks the hypotheses that explain most of a sample; of equals, the first in the table."""
        sample = _spread([i for i, mask in enumerate(self._open) if mask.any()], SAMPLE)
        families = {self._wrong[i].case.family for i in sample}
        scored = []
        for mutant in MUTANTS:
            if not families.isdisjoint(mutant.families):
                backend = mutant.backend()
                score = sum(
                    _score(self._wrong[i], self._open[i], matched(self._wrong[i], backend))
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
    return sum(not matched(answer, backend).all() for answer in right) / max(1, len(right))


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
