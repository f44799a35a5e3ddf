"""Opens a backend in this process or in one of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import starmap, takewhile
from types import TracebackType
from typing import Self

from quant_conformance.errors import UsageError
from quant_conformance.runner.captured import Captured
from quant_conformance.runner.invoke import announce, close, invoke
from quant_conformance.runner.isolated import Isolated
from quant_conformance.runner.loading import is_builtin, is_program, load_class, open_backend
from quant_conformance.runner.questions import Executor, Limits, Question
from quant_conformance.verdicts.outcome import Outcome


class InProcess:
    """Runs a backend in this process: no start-up cost, no protection from a hang or a crash."""

    def __init__(self, reference: str, questions: Sequence[Question], limits: Limits) -> None:
        self._backend, self.hello = open_backend(reference)
        self._questions = questions
        self._limits = limits
        self._cancelled = False
        self._printed = Captured()

    @property
    def printed(self) -> str:
        """What the backend printed from Python; what it prints by other ways is not caught."""
        return self._printed.text

    def run(self, indices: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
        """Asks the questions at ``indices``, each when its outcome is taken."""
        if self._backend is None:
            raise UsageError(self.hello.text)
        questions = [self._questions[index] for index in indices]
        announce(self._backend, questions, self._printed)
        ask = partial(invoke, self._backend, tier=self._limits.tier, printed=self._printed)
        wanted = takewhile(lambda index: not self._cancelled, indices)
        return zip(wanted, starmap(ask, questions), strict=False)

    def cancel(self) -> None:
        """Makes ``run`` end after the case that it is at."""
        self._cancelled = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._backend is not None:
            close(self._backend)


def wants_isolation(reference: str) -> bool:
    """Tells whether a backend runs in its own process unless the user says otherwise.

    Backends of others do, and are never imported here; ours do if their class says so.
    """
    if is_program(reference):  # it is a process already, or a file
        return False
    return not is_builtin(reference) or load_class(reference).isolated


def open_executor(
    reference: str, questions: Sequence[Question], limits: Limits, *, isolate: bool | None = None
) -> Executor:
    """Opens a backend where it shall run; ``isolate`` None leaves the choice to the backend."""
    if wants_isolation(reference) if isolate is None else isolate:
        return Isolated(reference, questions, limits)
    return InProcess(reference, questions, limits)
