"""The scoreboard as rows, for every way of showing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quant_conformance.mutants.diagnosis import sentence
from quant_conformance.report.evidence import evidence_of
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import FAILURES, CaseResult, Verdict, count_verdicts


@dataclass(frozen=True)
class Column:
    """A column of counts.

    Attributes:
        title: its heading.
        short: its heading where there is little room.
        verdicts: the verdicts that are counted in it.
        style: how a terminal shows a count above zero.
        rare: whether it is left out where all its counts are zero.
    """

    title: str
    short: str
    verdicts: tuple[Verdict, ...]
    style: str
    rare: bool = False


COLUMNS = (
    Column("exact", "exact", (Verdict.EXACT,), "green"),
    Column("policy", "pol.", (Verdict.POLICY,), "cyan"),
    Column("admissible", "adm.", (Verdict.ADMISSIBLE,), "green"),
    Column("wrong", "wrong", (Verdict.WRONG,), "bold red"),
    Column("unlikely", "unl.", (Verdict.UNLIKELY,), "bold red", rare=True),
    Column("undecided", "und.", (Verdict.UNDECIDED,), "bold red", rare=True),
    Column("crashed", "crash", (Verdict.CRASHED,), "bold red", rare=True),
    Column("hung", "hung", (Verdict.TIMED_OUT,), "bold red", rare=True),
    Column("unanswered", "none", (Verdict.UNANSWERED,), "bold red", rare=True),
    Column("expected", "exp.", (Verdict.EXPECTED,), "yellow"),
    Column("unsupported", "uns.", (Verdict.UNSUPPORTED, Verdict.UNAVAILABLE), "dim"),
)
"""The counts that the scoreboard shows."""

FAILED = Column("failed", "fail", tuple(v for v in Verdict if v in FAILURES), "bold red")
"""One column for all kinds of failures where there is no room for a column each."""


@dataclass(frozen=True)
class Row:
    """One line of the scoreboard.

    Attributes:
        label: the family, or "all".
        counts: verdict to number of cases.
        total: whether this is a backend's last row.
    """

    label: str
    counts: Mapping[str, int]
    total: bool = False

    def count(self, column: Column) -> int:
        """Number of cases that are counted in a column."""
        return sum(self.counts.get(verdict.value, 0) for verdict in column.verdicts)

    def cells(self, columns: Sequence[Column]) -> list[str]:
        """The counts as text, with a dot for zero."""
        counts = [self.count(column) for column in columns]
        return [str(count) if count else "·" for count in counts]


def occurring(rows: Sequence[Row]) -> list[Column]:
    """Leaves out the rare columns whose counts are all zero."""
    return [c for c in COLUMNS if not c.rare or any(row.count(c) for row in rows)]


def rows(run: Run) -> list[Row]:
    """Returns a row per family, one for all families that are wholly unsupported, and the sum."""
    families: dict[str, list[CaseResult]] = {}
    for result in run.results:
        families.setdefault(result.family, []).append(result)
    lacking = [f for f, results in families.items() if _lacking(results)]
    found = [Row(f, count_verdicts(rs)) for f, rs in families.items() if f not in lacking]
    if lacking and found:
        results = [result for f in lacking for result in families[f]]
        label = lacking[0] if len(lacking) == 1 else f"{len(lacking)} others"
        found.append(Row(label, count_verdicts(results)))
    return [*found, Row("all", run.summary, total=True)]


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
    return [sentence(explanation) for explanation in evidence_of(run).diagnosis]


def _lacking(results: Sequence[CaseResult]) -> bool:
    return all(r.verdict in (Verdict.UNSUPPORTED, Verdict.UNAVAILABLE) for r in results)
