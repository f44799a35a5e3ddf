"""Asks the Core AI process, starts it again where it fails, and says how it failed."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from quant_conformance.process import Child, ChildDiedError
from quant_conformance.runtimes.coreai.requests import Request
from quant_conformance.runtimes.coreai.types import Array

WORKER = "quant_conformance.runtimes.coreai.worker"


class CoreAIError(Exception):
    """Core AI refused or failed; the text is its own."""


class CoreAICrashError(CoreAIError):
    """The process that Core AI runs in died."""


class Runtime:
    """Core AI in a child process that is started when it is first needed.

    Args:
        timeout: seconds for one message (a whole batch of requests, or one run of a model).
        start_timeout: seconds to start the process and import Core AI.
    """

    def __init__(self, timeout: float = 30.0, start_timeout: float = 120.0) -> None:
        self._timeout = timeout
        self._start_timeout = start_timeout
        self._process = _Process()
        # A backend has no end of its own: the process goes with this object, or at exit.
        self.close = weakref.finalize(self, self._process.remove)

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Sends one message and returns the answer.

        Raises:
            CoreAIError: Core AI raised; the process lives on.
            CoreAICrashError: the process died.
            TimeoutError: no answer in time; the process was ended.
        """
        child = self._process.child
        if child is None:
            child = self._process.start()
            self._receive(child, self._start_timeout)
        child.send((verb, *arguments))
        return self._receive(child, self._timeout)

    @property
    def alive(self) -> bool:
        """Whether the process lives, with whatever was opened in it."""
        return self._process.child is not None

    def _receive(self, child: Child, seconds: float) -> Any:
        try:
            kind, value = child.receive(seconds)
        except TimeoutError:
            self._process.stop()
            raise TimeoutError(f"Core AI gave no answer within {seconds:g} s") from None
        except ChildDiedError:
            obituary = child.obituary()
            self._process.stop()
            raise CoreAICrashError(f"Core AI: {obituary}") from None
        if kind == "error":
            raise CoreAIError(value)
        return value


class _Process:
    """The child and the folder that its assets go to."""

    def __init__(self) -> None:
        self.child: Child | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="quant-conformance-coreai-")

    def start(self) -> Child:
        self.child = Child(WORKER, [], Path(self._folder.name))
        return self.child

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child = None

    def remove(self) -> None:
        self.stop()
        self._folder.cleanup()


def answer_all(
    runtime: Runtime, requests: Sequence[Request]
) -> Iterator[tuple[Request, Array | Exception]]:
    """Answers requests as one program, and those of a program that fails in ever smaller ones.

    So one request that the system refuses, crashes or hangs on costs no other its answer.
    """
    if not requests:
        return
    try:
        answers = runtime.ask("answer", list(requests))
    except (CoreAIError, TimeoutError) as error:
        if len(requests) == 1:
            yield requests[0], error
            return
        half = len(requests) // 2
        yield from answer_all(runtime, requests[:half])
        yield from answer_all(runtime, requests[half:])
    else:
        yield from zip(requests, answers, strict=True)
