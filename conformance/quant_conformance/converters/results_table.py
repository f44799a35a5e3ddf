"""The table of operations and converters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata

from quant_conformance.converters.cases import Case
from quant_conformance.converters.measure import TARGETS, WAYS, Cell

Column = tuple[str, str]

COLUMNS: tuple[Column, ...] = tuple((target, way) for target in TARGETS for way in WAYS)
_LABELS = {"coreai": "Core AI", "coreml": "Core ML"}

_RIGHT = {"exact": "right", "admissible": "right"}

WRONG = ("wrong", "crashed")
"""Verdicts of an exported operation that fail."""


def page(cells: Mapping[tuple[Case, Column], Cell], unread: Sequence[str]) -> str:
    """The page of the documentation.

    Args:
        cells: by operation and column.
        unread: operations of the gate's table without a case.
    """
    cases = list(dict.fromkeys(case for case, _ in cells))
    heads = [f"{_LABELS[target]}, {way}" for target, way in COLUMNS]
    lines = [
        "# What the converters make of each operation",
        "",
        f"{len(cases)} models of one operation, each converted by the converter *alone* and",
        "*exported* by `quant_torch.export`, run, and compared with torch in float32. Made by",
        f"`make converters` with {_versions()}. Core AI programs run on its CPU runtime, Core ML",
        "programs in the suite's evaluator.",
        "",
        "`exact`: the same bits. `admissible`: within the bounds of SPEC.md, chapter 15. `wrong`:",
        "outside of them. `differs`: other bits, where the gate has no bound for it: the",
        "worst element, and torch's. `refused`: an error that the converter or the",
        "exporter raises; the exporter's names the module and the line. `not run`: the evaluator",
        "lacks the operation that it became.",
        "",
        *_counts(cells),
        "",
        "| operation | setting | " + " | ".join(heads) + " |",
        "|---|---|" + "---|" * len(heads),
    ]
    for case in cases:
        row = [cells[case, column].text.replace("|", "/") for column in COLUMNS]
        lines.append(f"| {case.operation} | {case.setting} | " + " | ".join(row) + " |")
    if unread:
        lines += ["", f"Without a model here: {', '.join(unread)}."]
    return "\n".join(lines) + "\n"


def changes(text: str, cells: Mapping[tuple[Case, Column], Cell]) -> list[str]:
    """Where a page and measured cells have other verdicts, a line for each.

    ``exact`` and ``admissible`` count as one: which of them a sum is depends on the processor.

    Args:
        text: what :func:`page` gave before.
        cells: by operation and column.
    """
    before = _verdicts(text)
    lines = []
    for (case, column), cell in cells.items():
        was = before.get((case.operation, case.setting, column), "not there")
        if _RIGHT.get(was, was) != _RIGHT.get(cell.verdict, cell.verdict):
            setting = f", {case.setting}" if case.setting else ""
            where = f"{_LABELS[column[0]]}, {column[1]}"
            lines.append(f"{case.operation}{setting}: {where}: {cell.text}; it was {was}")
    return lines


def _verdicts(text: str) -> dict[tuple[str, str, Column], str]:
    found = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.removeprefix("|").removesuffix("|").split(" | ")]
        if line.startswith("| ") and len(parts) == 2 + len(COLUMNS):
            for column, cell in zip(COLUMNS, parts[2:], strict=True):
                found[parts[0], parts[1], column] = cell.partition(":")[0]
    return found


def _counts(cells: Mapping[tuple[Case, Column], Cell]) -> list[str]:
    lines = []
    for target, way in COLUMNS:
        verdicts = [cell.verdict for (_, column), cell in cells.items() if column == (target, way)]
        counts = {v: verdicts.count(v) for v in dict.fromkeys(sorted(verdicts))}
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        lines.append(f"- {_LABELS[target]}, {way}: {told}")
    return lines


def _versions() -> str:
    packages = ("torch", "coreai-core", "coreai-torch", "coremltools")
    return ", ".join(f"{name} {metadata.version(name).partition('+')[0]}" for name in packages)
