"""The scoreboard on a terminal: a table for each backend, what it fails, and a row for each."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from quant_conformance.report.causes import failure_groups, spread
from quant_conformance.report.followed_rules import rule_lines
from quant_conformance.report.scoreboard_rows import (
    COLUMNS,
    FAILED,
    Column,
    Row,
    diagnosis_lines,
    occurring,
    policy_lines,
    rows,
)
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import RANK, CaseResult, Verdict

FAILURES_SHOWN = 5
_WIDEST = 300


def print_scoreboard(runs: Sequence[Run], console: Console, vectors: Path | None = None) -> None:
    """Prints each run, then all of them in a table.

    Args:
        runs: what was run.
        console: where to.
        vectors: folder of the set, for the command that is named; None for the shipped one.
    """
    for run in runs:
        print_run(run, console)
    print_summary(runs, console, vectors)


def print_run(run: Run, console: Console) -> None:
    """Prints the table of one backend, then its policies, stale entries and failures."""
    versions = ", ".join(f"{name} {v}" for name, v in sorted(run.versions.items()))
    title = Text(run.backend, "bold").append(f" ({versions})" if versions else "", "not bold")
    _print(console, title)
    if run.problem is not None:
        _print(console, Text.assemble("  ", (run.problem, "yellow"), f": {run.text}"), indent=4)
    else:
        _print_table(console, "family", rows(run))
        _print_notes(run, console)
    console.print()


def print_summary(runs: Sequence[Run], console: Console, vectors: Path | None = None) -> None:
    """Prints a row for each backend, unmet conditions, and how to see why the first failed.

    Args:
        runs: what was run.
        console: where to.
        vectors: folder of the set, for the command that is named; None for the shipped one.
    """
    if len(runs) > 1:
        _print_table(console, "backend", [Row(run.backend, run.summary) for run in runs])
        console.print()
    for run in runs:
        for line in run.unmet:
            told = Text.assemble(("condition not met", "bold red"), f" {run.backend}: {line}")
            _print(console, told, 2)
    failed = next((run for run in runs if run.failures), None)
    if failed is not None:
        command = explain_command(failed.failures[0].id, failed.reference, vectors)
        _print(console, Text(f"See why: {command}"))


def explain_command(case: str, reference: str, vectors: Path | None) -> str:
    """Returns the command that explains a case, as a shell takes it.

    Args:
        case: id of the case.
        reference: what the backend was loaded by.
        vectors: folder of the set, None for the shipped one.
    """
    words = ["quant-conformance", "explain", case, "--backend", reference]
    return shlex.join(words if vectors is None else [*words, "--vectors", str(vectors)])


def _print_table(console: Console, what: str, lines: Sequence[Row]) -> None:
    """Prints counts in columns that fit the console, whatever its width."""
    columns, titles = _fitted(what, lines, console.width)
    cells = [line.cells(columns) for line in lines]
    label = _label_width(what, lines)
    widths = _widths(titles, cells)
    head = " ".join([what.ljust(label), *(t.rjust(w) for t, w in zip(titles, widths, strict=True))])
    _print(console, Text(head, "bold"))
    _print(console, Text("─" * len(head), "dim"))
    for line, row in zip(lines, cells, strict=True):
        text = Text(line.label.ljust(label), "bold" if line.total else "")
        for column, cell, width in zip(columns, row, widths, strict=True):
            style = column.style if line.count(column) else "dim"
            text.append(" ").append(cell.rjust(width), style)
        _print(console, text)


def _fitted(what: str, lines: Sequence[Row], room: int) -> tuple[list[Column], list[str]]:
    """Chooses columns and their headings: full, else short, else one for all failures."""
    columns = occurring(lines)
    kinds = [c for c in COLUMNS if c.verdicts[0] in FAILED.verdicts]
    merged = [FAILED if c is kinds[0] else c for c in columns if c is kinds[0] or c not in kinds]
    label = _label_width(what, lines)
    for chosen, titles in (
        (columns, [column.title for column in columns]),
        (columns, [column.short for column in columns]),
    ):
        widths = _widths(titles, [line.cells(chosen) for line in lines])
        if label + sum(widths) + len(widths) <= room:
            return chosen, titles
    return merged, [column.short for column in merged]


def _label_width(what: str, lines: Sequence[Row]) -> int:
    # The same for all backends, so that their columns are aligned.
    least = len("export_weights") if what == "family" else len(what)
    return max([least, *(len(line.label) for line in lines)])


def _widths(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max([len(t), *(len(row[i]) for row in cells)]) for i, t in enumerate(titles)]


def _print_notes(run: Run, console: Console) -> None:
    for line in run.notes:
        _print(console, Text.assemble("  ", ("note", "yellow"), f" {line}"), indent=4)
    for line in rule_lines(run):
        _print(console, Text(f"  rule {line}"), indent=4)
    for line in policy_lines(run):
        _print(console, Text(f"  policy {line}"), indent=4)
    for line in diagnosis_lines(run):
        _print(console, Text(f"  {line}"), indent=4)
    for line in run.stale:
        _print(console, Text.assemble("  ", ("stale expectation", "bold red"), f" {line}"), 4)
    groups = failure_groups(run)
    shown = spread(groups, FAILURES_SHOWN)
    for group, results in shown:
        for result in results:
            _print_failure(result, console)
        if len(group.results) > len(results):
            more = replace(group, results=group.results[len(results) :])
            _print(console, Text(f"  … and {more.title}" + (" alike" if group.cause else "")), 4)
    if len(groups) > len(shown):
        left = sum(len(group.results) for group in groups[len(shown) :])
        _print(console, Text(f"  … and {left} failures of {len(groups) - len(shown)} other kinds"))


def _print_failure(result: CaseResult, console: Console) -> None:
    style = "bold red" if RANK[result.verdict] == RANK[Verdict.WRONG] else "yellow"
    clauses = ", ".join(result.clauses)
    head = Text.assemble("  ", (result.verdict.value, style), f" {result.id} [{clauses}]")
    _print(console, head, indent=6)
    detail = result.detail if len(result.detail) <= _WIDEST else result.detail[:_WIDEST] + "…"
    _print(console, Text(f"    {detail}"), indent=6)


def _print(console: Console, text: Text, indent: int = 0) -> None:
    """Prints a paragraph; on a terminal what is too long goes on in the next line, indented.

    A file, or the next program, gets it as one line. No word is broken, so that a case's id and a
    command can be copied.
    """
    if console.is_terminal and indent:
        ends = textwrap.wrap(
            text.plain,
            max(console.width, 2 * indent),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
        lines, at = [], 0
        for number, line in enumerate(ends):
            part = line if number == 0 else line.lstrip()
            start = text.plain.index(part, at) if part else at
            at = start + len(part)
            lines.append(Text(" " * (indent if number else 0)).append_text(text[start:at]))
        text = Text("\n").join(lines)
    console.print(text, soft_wrap=True, highlight=False)
