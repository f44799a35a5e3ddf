"""Every architecture, one process per cell, with a limit; a later call goes on from there.

``python -m quant_conformance.export_matrix.architecture_sweep --kept results.json --out page.md``
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from quant_conformance.errors import UsageError
from quant_conformance.export_matrix.architecture_page import page
from quant_conformance.files import write_text
from quant_conformance.models.architectures import ARCHITECTURES
from quant_conformance.models.zoo import MODES
from quant_conformance.report.html.facts import commit_of

CONFIGS = ("w8a8", "w4_per_block")

LIMIT = 900.0
"""Seconds for one cell."""

Key = tuple[str, str, str]
Result = dict[str, Any]


def run_apart(key: Key, limit: float = LIMIT) -> Result:
    """Runs a cell in a process of its own; a crash and a hang are results.

    Args:
        key: name, config and mode.
        limit: seconds.
    """
    return {**_run_apart(key, limit), "commit": commit()}


@cache
def commit() -> str | None:
    """The commit of the sources that judge, if they are in a checkout."""
    return commit_of(Path(__file__).parent)


def _run_apart(key: Key, limit: float) -> Result:
    module = "quant_conformance.export_matrix.architecture_cell"
    given: Result = dict(zip(("name", "config", "mode"), key, strict=True))
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *key],
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {**given, "error": f"no answer after {limit:.0f} s", "targets": {}}
    lines = done.stdout.strip().splitlines()
    try:
        result: Result = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        tail = done.stderr.strip().splitlines()[-1:] or [""]
        died = f"the process ended with {done.returncode}: {tail[0][:200]}"
        return {**given, "error": died, "targets": {}}
    return result


def sweep(
    keys: Iterable[Key],
    results: dict[str, Result],
    keep: Callable[[dict[str, Result]], None],
    jobs: int,
    limit: float = LIMIT,
) -> None:
    """Runs the cells that ``results`` lacks, and adds them to it.

    Args:
        keys: the cells.
        results: what is known, by :func:`name_of`.
        keep: is told of all results after every cell; calls never overlap.
        jobs: processes at a time.
        limit: seconds for one cell.
    """
    lock = threading.Lock()

    def one(key: Key) -> None:
        result = run_apart(key, limit)
        with lock:
            results[name_of(key)] = result
            keep(results)

    rest = [key for key in keys if name_of(key) not in results]
    with ThreadPoolExecutor(jobs) as pool:
        for _ in pool.map(one, rest):
            pass


def name_of(key: Key) -> str:
    """How a cell is called in the file of results."""
    return " | ".join(key)


def keys_of(names: Sequence[str]) -> list[Key]:
    """Returns the cells of architectures.

    Raises:
        UsageError: there is no such architecture.
    """
    if unknown := sorted(set(names) - set(ARCHITECTURES)):
        raise UsageError(f"no architecture {unknown}; there are {', '.join(ARCHITECTURES)}")
    return list(product(names or ARCHITECTURES, CONFIGS, MODES))


def main(
    kept: Annotated[Path, typer.Option(help="Results so far (JSON); it is made.")],
    out: Annotated[Path | None, typer.Option(help="Markdown file to write.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="Only this architecture.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 2,
    limit: Annotated[float, typer.Option(min=1, help="Seconds for one cell.")] = LIMIT,
    again: Annotated[bool, typer.Option(help="Also what is in the results so far.")] = False,
) -> None:
    """Take every architecture through configs, modes and targets; exit 1 on a wrong file."""
    results: dict[str, Result] = json.loads(kept.read_text()) if kept.exists() else {}

    def keep(found: dict[str, Result]) -> None:
        write_text(kept, json.dumps(found, indent=1, sort_keys=True) + "\n")
        print(f"{len(found)} cells", file=sys.stderr)

    keys = keys_of(name or [])
    if again:
        for key in keys:
            results.pop(name_of(key), None)
    sweep(keys, results, keep, jobs, limit)
    text = page(results.values())
    if out is None:
        typer.echo(text)
    else:
        write_text(out, text)
    verdicts = {t["verdict"] for r in results.values() for t in r.get("targets", {}).values()}
    raise typer.Exit(1 if "wrong" in verdicts else 0)


if __name__ == "__main__":
    typer.run(main)
