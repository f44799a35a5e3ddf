"""Tries the mutants as hypotheses and keeps the few that explain most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from quant_conformance.diagnosis.evidence import Mask, Mismatch
from quant_conformance.mutants import MUTANTS, Mutant

MAX_EXPLANATIONS = 5
"""Explanations that are looked for in one operation."""

SAMPLE = 24
"""Cases on which all hypotheses are compared; the best ones are then tried on every case."""

FINALISTS = 3


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
        contradicted: Elements of the same cases that were answered otherwise than the bug would.
        cases: Cases whose whole answer it gives.
        of_cases: Cases of the operation that were answered wrongly.
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


def diagnose(mismatches: Iterable[Mismatch]) -> list[Explanation]:
    """Explains wrong answers by known bugs.

    In each operation the hypothesis is taken that matches most wrong elements, less what it
    contradicts; then the one that matches most of the rest, and so on.

    Args:
        mismatches: Wrong answers of one backend.

    Returns:
        Explanations as they were found, operation by operation. One without a hypothesis holds
        what remains unexplained.
    """
    by_operation: dict[str, list[Mismatch]] = {}
    for mismatch in mismatches:
        if mismatch.wrong.any():
            by_operation.setdefault(mismatch.case.operation, []).append(mismatch)
    return [found for group in by_operation.values() for found in _explain(group)]


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


def _explain(group: Sequence[Mismatch]) -> list[Explanation]:
    families = {mismatch.case.family for mismatch in group}
    hypotheses = [m for m in MUTANTS if not families.isdisjoint(m.families)]
    open_ = [mismatch.wrong.copy() for mismatch in group]
    found: list[Explanation] = []
    while len(found) < MAX_EXPLANATIONS:
        sample = _spread([i for i, mask in enumerate(open_) if mask.any()])
        for mutant in _best(hypotheses, group, open_, sample):
            backend = mutant.backend()
            matches = [mismatch.matched(backend) for mismatch in group]
            explanation = _explanation(mutant, group, open_, matches)
            if explanation.further > explanation.contradicted:
                break
        else:
            break
        found.append(explanation)
        for mask, match in zip(open_, matches, strict=True):
            mask &= ~match
    if any(mask.any() for mask in open_):
        found.append(_unexplained(group, open_))
    return found


def _spread(indices: Sequence[int]) -> list[int]:
    """Picks at most SAMPLE of them, from the first to the last."""
    picks = np.linspace(0, len(indices) - 1, min(SAMPLE, len(indices))).astype(int)
    return [indices[i] for i in picks]


def _best(
    hypotheses: Iterable[Mutant],
    group: Sequence[Mismatch],
    open_: Sequence[Mask],
    sample: Sequence[int],
) -> list[Mutant]:
    """Picks the hypotheses that explain most of the sample; of equals, the first in the table."""
    scored = []
    for mutant in hypotheses:
        backend = mutant.backend()
        score = sum(_score(group[i], open_[i], group[i].matched(backend)) for i in sample)
        if score > 0:
            scored.append((score, mutant))
    scored.sort(key=lambda pair: -pair[0])
    return [mutant for _, mutant in scored[:FINALISTS]]


def _score(mismatch: Mismatch, open_: Mask, match: Mask) -> float:
    """Share of the wrong elements that it explains, less the share of right ones it denies."""
    wrong, size = int(np.count_nonzero(mismatch.wrong)), mismatch.wrong.size
    gain = int(np.count_nonzero(match & open_)) / wrong
    loss = int(np.count_nonzero(~mismatch.wrong & ~match)) / max(1, size - wrong)
    return gain - loss


def _unexplained(group: Sequence[Mismatch], open_: Sequence[Mask]) -> Explanation:
    left = sum(int(np.count_nonzero(mask)) for mask in open_)
    return Explanation(
        operation=group[0].case.operation,
        hypothesis="",
        bug="",
        matched=left,
        total=sum(int(np.count_nonzero(mismatch.wrong)) for mismatch in group),
        further=left,
        contradicted=0,
        cases=sum(bool(mask.any()) for mask in open_),
        of_cases=len(group),
    )


def _explanation(
    mutant: Mutant, group: Sequence[Mismatch], open_: Sequence[Mask], matches: Sequence[Mask]
) -> Explanation:
    wrongs = [mismatch.wrong for mismatch in group]
    pairs = list(zip(wrongs, matches, strict=True))
    return Explanation(
        operation=group[0].case.operation,
        hypothesis=mutant.id,
        bug=mutant.bug,
        matched=sum(int(np.count_nonzero(wrong & match)) for wrong, match in pairs),
        total=sum(int(np.count_nonzero(wrong)) for wrong in wrongs),
        further=sum(
            int(np.count_nonzero(mask & match)) for mask, match in zip(open_, matches, strict=True)
        ),
        contradicted=sum(int(np.count_nonzero(~wrong & ~match)) for wrong, match in pairs),
        cases=sum(bool(match.all()) for match in matches),
        of_cases=len(group),
    )
