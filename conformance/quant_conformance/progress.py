"""Shows how far a run is: a bar on a terminal, a line per backend elsewhere. All on stderr."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quant_conformance.runner import Listener
from quant_conformance.verdicts import FAILURES, CaseResult


@contextmanager
def progress(references: Sequence[str], cases: int) -> Iterator[Listener]:
    """Yields the listener that shows progress.

    Args:
        references: the backends that are run.
        cases: the number of cases that each is asked.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain(cases)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        tasks = {reference: bar.add_task(reference, total=cases) for reference in references}

        def advance(reference: str, result: CaseResult | None) -> None:
            bar.advance(tasks[reference])

        yield advance


def _plain(cases: int) -> Listener:
    done: Counter[str] = Counter()
    failed: Counter[str] = Counter()

    def count(reference: str, result: CaseResult | None) -> None:
        done[reference] += 1
        failed[reference] += result is not None and result.verdict in FAILURES
        if done[reference] == cases:
            text = f"{reference}: {cases} cases, {failed[reference]} failures, known ones included"
            print(text, file=sys.stderr)

    return count
