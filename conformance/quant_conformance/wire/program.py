"""What the backends behind a program have in common: the questions, and when to stop asking."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from quant_conformance.protocol import Array
from quant_conformance.runner.case_backend import CaseBackend
from quant_conformance.runner.giving_up import GivingUp
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.wire.limits import Options, name_of, words_of
from quant_conformance.wire.model import NOT_ON_THE_WIRE, Record, question_of
from quant_vectors import Case

Asked = tuple[Case, Record]
"""A case and its question."""


class ProgramBackend(CaseBackend):
    """Base of both ways to ask a program."""

    # It keeps its own times; a process around it must not cut a batch off.
    patience: ClassVar[float] = 1e6
    words: Sequence[str] = ()
    options = Options()

    def __init__(self) -> None:
        self._work = tempfile.TemporaryDirectory(
            prefix="quant-conformance-", ignore_cleanup_errors=True
        )
        # One deeper, so that a name beginning with ../ stays in what is removed.
        self.folder = Path(self._work.name) / "outer" / "work"
        self.folder.mkdir(parents=True)
        self.given_up = GivingUp()
        self._questions: dict[str, Asked] = {}
        self._begin: float | None = None

    def versions(self) -> dict[str, str]:
        """Nothing: a program does not say what it is."""
        return {}

    def prepare(self, questions: Sequence[tuple[Case, Mapping[str, Array]]]) -> None:
        """Records what will be asked."""
        askable = [pair for pair in questions if pair[0].operation not in NOT_ON_THE_WIRE]
        self._questions = {
            case.id: (case, question_of(number, case, tensors))
            for number, (case, tensors) in enumerate(askable)
        }

    @property
    def questions(self) -> Mapping[str, Asked]:
        """What will be asked, by case id, in the order in which it is asked."""
        return self._questions

    def seconds_left(self) -> float:
        """Returns the time that is left of the whole, which begins with the first question."""
        now = time.monotonic()
        if self._begin is None:
            self._begin = now
        return self._begin + self.options.total_seconds - now

    def ask(self, case: Case, tensors: Mapping[str, Array]) -> Outcome:
        """Asks the program, unless there is no use in it."""
        if case.operation in NOT_ON_THE_WIRE:
            return Outcome("unsupported", text=NOT_ON_THE_WIRE[case.operation])
        if case.id not in self._questions:
            number = len(self._questions)
            self._questions[case.id] = (case, question_of(number, case, tensors))
        return self.outcome_of(case)

    def outcome_of(self, case: Case) -> Outcome:
        """Returns what came of a question."""
        raise NotImplementedError

    def over(self) -> Outcome:
        """What is said of a question for which no time is left."""
        limit = self.options.total_seconds
        return Outcome("timed_out", text=f"not run: the {limit:g} s for all questions are over")

    def close(self) -> None:
        """Removes the program's folder."""
        self._work.cleanup()


def class_of(command: str, options: Options, way: type[ProgramBackend]) -> type[ProgramBackend]:
    """Makes the class of a program that is asked in one of the two ways.

    Raises:
        UsageError: the command cannot be split into words.
    """
    words = words_of(command)
    members: dict[str, Any] = {"words": words, "options": options}
    members |= {"name": name_of(words, options), "__module__": way.__module__}
    return type("Program", (way,), members)
