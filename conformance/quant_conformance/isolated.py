"""Runs a backend in a process of its own: a crash, a hang or an exit is a verdict on one case."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from quant_conformance.errors import UsageError
from quant_conformance.invoke import Kind, Outcome
from quant_conformance.loading import Hello, check_reference, display_name
from quant_conformance.questions import Limits, Question

GIVE_UP_AFTER: dict[Kind, int] = {"timed_out": 5, "died": 20}
"""After so many in a row of one operation, its other cases are not run but get the same verdict:
a backend that hangs on everything would else take hours."""

_START = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from quant_conformance.child import main
main(int(sys.argv[2]), *sys.argv[3:])
"""

_POLL_SECONDS = 0.25
_TAIL_BYTES = 4096
_SHOWN_TAIL = 300


class _ChildDiedError(Exception):
    pass


class Isolated:
    """An executor whose backend lives in a child process that is restarted when it fails."""

    def __init__(self, reference: str, questions: Sequence[Question], limits: Limits) -> None:
        check_reference(reference)
        self._reference = reference
        self._operations = [case.operation for case, _ in questions]
        self._limits = limits
        self._cancelled = threading.Event()
        self._child: _Child | None = None
        self._in_a_row: Counter[str] = Counter()
        self._given_up: dict[str, Kind] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="quant-conformance-")
        self._file = Path(self._folder.name) / "questions.pickle"
        self._file.write_bytes(pickle.dumps(list(questions), protocol=5))
        try:
            self.hello = self._start()
        except BaseException:
            self._close()
            raise

    def run(self, indices: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
        """Asks the questions at ``indices``, restarting the child where it fails."""
        if self.hello.problem is not None:
            raise UsageError(self.hello.text)
        waiting = deque(indices)
        while waiting and not self._cancelled.is_set():
            if self._operations[waiting[0]] in self._given_up:
                yield self._not_run(waiting.popleft())
            elif (hello := self._started()).problem is not None:
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
            for index in asked:
                outcome = self._receive(child, index)
                if self._cancelled.is_set():
                    return
                waiting.remove(index)  # near the left end, so this is quick
                answered += outcome.kind not in GIVE_UP_AFTER
                self._count(index, outcome)
                yield index, outcome
                if outcome.kind in GIVE_UP_AFTER:
                    return
        finally:
            if answered < len(asked):  # it failed, or the caller stopped listening
                self._stop_child()

    def _receive(self, child: _Child, index: int) -> Outcome:
        try:
            answer = child.receive(self._limits.timeout, self._cancelled)
        except TimeoutError:
            return Outcome("timed_out", text=f"no answer within {self._limits.timeout:g} s")
        except _ChildDiedError:
            return Outcome("died", text=child.obituary())
        if not (isinstance(answer, tuple) and len(answer) == 2 and answer[0] == index):
            return Outcome("died", text="the process answered out of turn")
        outcome: Outcome = answer[1]
        return outcome

    def _count(self, index: int, outcome: Outcome) -> None:
        operation = self._operations[index]
        if outcome.kind not in GIVE_UP_AFTER:
            self._in_a_row[operation] = 0
            return
        self._in_a_row[operation] += 1
        if self._in_a_row[operation] >= GIVE_UP_AFTER[outcome.kind]:
            self._given_up[operation] = outcome.kind

    def _not_run(self, index: int) -> tuple[int, Outcome]:
        operation = self._operations[index]
        kind = self._given_up[operation]
        times = GIVE_UP_AFTER[kind]
        word = {"timed_out": "timed out", "died": "died"}[kind]
        return index, Outcome(kind, text=f"not run: {operation} {word} {times} times in a row")

    def _started(self) -> Hello:
        return self.hello if self._child is not None else self._start()

    def _start(self) -> Hello:
        child = _Child(str(self._file), self._reference, self._limits.tier)
        self._child = child
        name = display_name(self._reference)
        try:
            hello = child.receive(self._limits.start_timeout, self._cancelled)
        except TimeoutError:
            text = f"did not start within {self._limits.start_timeout:g} s"
            hello = Hello(name, problem="crashed", text=text)
        except _ChildDiedError:
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


class _Child:
    """One child process, the connection to it and the tail of what it prints."""

    def __init__(self, questions_file: str, reference: str, tier: str) -> None:
        self._connection, theirs = Pipe()
        path = json.dumps([entry or str(Path.cwd()) for entry in sys.path])
        handle = theirs.fileno()
        command = [sys.executable, "-c", _START, path, str(handle), questions_file]
        # Whatever a killed process leaves in its temporary folder goes with ours.
        environment = {**os.environ, "TMPDIR": str(Path(questions_file).parent)}
        self._process = subprocess.Popen(
            [*command, reference, tier],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=[handle],
            start_new_session=True,  # Ctrl-C is for us; and its children die with it
        )
        theirs.close()
        self._tail = b""
        self._reader = threading.Thread(target=self._drain, args=[self._process.stdout])
        self._reader.daemon = True
        self._reader.start()

    def send(self, indices: list[int]) -> None:
        # A few kilobytes at most, and the child is waiting for them: this cannot block.
        with contextlib.suppress(OSError):  # it died since; receive() says so
            self._connection.send(indices)

    def receive(self, seconds: float, cancelled: threading.Event) -> Any:
        """Returns the next message.

        Raises:
            TimeoutError: nothing came in time.
            _ChildDiedError: nothing will come.
        """
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            try:
                if self._connection.poll(max(0.0, min(left, _POLL_SECONDS))):
                    return self._connection.recv()
            except (EOFError, OSError, pickle.UnpicklingError) as error:
                raise _ChildDiedError from error
            # The connection stays open while a grandchild holds it.
            if self._process.poll() is not None and not self._connection.poll(0):
                raise _ChildDiedError
            if cancelled.is_set() or left <= 0:
                raise TimeoutError

    def obituary(self) -> str:
        """Says how the process ended and what it printed last."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "the process closed its connection"
        self._reader.join(1)
        how = f"exited with code {code}" if code >= 0 else f"died of {_signal_name(-code)}"
        tail = self._tail.decode("utf-8", "replace").strip()
        printed = "".join(c if c.isprintable() else " " for c in tail)[-_SHOWN_TAIL:]
        return f"the process {how}" + (f"; it printed: {printed}" if printed else "")

    def kill(self) -> None:
        """Ends the process and its children, and waits for the end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._connection.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._reader.join(1)

    def _drain(self, stream: IO[bytes]) -> None:
        while chunk := os.read(stream.fileno(), 1 << 16):
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
        stream.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
