"""The scoreboard as data for a page: backend × family × clause, counted by verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quant_conformance.report.html.words import Tone, tone, worst
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import CaseResult, Verdict


@dataclass(frozen=True)
class Counts:
    """Cases of one backend by verdict.

    Attributes:
        name: what they have in common: a family or a clause; "all" for the sum.
        by_verdict: number of cases per verdict.
        parts: the same by clause, for a family.
    """

    name: str
    by_verdict: Counter[Verdict]
    parts: tuple[Counts, ...] = ()

    @property
    def total(self) -> int:
        """Number of cases."""
        return self.by_verdict.total()

    @property
    def good(self) -> int:
        """Number of cases answered as the specification says."""
        return sum(n for verdict, n in self.by_verdict.items() if tone(verdict) == "good")

    @property
    def judged(self) -> int:
        """Number of cases that were answered and judged."""
        return sum(n for verdict, n in self.by_verdict.items() if tone(verdict) != "muted")

    @property
    def tone(self) -> Tone:
        """How they are judged as a whole."""
        return worst(tone(verdict) for verdict, n in self.by_verdict.items() if n)

    @property
    def by_tone(self) -> list[tuple[int, Tone]]:
        """Number of cases per tone, for a bar."""
        order: tuple[Tone, ...] = ("good", "known", "bad", "muted")
        return [
            (sum(n for verdict, n in self.by_verdict.items() if tone(verdict) == name), name)
            for name in order
        ]

    def cells(self, verdicts: Iterable[Verdict]) -> list[tuple[Verdict, int]]:
        """Returns some verdicts with their counts."""
        return [(verdict, self.by_verdict[verdict]) for verdict in verdicts]


def verdicts_of(runs: Sequence[Run]) -> list[Verdict]:
    """Returns the verdicts that occur, in the order in which they are defined."""
    found = {result.verdict for run in runs for result in run.results}
    return [verdict for verdict in Verdict if verdict in found]


def families_of(runs: Sequence[Run]) -> list[str]:
    """Returns the families that were asked, in order of appearance."""
    return list(dict.fromkeys(result.family for run in runs for result in run.results))


def total_of(run: Run) -> Counts:
    """Counts all cases of a run."""
    return Counts("all", _count(run.results))


def by_family(run: Run) -> list[Counts]:
    """Counts the cases of each family; a case counts for every clause that it tests."""
    families: dict[str, list[CaseResult]] = {}
    for result in run.results:
        families.setdefault(result.family, []).append(result)
    return [
        Counts(family, _count(results), _by_clause(results)) for family, results in families.items()
    ]


def _by_clause(results: Sequence[CaseResult]) -> tuple[Counts, ...]:
    clauses: dict[str, list[CaseResult]] = {}
    for result in results:
        for clause in result.clauses:
            clauses.setdefault(clause, []).append(result)
    return tuple(Counts(clause, _count(found)) for clause, found in sorted(clauses.items()))


def _count(results: Iterable[CaseResult]) -> Counter[Verdict]:
    return Counter(result.verdict for result in results)
