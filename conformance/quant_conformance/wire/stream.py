"""A program that stays: records over its standard input and output, as over a serial line."""

from __future__ import annotations

import os
import selectors
import time
from collections import deque
from collections.abc import Mapping, Sequence

from quant_conformance.protocol import Array, Backend
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.wire.limits import Options
from quant_conformance.wire.model import LONGEST_FILE
from quant_conformance.wire.outcomes import outcome_of
from quant_conformance.wire.process import Program
from quant_conformance.wire.program import Asked, ProgramBackend, class_of
from quant_conformance.wire.raw import (
    ANSWERS,
    HEADER,
    MAGIC,
    QUESTIONS,
    START,
    header,
    record_bytes,
    record_of,
)
from quant_conformance.wire.references import parsed
from quant_vectors import Case

_POLL_SECONDS = 0.25


class StreamError(Exception):
    """The program said what is no answer, or nothing any more."""


class OutOfTurnError(StreamError):
    """The program answered another question than the one that is due."""


class Stream:
    """The bytes to and from one running program."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._to, self._from = program.pipes
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        self._sending = bytearray(header(QUESTIONS))
        self._received = bytearray()
        self._greeted = False

    def send(self, data: bytes) -> None:
        """Queues a record; it goes out while answers are waited for."""
        self._sending += data

    @property
    def surplus(self) -> bool:
        """Whether something came that was not read yet, the greeting aside."""
        return self._greeted and bool(self._received)

    def receive(self, seconds: float) -> bytes:
        """Returns the next record.

        Raises:
            TimeoutError: none came in time.
            StreamError: none will come, or what came is no record.
        """
        if self._sending:
            self._write()
        record = self._whole()
        if record is not None:
            return record
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as ready:
            ready.register(self._from, selectors.EVENT_READ)
            if self._sending:
                ready.register(self._to, selectors.EVENT_WRITE)
            while True:
                record = self._whole()
                if record is not None:
                    return record
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                for key, _ in ready.select(min(left, _POLL_SECONDS)):
                    if key.fd == self._to:
                        if not self._write():
                            ready.unregister(self._to)
                    else:
                        self._read()
                overrun = self._program.overrun() if left < seconds - _POLL_SECONDS else None
                if overrun:
                    raise StreamError(overrun)

    def _write(self) -> bool:
        """Sends what the pipe takes; tells whether more is left."""
        try:
            del self._sending[: os.write(self._to, self._sending[: 1 << 16])]
        except BlockingIOError:
            return True
        except OSError:  # it closed its input; what it still says is read
            self._sending.clear()
        return bool(self._sending)

    def _read(self) -> None:
        try:
            chunk = os.read(self._from, 1 << 18)
        except BlockingIOError:
            return
        if not chunk:
            if self._received:
                what = f"{len(self._received)} bytes of an answer came, and then"
                raise StreamError(f"{what} {self._program.ending()}")
            raise StreamError(self._program.ending())
        self._received += chunk

    def _whole(self) -> bytes | None:
        """Takes a whole record off what was received, if it is there."""
        data = self._received
        if not self._greeted and data:
            begin = bytes(data[: HEADER.size])
            if begin[:4] != MAGIC[: len(begin)]:
                raise StreamError(f"the program wrote {begin!r} where {MAGIC!r} was due")
            if len(data) < HEADER.size:
                return None
            if HEADER.unpack(begin)[1] != ANSWERS:
                raise StreamError(f"its header says kind {HEADER.unpack(begin)[1]}, not {ANSWERS}")
            del data[: HEADER.size]
            self._greeted = True
        if len(data) < 4:
            return None
        size = int.from_bytes(data[:4], "little") + 4
        if not START.size <= size <= LONGEST_FILE:
            raise StreamError(f"the program wrote {bytes(data[:16])!r}, a record of {size} bytes")
        if len(data) < size:
            return None
        record = bytes(data[:size])
        del data[:size]
        return record


class Pipe(ProgramBackend):
    """Asks a program that stays, and starts it again behind a crash."""

    def __init__(self) -> None:
        super().__init__()
        self._program: Program | None = None
        self._stream: Stream | None = None
        self._places: dict[str, int] = {}
        self._order: list[Asked] = []
        self._sent: deque[Asked] = deque()
        self._early: dict[str, Outcome] = {}

    def prepare(self, questions: Sequence[tuple[Case, Mapping[str, Array]]]) -> None:
        """Records what will be asked, and in which order."""
        super().prepare(questions)
        self._places = {case_id: place for place, case_id in enumerate(self.questions)}
        self._order = list(self.questions.values())
        self._early.clear()

    def outcome_of(self, case: Case) -> Outcome:
        """Asks one question."""
        if case.id in self._early:
            return self._early.pop(case.id)
        if case.operation in self.given_up:
            return self.given_up.not_run(case.operation)
        left = self.seconds_left()
        if left <= 0:
            return self.over()
        outcome = self._ask(case, min(left, self.options.case_seconds), self.options.ahead)
        self.given_up.count(case.operation, outcome)
        return outcome

    def _ask(self, case: Case, seconds: float, ahead: int) -> Outcome:
        """Asks a case, and sends others ahead; one that fails among others is asked alone."""
        asked = self.questions[case.id]
        try:
            stream = self._started()
            if not self._sent and stream.surplus:
                raise OutOfTurnError("the program wrote more than it was asked for")
            self._send(stream, asked, ahead)
            while True:
                first, question = self._sent[0]
                answer = record_of(stream.receive(seconds))
                if answer.id != question.id:
                    text = f"question {question.id} was asked, {answer.id} was answered"
                    raise OutOfTurnError(text)
                self._sent.popleft()
                outcome = outcome_of(first.operation, answer)
                if first.id == case.id:
                    return outcome
                self._early[first.id] = outcome  # the caller left it out, or asks it later
        except TimeoutError:
            outcome = Outcome("timed_out", text=f"no answer within {seconds:g} s")
        except OutOfTurnError as error:
            self._stop()
            return Outcome("malformed", text=str(error))
        except StreamError as error:
            outcome = Outcome("died", text=str(error))
        alone = len(self._sent) <= 1
        self._stop()
        return outcome if alone else self._ask(case, seconds, 1)

    def _send(self, stream: Stream, asked: Asked, ahead: int) -> None:
        """Sends a question, if it is not on its way, and those behind it."""
        if not any(case is asked[0] for case, _ in self._sent):
            self._queue(stream, asked)
        if len(self._sent) > ahead // 2:  # several at a time: fewer changes between processes
            return
        place = self._places.get(self._sent[-1][0].id)
        while place is not None and len(self._sent) < ahead and place + 1 < len(self._order):
            place += 1
            if self._order[place][0].operation not in self.given_up:
                self._queue(stream, self._order[place])

    def _queue(self, stream: Stream, asked: Asked) -> None:
        stream.send(record_bytes(asked[1]))
        self._sent.append(asked)

    def _started(self) -> Stream:
        if self._stream is None or self._program is None:
            self._program = Program(self.words, self.folder, self.options, piped=True)
            self._stream = Stream(self._program)
        return self._stream

    def _stop(self) -> None:
        if self._program is not None:
            self._program.end()
        self._program = self._stream = None
        self._sent.clear()

    def close(self) -> None:
        """Ends the program: first by the end of its input, then by force."""
        if self._program is not None:
            self._program.finish()
        self._stop()
        super().close()


def backend_of(reference: str) -> type[Backend]:
    """Makes the class of a program that stays."""
    return class_of(*parsed(reference, Options), Pipe)
