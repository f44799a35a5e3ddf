"""The scoreboard on a terminal: backend × family, then the first failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quant_conformance.runner import Run
from quant_conformance.tables import COLUMNS, diagnosis_lines, policy_lines, rows
from quant_conformance.verdicts import RANK, CaseResult, Verdict

FAILURES_SHOWN = 5
_WIDEST = 300


def print_scoreboard(runs: Sequence[Run], console: Console, vectors: Path | None = None) -> None:
    """Prints the table, then what each backend makes of policies, stale entries and failures.

    Args:
        runs: what was run.
        console: where to.
        vectors: folder of the set, for the command that is named; None for the shipped one.
    """
    console.print(_table(runs))
    for run in runs:
        _print_notes(run, console)
    failed = next((run for run in runs if run.failures), None)
    if failed is not None:
        case = failed.failures[0].id
        where = "" if vectors is None else f" --vectors {vectors}"
        hint = f"See why: quant-conformance explain {case} --backend {failed.reference}{where}"
        console.print(f"\n{escape(hint)}", soft_wrap=True, highlight=False)


def _table(runs: Sequence[Run]) -> Table:
    # Narrow enough for a terminal of 80 columns.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 0))
    table.add_column("backend", no_wrap=True)
    table.add_column("family", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column.title, justify="right", no_wrap=True)
    for run in runs:
        name = escape(run.backend)
        for row in rows(run):
            cells = [
                f"[{column.style}]{cell}[/]" if count else f"[dim]{cell}[/]"
                for column, cell, count in zip(COLUMNS, row.cells, row.counts, strict=True)
            ]
            style = "bold" if row.total else None
            table.add_row(name, escape(row.label), *cells, style=style, end_section=row.total)
            name = ""
    return table


def _print_notes(run: Run, console: Console) -> None:
    lines = []
    if run.problem is not None:
        lines.append(f"[yellow]{run.problem}[/]: {escape(run.text)}")
    else:
        lines += [f"policy {escape(line)}" for line in policy_lines(run)]
        lines += [escape(line) for line in diagnosis_lines(run)]
        lines += [f"[bold red]stale expectation[/] {escape(line)}" for line in run.stale]
        shown = first_failures(run.failures, FAILURES_SHOWN)
        lines += [_failure(result) for result in shown]
        if len(run.failures) > len(shown):
            lines.append(f"… and {len(run.failures) - len(shown)} more failures")
    if lines:
        versions = ", ".join(f"{name} {v}" for name, v in sorted(run.versions.items()))
        title = f"[bold]{escape(run.backend)}[/]" + (f" ({escape(versions)})" if versions else "")
        console.print(f"\n{title}", soft_wrap=True, highlight=False)
        for line in lines:
            console.print(f"  {line}", soft_wrap=True, highlight=False)


def first_failures(failures: Sequence[CaseResult], limit: int) -> list[CaseResult]:
    """Picks failures to show: the first of each family in turn, then the second, …."""
    seen: dict[str, int] = {}
    turns = []
    for result in failures:
        seen[result.family] = seen.get(result.family, 0) + 1
        turns.append(seen[result.family])
    order = sorted(range(len(failures)), key=lambda i: turns[i])
    return [failures[i] for i in order[:limit]]


def _failure(result: CaseResult) -> str:
    clauses = ", ".join(result.clauses)
    style = "bold red" if RANK[result.verdict] == RANK[Verdict.WRONG] else "yellow"
    verdict = f"[{style}]{result.verdict.value}[/]"
    detail = result.detail if len(result.detail) <= _WIDEST else result.detail[:_WIDEST] + "…"
    return f"{verdict} {escape(result.id)} \\[{escape(clauses)}]\n    {escape(detail)}"
