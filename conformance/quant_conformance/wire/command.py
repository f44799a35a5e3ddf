"""A program that is run by the batch: it reads a file of questions and writes one of answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

from quant_conformance.errors import UsageError, unknown
from quant_conformance.protocol import Backend
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.wire.formats import FORMATS, read_file
from quant_conformance.wire.limits import Options
from quant_conformance.wire.model import Contents
from quant_conformance.wire.outcomes import outcomes_of
from quant_conformance.wire.process import Program
from quant_conformance.wire.program import Asked, ProgramBackend, class_of
from quant_conformance.wire.references import parsed
from quant_vectors import Case

REQUESTS, RESPONSES = "{requests}", "{responses}"


class Command(ProgramBackend):
    """Runs the program once for each family, and again behind a crash."""

    def __init__(self) -> None:
        super().__init__()
        self._outcomes: dict[str, Outcome] = {}

    def outcome_of(self, case: Case) -> Outcome:
        """Runs the family's batch when its first case is asked."""
        if case.id not in self._outcomes:
            batch = [
                asked
                for asked in self.questions.values()
                if asked[0].family == case.family and asked[0].id not in self._outcomes
            ]
            for asked, outcome in self._batch(batch):
                self._outcomes[asked.id] = outcome
                self.given_up.count(asked.operation, outcome)
        return self._outcomes[case.id]

    def _batch(self, batch: Sequence[Asked]) -> Iterator[tuple[Case, Outcome]]:
        """Answers a batch; where the program fails, the case that it fails on is found.

        What it wrote before its end is kept. Of the rest, the first case alone is tried where
        answers came one by one, and halves where none came: only what fails alone is blamed.
        """
        for case, _ in batch:
            if case.operation in self.given_up:
                yield case, self.given_up.not_run(case.operation)
        batch = [asked for asked in batch if asked[0].operation not in self.given_up]
        if not batch:
            return
        if self.seconds_left() <= 0:
            yield from ((case, self.over()) for case, _ in batch)
            return
        outcomes, failure = self._run(batch)
        rest = []
        for case, question in batch:
            outcome = outcomes[question.id]
            if failure is not None and outcome.kind == "unanswered":
                rest.append((case, question))
            else:
                yield case, outcome
        if failure is None or not rest:
            return
        if len(batch) == 1:
            yield batch[0][0], failure
            return
        cut = 1 if len(rest) < len(batch) else len(batch) // 2
        yield from self._batch(rest[:cut])
        yield from self._batch(rest[cut:])

    def _run(self, batch: Sequence[Asked]) -> tuple[dict[int, Outcome], Outcome | None]:
        """Runs the program once; returns what it answered, and its failure if it failed."""
        fmt = FORMATS[self.options.format]
        folder = self.folder
        shutil.rmtree(folder.parent, ignore_errors=True)  # whatever an earlier run left
        folder.mkdir(parents=True)
        requests = folder / f"requests{fmt.suffix}"
        responses = folder / f"responses{fmt.suffix}"
        requests.write_bytes(fmt.write([question for _, question in batch]))
        words = [
            word.replace(REQUESTS, str(requests)).replace(RESPONSES, str(responses))
            for word in self.words
        ]
        seconds = min(
            self.options.batch_seconds,
            self.options.case_seconds * len(batch),
            max(self.seconds_left(), 0.01),
        )
        program = Program(words, folder, self.options, piped=False)
        failure: Outcome | None = None
        try:
            overrun = program.wait(seconds)
            if overrun is not None:
                failure = Outcome("died", text=overrun)
            elif program.failed:
                failure = Outcome("died", text=program.ending())
        except TimeoutError:
            failure = Outcome("timed_out", text=f"the program did not end within {seconds:g} s")
        finally:
            program.end()
        asked = {question.id: case.operation for case, question in batch}
        contents = read_file(responses, fmt)
        if failure is not None and contents.fault:  # it was cut off where it was writing
            contents = Contents(contents.records)
        return outcomes_of(responses.name, contents, asked), failure


def backend_of(reference: str) -> type[Backend]:
    """Makes the class of a program that is run by the batch."""
    command, options = parsed(reference, Options)
    made = class_of(command, options, Command)
    for name in (REQUESTS, RESPONSES):
        if not any(name in word for word in made.words):
            raise UsageError(f"the command {command!r} has no {name}, which becomes a file's path")
    if options.format not in FORMATS:
        raise unknown("format", options.format, FORMATS)
    return made
