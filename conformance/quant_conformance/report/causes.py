"""Failures by what they have in common, for every way of showing them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quant_conformance.mutants.diagnosis import sentence
from quant_conformance.report.evidence import evidence_of
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import CaseResult, Verdict

_ELEMENTS = re.compile(r"; [\d,]+ of [\d,]+ elements? (differ|is|are)\b")
"""Ends the detail of an answer that is wrong in some elements."""

_NUMBER = re.compile(r"-?(?<!\.py:)\b(0x[0-9a-f]+|\d+(\.\d+)?(e[-+]?\d+)?)\b", re.IGNORECASE)
_NUMBERS = re.compile(r"[(\[][#, ]*[)\]]")


@dataclass(frozen=True)
class Group:
    """Failures that look alike.

    Attributes:
        results: the failures, in the order in which they were asked.
        cause: the text that they share up to its numbers, as the first has it; empty for elements
            that differ, which each case shows by its own.
        diagnosis: known bugs that explain them, as sentences.
    """

    results: tuple[CaseResult, ...]
    cause: str = ""
    diagnosis: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The verdict on all of them."""
        return self.results[0].verdict

    @property
    def families(self) -> list[str]:
        """Their families, in order of appearance."""
        return list(dict.fromkeys(result.family for result in self.results))

    @property
    def title(self) -> str:
        """How many there are of what, and where: ``36 wrong in quantize``."""
        words = self.verdict.value.replace("_", " ")
        return f"{len(self.results)} {words} in {', '.join(self.families)}"


def failure_groups(run: Run) -> list[Group]:
    """Returns the failures of a run by cause, the largest group first.

    Answers with wrong elements are taken together by family. Everything else (exceptions, timeouts,
    outputs of another shape) by its text, whatever the family: one line of an adapter can make all
    of them fail.
    """
    sentences: dict[str, list[str]] = {}
    for explanation in evidence_of(run).diagnosis:
        sentences.setdefault(explanation.operation, []).append(sentence(explanation))
    return group_failures(run.failures, sentences)


def general_diagnosis(run: Run) -> list[str]:
    """Returns the sentences on known bugs that belong to no group of failures."""
    told = {line for group in failure_groups(run) for line in group.diagnosis}
    return [line for line in map(sentence, evidence_of(run).diagnosis) if line not in told]


def group_failures(
    failures: Iterable[CaseResult], diagnosis: dict[str, list[str]] | None = None
) -> list[Group]:
    """Groups failures by cause.

    Args:
        failures: the failures.
        diagnosis: operation to the sentences on what explains its wrong answers.
    """
    found: dict[tuple[str, ...], list[CaseResult]] = {}
    for result in failures:
        text = cause_of(result)
        where = "" if text else result.family
        found.setdefault((result.verdict.value, _alike(text), where), []).append(result)
    groups = [
        Group(
            tuple(results),
            cause_of(results[0]),
            tuple((diagnosis or {}).get(results[0].family, ()) if not text else ()),
        )
        for (_, text, _), results in found.items()
    ]
    return sorted(groups, key=lambda group: -len(group.results))


def cause_of(result: CaseResult) -> str:
    """Returns the text of a failure, or nothing where it tells of single elements."""
    return "" if _ELEMENTS.search(result.detail) else result.detail


def spread(groups: Sequence[Group], limit: int) -> list[tuple[Group, list[CaseResult]]]:
    """Picks failures to show: the first of each group in turn, then the second, ….

    Args:
        groups: the groups.
        limit: how many failures to pick in all.

    Returns:
        The groups of which some are shown, each with those.
    """
    picked: list[list[CaseResult]] = [[] for _ in groups]
    left = min(limit, sum(len(group.results) for group in groups))
    turn = 0
    while left > 0:
        for group, chosen in zip(groups, picked, strict=True):
            if left > 0 and turn < len(group.results):
                chosen.append(group.results[turn])
                left -= 1
        turn += 1
    return [(group, chosen) for group, chosen in zip(groups, picked, strict=True) if chosen]


def _alike(text: str) -> str:
    return _NUMBERS.sub("(#)", _NUMBER.sub("#", text))
