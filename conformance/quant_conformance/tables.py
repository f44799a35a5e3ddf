"""The scoreboard as rows, for every way of showing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quant_conformance.diagnosis import sentence
from quant_conformance.runner import Run
from quant_conformance.verdicts import CaseResult, Verdict, count_verdicts


@dataclass(frozen=True)
class Column:
    """A column of counts.

    Attributes:
        title: its heading.
        verdicts: the verdicts that are counted in it.
        style: how a terminal shows a count above zero.
    """

    title: str
    verdicts: tuple[Verdict, ...]
    style: str


COLUMNS = (
    Column("exact", (Verdict.EXACT,), "green"),
    Column("policy", (Verdict.POLICY,), "cyan"),
    Column("admiss.", (Verdict.ADMISSIBLE,), "green"),
    Column("unlikely", (Verdict.UNLIKELY,), "bold red"),
    Column("undec.", (Verdict.UNDECIDED,), "bold red"),
    Column("wrong", (Verdict.WRONG,), "bold red"),
    Column("expected", (Verdict.EXPECTED,), "yellow"),
    Column("unsup.", (Verdict.UNSUPPORTED, Verdict.UNAVAILABLE), "dim"),
    Column("crash", (Verdict.CRASHED,), "bold red"),
    Column("hung", (Verdict.TIMED_OUT,), "bold red"),
)
"""The counts that the scoreboard shows."""


@dataclass(frozen=True)
class Row:
    """One line of the scoreboard.

    Attributes:
        label: the family, or "all".
        counts: one per column.
        total: whether this is a backend's last row.
    """

    label: str
    counts: tuple[int, ...]
    total: bool = False

    @property
    def cells(self) -> list[str]:
        """The counts as text, with a dot for zero."""
        return [str(count) if count else "·" for count in self.counts]


def rows(run: Run) -> list[Row]:
    """Returns a row per family, one for all families that are wholly unsupported, and the sum."""
    families: dict[str, list[CaseResult]] = {}
    for result in run.results:
        families.setdefault(result.family, []).append(result)
    lacking = [f for f, results in families.items() if _lacking(results)]
    found = [Row(f, _counts(results)) for f, results in families.items() if f not in lacking]
    if lacking and found:
        results = [result for f in lacking for result in families[f]]
        label = lacking[0] if len(lacking) == 1 else f"{len(lacking)} others"
        found.append(Row(label, _counts(results)))
    return [*found, Row("all", _counts(run.results), total=True)]


def policy_lines(run: Run) -> list[str]:
    """Writes the policies followed: ``nan_to_integer: zero_point (12), quant_min (1)``."""
    lines = []
    for policy, choices in run.policies.items():
        by_count = sorted(choices.items(), key=lambda item: (-item[1], item[0]))
        line = f"{policy}: " + ", ".join(f"{choice} ({count})" for choice, count in by_count)
        declared = run.declared.get(policy)
        if declared is not None and set(choices) != {declared}:
            line += f"; it documents {declared}"
        lines.append(line)
    return lines


def diagnosis_lines(run: Run) -> list[str]:
    """Writes which known bugs explain the wrong answers, a line each."""
    return [sentence(explanation) for explanation in run.diagnosis]


def _lacking(results: Sequence[CaseResult]) -> bool:
    return all(r.verdict in (Verdict.UNSUPPORTED, Verdict.UNAVAILABLE) for r in results)


def _counts(results: Sequence[CaseResult]) -> tuple[int, ...]:
    counts = count_verdicts(results)
    return tuple(sum(counts.get(v.value, 0) for v in column.verdicts) for column in COLUMNS)
