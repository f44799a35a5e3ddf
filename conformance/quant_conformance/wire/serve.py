"""Answers questions with a backend in Python: ``python -m quant_conformance.wire.serve BACKEND``.

With two files as further arguments, the questions of the first are answered into the second;
without, records come from standard input and go to standard output. It is the other end of the
wire for a backend that runs on another machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from quant_conformance.protocol import Backend
from quant_conformance.runner.captured import Captured
from quant_conformance.runner.invoke import announce, invoke
from quant_conformance.runner.loading import open_backend
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.wire.formats import FORMATS, read_file
from quant_conformance.wire.model import Record, Status
from quant_conformance.wire.raw import ANSWERS, HEADER, header, record_bytes, record_of
from quant_vectors import Case

_STATUS: dict[str, Status] = {"answer": "answered", "unsupported": "unsupported"}


def answer_of(backend: Backend, question: Record, printed: Captured) -> Record:
    """Asks a backend a question and writes its answer down."""
    outcome = invoke(backend, case_of(question), question.tensors, "full", printed)
    status = "refused" if outcome.refused else _STATUS.get(outcome.kind, "failed")
    return _written(question.id, status, outcome)


def case_of(question: Record) -> Case:
    """Builds the case of a question, without an answer."""
    attributes = question.attributes
    return Case(
        id=f"question/{question.id}",
        family=question.text,
        operation=question.text,
        clauses=(),
        flags=(),
        comment="",
        spec=attributes.get("spec"),
        target=attributes.get("target"),
        arguments=attributes.get("arguments", {}),
        inputs={name: name for name in question.tensors},
    )


def _written(number: int, status: Status, outcome: Outcome) -> Record:
    arrays = {k: v for k, v in outcome.outputs.items() if isinstance(v, np.ndarray)}
    plain = {k: v for k, v in outcome.outputs.items() if k not in arrays}
    return Record(number, status, outcome.text, plain, arrays)


def _serve_files(backend: Backend, requests: Path, responses: Path, printed: Captured) -> None:
    fmt = next(fmt for fmt in FORMATS.values() if fmt.suffix == requests.suffix)
    contents = read_file(requests, fmt)
    if contents.fault:
        sys.exit(f"{requests} {contents.fault}")
    asked = [(case_of(question), question.tensors) for question in contents.records]
    announce(backend, asked, printed)
    answers = [answer_of(backend, question, printed) for question in contents.records]
    responses.write_bytes(fmt.write(answers))


def _serve_pipe(backend: Backend, source: BinaryIO, sink: BinaryIO, printed: Captured) -> None:
    source.read(HEADER.size)
    sink.write(header(ANSWERS))
    while size := source.read(4):
        question = record_of(size + source.read(int.from_bytes(size, "little")))
        sink.write(record_bytes(answer_of(backend, question, printed)))
        sink.flush()


def main(arguments: Sequence[str]) -> int:
    """Answers until the questions end."""
    backend, hello = open_backend(arguments[0])
    if backend is None:
        print(hello.text, file=sys.stderr)
        return 2
    printed = Captured(forward=2)
    if len(arguments) == 3:
        _serve_files(backend, Path(arguments[1]), Path(arguments[2]), printed)
        return 0
    # What the backend's libraries print must not get among the answers.
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve_pipe(backend, sys.stdin.buffer, sink, printed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
