"""Runs a backend in a process of its own: a crash, a hang or an exit is a verdict on one case."""

from __future__ import annotations

import pickle
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from quant_conformance.errors import UsageError
from quant_conformance.process import Child, ChildDiedError
from quant_conformance.runner.giving_up import GIVE_UP_AFTER, GivingUp
from quant_conformance.runner.loading import Hello, check_reference, display_name, is_builtin
from quant_conformance.runner.questions import READY, Limits, Question
from quant_conformance.verdicts.outcome import Outcome

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""For the suite's own backends: tensors are small, and several backends run at a time. Others may
have mistakes that show in several threads only."""

_CHILD = "quant_conformance.runner.child"


class Isolated:
    """An executor whose backend lives in a child process that is restarted when it fails."""

    def __init__(self, reference: str, questions: Sequence[Question], limits: Limits) -> None:
        check_reference(reference)
        self._reference = reference
        self._operations = [case.operation for case, _ in questions]
        self._limits = limits
        self._cancelled = threading.Event()
        self._child: Child | None = None
        self._printed = ""
        self._given_up = GivingUp()
        self._folder = tempfile.TemporaryDirectory(prefix="quant-conformance-")
        self._file = Path(self._folder.name) / "questions.pickle"
        self._file.write_bytes(pickle.dumps(list(questions), protocol=5))
        try:
            self.hello = self._start()
        except BaseException:
            self._close()
            raise

    @property
    def printed(self) -> str:
        """What the last process printed, by whatever way; read it once the process has ended."""
        return self._printed

    def run(self, indices: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
        """Asks the questions at ``indices``, restarting the child where it fails."""
        if self.hello.problem is not None:
            raise UsageError(self.hello.text)
        waiting = deque(indices)
        while waiting and not self._cancelled.is_set():
            if self._operations[waiting[0]] in self._given_up:
                index = waiting.popleft()
                yield index, self._given_up.not_run(self._operations[index])
            elif (hello := self._started()).problem is not None:
                # Never mind which case comes next: it would wait for one more start that fails.
                while waiting:
                    yield waiting.popleft(), Outcome("died", text=f"on restart {hello.text}")
            else:
                yield from self._ask(waiting)

    def _ask(self, waiting: deque[int]) -> Iterator[tuple[int, Outcome]]:
        """Lets the child answer what is waiting, up to its first failure."""
        child = self._child
        if child is None:
            return
        asked = [i for i in waiting if self._operations[i] not in self._given_up]
        answered = 0
        try:
            child.send(asked)
            failure = self._prepared(child)
            if failure is not None:
                while waiting:  # prepare() would be asked the same again
                    yield waiting.popleft(), failure
            for index in asked if failure is None else ():
                outcome = self._receive(child, index)
                if self._cancelled.is_set():
                    return
                waiting.remove(index)  # near the left end, so this is quick
                answered += outcome.kind not in GIVE_UP_AFTER
                self._given_up.count(self._operations[index], outcome)
                yield index, outcome
                if outcome.kind in GIVE_UP_AFTER:
                    return
        finally:
            if answered < len(asked):  # it failed, or the caller stopped listening
                self._stop_child()

    def _prepared(self, child: Child) -> Outcome | None:
        """Waits for ``Backend.prepare``; returns what is to be said of every case if it fails."""
        try:
            ready = child.receive(self._limits.start_timeout, self._cancelled)
        except TimeoutError:
            seconds = self._limits.start_timeout
            return Outcome("timed_out", text=f"prepare() did not return within {seconds:g} s")
        except ChildDiedError:
            return Outcome("died", text=f"in prepare(): {child.obituary()}")
        return None if ready == READY else Outcome("died", text="the process answered out of turn")

    def _receive(self, child: Child, index: int) -> Outcome:
        seconds = self._limits.timeout * self.hello.patience
        try:
            answer = child.receive(seconds, self._cancelled)
        except TimeoutError:
            return Outcome("timed_out", text=f"no answer within {seconds:g} s")
        except ChildDiedError:
            return Outcome("died", text=child.obituary())
        if not (isinstance(answer, tuple) and len(answer) == 2 and answer[0] == index):
            return Outcome("died", text="the process answered out of turn")
        outcome: Outcome = answer[1]
        return outcome

    def _started(self) -> Hello:
        return self.hello if self._child is not None else self._start()

    def _start(self) -> Hello:
        child = Child(
            _CHILD,
            [str(self._file), self._reference, self._limits.tier],
            Path(self._folder.name),
            ONE_THREAD if is_builtin(self._reference) else None,
        )
        self._child = child
        name = display_name(self._reference)
        try:
            hello = child.receive(self._limits.start_timeout, self._cancelled)
        except TimeoutError:
            text = f"did not start within {self._limits.start_timeout:g} s"
            hello = Hello(name, problem="crashed", text=text)
        except ChildDiedError:
            hello = Hello(name, problem="crashed", text=f"did not start: {child.obituary()}")
        if not isinstance(hello, Hello):
            hello = Hello(name, problem="crashed", text="did not start properly")
        if hello.problem is not None:
            self._stop_child()
        return hello

    def cancel(self) -> None:
        """Makes ``run`` end early; may be called from another thread."""
        self._cancelled.set()

    def _stop_child(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._printed = self._child.printed
            self._child = None

    def _close(self) -> None:
        self._stop_child()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
