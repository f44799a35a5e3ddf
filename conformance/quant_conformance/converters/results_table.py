"""The table of operations and converters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata

from quant_conformance.converters.cases import Case
from quant_conformance.converters.measure import TARGETS, WAYS, Cell

Column = tuple[str, str]

COLUMNS: tuple[Column, ...] = tuple((target, way) for target in TARGETS for way in WAYS)
_LABELS = {"coreai": "Core AI", "coreml": "Core ML"}

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
