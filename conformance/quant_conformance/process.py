"""A child process with a connection, a time limit per message and a tail of what it prints."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import IO, Any

_START = """\
import json, sys
from importlib import import_module
sys.path[:] = json.loads(sys.argv[1])
import_module(sys.argv[2]).main(int(sys.argv[3]), *sys.argv[4:])
"""

_POLL_SECONDS = 0.25
_TAIL_BYTES = 1 << 15
_SHOWN_TAIL = 300


class ChildDiedError(Exception):
    """The process ended, or closed its connection, before it answered."""


class Child:
    """One child process: calls ``main(handle, *arguments)`` of a module.

    ``handle`` is the file descriptor of a ``multiprocessing.connection.Connection`` to here.

    Args:
        module: the module.
        arguments: for its ``main``.
        folder: for temporary files.
        variables: defaults of environment variables; what is set here counts.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        folder: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._connection, theirs = Pipe()
        path = json.dumps([entry or str(Path.cwd()) for entry in sys.path])
        handle = theirs.fileno()
        command = [sys.executable, "-c", _START, path, module, str(handle), *arguments]
        # Whatever a killed process leaves in its temporary folder goes with ours.
        self._mark = new_mark("CHILD")
        environment = {**(variables or {}), **os.environ, "TMPDIR": str(folder), **self._mark}
        self._process = subprocess.Popen(
            command,
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

    def send(self, message: object) -> None:
        """Sends a message; the child must be waiting for it, or a large one blocks."""
        with contextlib.suppress(OSError):  # it died since; receive() says so
            self._connection.send(message)

    def receive(self, seconds: float, cancelled: threading.Event | None = None) -> Any:
        """Returns the next message.

        Raises:
            TimeoutError: nothing came in time.
            ChildDiedError: nothing will come.
        """
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            try:
                if self._connection.poll(max(0.0, min(left, _POLL_SECONDS))):
                    return self._connection.recv()
            except (EOFError, OSError, pickle.UnpicklingError) as error:
                raise ChildDiedError from error
            # The connection stays open while a grandchild holds it.
            if self._process.poll() is not None and not self._connection.poll(0):
                raise ChildDiedError
            if (cancelled is not None and cancelled.is_set()) or left <= 0:
                raise TimeoutError

    def obituary(self) -> str:
        """Says how the process ended and what it printed last."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "the process closed its connection"
        self._reader.join(1)
        how = ending_of(code)
        tail = self.printed.strip()
        printed = "".join(c if c.isprintable() else " " for c in tail)[-_SHOWN_TAIL:]
        return f"the process {how}" + (f"; it printed: {printed}" if printed else "")

    @property
    def printed(self) -> str:
        """The end of what the process has printed so far."""
        return self._tail.decode("utf-8", "replace")

    def kill(self) -> None:
        """Ends the process and its children, and waits for the end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        kill_marked(self._mark)
        self._connection.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._reader.join(1)

    def _drain(self, stream: IO[bytes]) -> None:
        while chunk := os.read(stream.fileno(), 1 << 16):
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
        stream.close()


def die_with_parent() -> None:
    """Ends this (child) process when its parent does, even in the middle of a message.

    The parent holds the other end of standard input open and writes nothing to it; what runs
    here gets an empty standard input instead.
    """
    lifeline = os.dup(0)
    with open(os.devnull, "rb") as empty:
        os.dup2(empty.fileno(), 0)

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(3)

    threading.Thread(target=wait, daemon=True, name="lifeline").start()


def new_mark(who: str) -> dict[str, str]:
    """Returns a variable by which a process is known, and whatever it starts."""
    return {f"QUANT_CONFORMANCE_{who}": uuid.uuid4().hex}


def kill_marked(mark: Mapping[str, str]) -> None:
    """Kills the processes that have a variable, also those that have left the session.

    They are found in ``/proc``; where there is none, nothing is done.
    """
    ((name, value),) = mark.items()
    entry = f"{name}={value}".encode()
    for _ in range(20):  # one that is killed may have started another
        found = [number for number in _processes() if entry in _environment(number)]
        for number in found:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)
        if not found:
            return
        time.sleep(0.01)


def _processes() -> list[int]:
    if not os.path.isdir("/proc/self"):
        return []
    return [
        int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()
    ]


def _environment(number: int) -> list[bytes]:
    try:
        return Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
    except OSError:  # it is gone, or somebody else's
        return []


def ending_of(code: int) -> str:
    """Says how a process ended, of the code that ``subprocess`` gives."""
    return f"exited with code {code}" if code >= 0 else f"died of {_signal_name(-code)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
