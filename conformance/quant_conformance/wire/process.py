"""A program of somebody else: run with limits, in a folder of its own, and ended for certain."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from quant_conformance.process import ending_of, kill_marked, new_mark
from quant_conformance.wire.limits import Options

_TAIL_BYTES = 1 << 15
_SHOWN = 300
_MAX_ENTRIES = 10_000

# exec makes the program itself the process; what the system cannot limit is not limited.
_START = """\
ulimit -c 0 2>/dev/null
ulimit -f "$1" 2>/dev/null
[ "$2" = 0 ] || ulimit -v "$2" 2>/dev/null
shift 2
exec "$@"
"""


class Program:
    """One running program.

    Args:
        words: the program and its arguments.
        folder: where it runs, with its temporary files.
        options: its limits.
        piped: whether standard input and output carry records; else they are empty and captured.
    """

    def __init__(
        self, words: Sequence[str], folder: Path, options: Options, *, piped: bool
    ) -> None:
        self._folder = folder
        self._limit = options.output_bytes
        self._mark = new_mark("PROGRAM")
        self._tail = b""
        self._size = 0
        blocks, kilobytes = str(options.output_bytes // 512 + 1), str(options.memory_bytes // 1024)
        environment = {**os.environ, "TMPDIR": str(folder), **self._mark}
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _START, "sh", blocks, kilobytes, *words],
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if piped else subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
            bufsize=0,
        )
        printed = self._process.stderr if piped else self._process.stdout
        self._piped = self._process.stdout if piped else None  # else the reader closes it
        self._reader = threading.Thread(target=self._drain, args=[printed], daemon=True)
        self._reader.start()

    @property
    def pipes(self) -> tuple[int, int]:
        """File descriptors of its standard input and output, if they are piped."""
        given, taken = self._process.stdin, self._process.stdout
        if given is None or taken is None:
            raise ValueError("the program has no pipes")
        return given.fileno(), taken.fileno()

    def finish(self) -> None:
        """Ends its input, and gives it a second to end by itself."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            self.wait(1)

    @property
    def printed(self) -> str:
        """The end of what it printed."""
        return self._tail.decode("utf-8", "replace")

    def ended(self) -> bool:
        """Tells whether the process is over."""
        return self._process.poll() is not None

    def overrun(self) -> str | None:
        """Says which limit of output it went over, if any."""
        if self._size > self._limit:
            return f"it printed more than {self._limit} bytes"
        if folder_bytes(self._folder, self._limit) > self._limit:
            return f"it wrote more than {self._limit} bytes into its folder"
        return None

    def wait(self, seconds: float) -> str | None:
        """Waits for its end.

        Returns:
            None if it ended, or why it had to be ended.

        Raises:
            TimeoutError: it did not end in time.
        """
        end = time.monotonic() + seconds
        pause = 0.005
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(pause)
                return None
            overrun = self.overrun()
            if overrun is not None:
                return overrun
            if time.monotonic() > end:
                raise TimeoutError
            pause = min(2 * pause, 0.2)

    def ending(self) -> str:
        """Says how it ended and what it printed last."""
        try:
            code = self._process.wait(2)
        except subprocess.TimeoutExpired:
            return "the program closed its output"
        self._reader.join(0.5)
        tail = "".join(c if c.isprintable() else " " for c in self.printed.strip())[-_SHOWN:]
        return f"the program {ending_of(code)}" + (f"; it printed: {tail}" if tail else "")

    @property
    def failed(self) -> bool:
        """Whether it ended with anything but exit code 0."""
        return self._process.poll() != 0

    def end(self) -> None:
        """Ends it, with everything that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        # What has left the session still has the variable that it was started with.
        kill_marked(self._mark)
        self._reader.join(1)
        for stream in (self._process.stdin, self._piped):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _drain(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(stream.fileno(), 1 << 16):
                self._size += len(chunk)
                self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
            stream.close()


def folder_bytes(folder: Path, limit: int) -> int:
    """Adds up what a folder holds, without following links, up to a limit."""
    total = entries = 0
    for place, _, names in os.walk(folder):
        for name in names:
            entries += 1
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
            if total > limit or entries > _MAX_ENTRIES:
                return limit + 1
    return total
