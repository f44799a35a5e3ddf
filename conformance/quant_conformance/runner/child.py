"""The child process of an isolated backend: loads it, answers questions until told to stop.

Started by isolated.py. The expected answers never come here, and what goes back is plain data
(arrays, text), so nothing that the backend defines has to be unpickled by the parent.
"""

from __future__ import annotations

import ctypes
import gc
import pickle
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from quant_conformance.process import die_with_parent
from quant_conformance.protocol import Backend
from quant_conformance.runner.captured import Captured
from quant_conformance.runner.invoke import announce, close, invoke
from quant_conformance.runner.loading import open_backend
from quant_conformance.runner.questions import READY, Question
from quant_conformance.verdicts.outcome import Outcome


def main(handle: int, questions_file: str, reference: str, tier: str) -> None:
    """Runs the child.

    Args:
        handle: file descriptor of the connection to the parent.
        questions_file: pickled list of questions.
        reference: the backend.
        tier: "quick" or "full".
    """
    connection = Connection(handle)
    die_with_parent()
    questions: list[Question] = pickle.loads(Path(questions_file).read_bytes())
    try:
        backend, hello = open_backend(reference)
    except KeyboardInterrupt:  # Ctrl-C does not reach this process: the backend raised it
        sys.exit("the backend raised KeyboardInterrupt when it was opened")
    connection.send(hello)
    printed, flush_c = Captured(forward=1), _c_flush()  # the parent reads our standard output
    # Converters collect garbage often; the questions and whole frameworks are none.
    gc.freeze()
    while backend is not None:
        try:
            indices: list[int] = connection.recv()
        except EOFError:
            close(backend)
            return
        try:
            announce(backend, [questions[index] for index in indices], printed)
        except KeyboardInterrupt:
            sys.exit("prepare() raised KeyboardInterrupt")
        connection.send(READY)
        for index in indices:
            outcome = _invoke(backend, questions[index], tier, printed)
            flush_c()
            connection.send((index, outcome))


def _invoke(backend: Backend, question: Question, tier: str, printed: Captured) -> Outcome:
    try:
        return invoke(backend, *question, tier, printed)
    except KeyboardInterrupt:
        return Outcome("raised", text="KeyboardInterrupt")


def _c_flush() -> Callable[[], object]:
    """Returns what empties the buffers of C's own output, which a killed process would lose."""
    try:
        flush = ctypes.CDLL(None).fflush
    except (AttributeError, OSError):  # no C library under that name
        return lambda: None
    return lambda: flush(None)
