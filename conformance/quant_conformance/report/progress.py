"""Shows how far a run is: a bar on a terminal, a line per backend elsewhere. All on stderr."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quant_conformance.verdicts.verdict import FAILURES, CaseResult


class Shown(Protocol):
    """A listener whose display can make room for other output."""

    def __call__(self, reference: str, result: CaseResult | None) -> None:
        """Is told of a result."""

    def paused(self) -> AbstractContextManager[None]:
        """Takes the display away for a while."""


@contextmanager
def progress(references: Sequence[str], cases: int) -> Iterator[Shown]:
    """Yields the listener that shows progress.

    Args:
        references: the backends that are run.
        cases: the number of cases that each is asked.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(cases)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # Standard output is not taken over: it may go elsewhere.
    bar = Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, redirect_stdout=False
    )
    with bar:
        yield _Bars(bar, references, cases)


class _Bars:
    """A bar for each backend."""

    def __init__(self, bar: Progress, references: Sequence[str], cases: int) -> None:
        self._bar = bar
        self._tasks = {reference: bar.add_task(reference, total=cases) for reference in references}

    def __call__(self, reference: str, result: CaseResult | None) -> None:
        self._bar.advance(self._tasks[reference])

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()


class _Lines:
    """A line for each backend."""

    def __init__(self, cases: int) -> None:
        self._cases = cases
        self._done: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    def __call__(self, reference: str, result: CaseResult | None) -> None:
        self._done[reference] += 1
        self._failed[reference] += result is not None and result.verdict in FAILURES
        if self._done[reference] == self._cases:
            count = self._failed[reference]
            text = f"{reference}: {self._cases} cases, {count} failures, known ones included"
            print(text, file=sys.stderr)

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()
