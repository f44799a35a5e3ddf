"""``quant-conformance converters``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quant_conformance.errors import UsageError
from quant_conformance.files import write_text

if TYPE_CHECKING:
    from quant_conformance.converters.cases import Case
    from quant_conformance.converters.measure import Cell


def converters(
    out: Annotated[Path | None, typer.Option(help="Markdown file to write.")] = None,
    operation: Annotated[list[str] | None, typer.Option(help="Only this operation.")] = None,
    kept: Annotated[
        Path | None, typer.Option(help="Results so far (JSON); a later call goes on from there.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="An earlier page; exit 1 where a verdict is another now.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Operations at a time.")] = 2,
) -> None:
    """Take each operation through the converters; exit 1 if an exported one is wrong."""
    from joblib import Parallel, delayed

    from quant_conformance.converters.every import CASES
    from quant_conformance.converters.results_table import COLUMNS, WRONG, changes, page
    from quant_conformance.gate.aten.step_table import TABLE

    if check is not None and not check.is_file():
        raise UsageError(f"--check: there is no file {check}")
    names = {case.operation for case in CASES}
    if unknown := set(operation or ()) - names:
        raise UsageError(f"no operation {sorted(unknown)}; there are {', '.join(sorted(names))}")
    chosen = [case for case in CASES if not operation or case.operation in operation]
    keys = [(index, column) for index in range(len(chosen)) for column in COLUMNS]
    # By their place, as functions without a name cannot be sent to another process.
    places = {index: CASES.index(case) for index, case in enumerate(chosen)}
    cells = {} if kept is None or not kept.exists() else _read(kept)
    rest = [key for key in keys if _name(chosen[key[0]], key[1]) not in cells]
    found = Parallel(n_jobs=jobs, verbose=5, return_as="generator")(
        delayed(_at)(places[index], target, way) for index, (target, way) in rest
    )
    for (index, column), cell in zip(rest, found, strict=True):
        cells[_name(chosen[index], column)] = cell
        if kept is not None:
            write_text(kept, json.dumps({name: asdict(c) for name, c in cells.items()}))
    table = {(chosen[i], column): cells[_name(chosen[i], column)] for i, column in keys}
    unread = sorted(set(TABLE) - names) if not operation else []
    text = page(table, unread)
    changed = [] if check is None else changes(check.read_text(encoding="utf-8"), table)
    if out is not None:
        write_text(out, text)
    elif check is None:
        typer.echo(text)
    else:
        typer.echo("\n".join(changed) or f"{check}: {len(table)} verdicts, all as they were")
    exported = [cell for (_, (_, way)), cell in table.items() if way == "exported"]
    raise typer.Exit(1 if changed or any(cell.verdict in WRONG for cell in exported) else 0)


def _at(place: int, target: str, way: str) -> Cell:
    from quant_conformance.converters.every import CASES
    from quant_conformance.converters.measure import measure

    return measure(CASES[place], target, way)


def _name(case: Case, column: tuple[str, str]) -> str:
    return " | ".join((case.operation, case.setting, *column))


def _read(kept: Path) -> dict[str, Cell]:
    from quant_conformance.converters.measure import Cell

    return {name: Cell(**cell) for name, cell in json.loads(kept.read_text()).items()}
