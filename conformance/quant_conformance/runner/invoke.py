"""Asks a backend one case and records whatever happens, in the process that it runs in."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from quant_conformance.operations import OPERATIONS, MalformedAnswer
from quant_conformance.protocol import Array, Backend, implements
from quant_conformance.runner.captured import Captured
from quant_conformance.runner.case_backend import CaseBackend
from quant_conformance.runner.protocol_check import misspelt
from quant_conformance.runner.tracebacks import place_of, trace_of
from quant_conformance.verdicts.outcome import Outcome

if TYPE_CHECKING:
    from quant_vectors import Case

_LOG = logging.getLogger(__name__)

MAX_TEXT = 2000
"""Longest text of a backend that a result keeps, in characters."""

_BLUNDERS = (NameError, AttributeError, ImportError, MemoryError, RecursionError)
"""Exceptions that no one raises to refuse an argument: they mean that the backend is broken."""


def announce(
    backend: Backend,
    questions: Sequence[tuple[Case, Mapping[str, Array]]],
    printed: Captured | None = None,
) -> None:
    """Tells the backend what will be asked; if it cannot take that, it is asked all the same.

    Args:
        backend: the backend.
        questions: the cases and their inputs.
        printed: takes what the backend prints.
    """
    if not implements(backend, "prepare"):
        return
    copies = [
        (case, {n: _copy(t) for n, t in tensors.items()})
        for case, tensors in questions
        if not is_left_to_the_caller(backend, case)
    ]
    try:
        with _contained(printed):
            backend.prepare(copies)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _LOG.warning("%s: prepare: %s", backend.name, describe(error))


def close(backend: Backend) -> None:
    """Ends what a backend may have started."""
    if isinstance(backend, CaseBackend):
        backend.close()


def invoke(
    backend: Backend,
    case: Case,
    tensors: Mapping[str, Array],
    tier: str,
    printed: Captured | None = None,
) -> Outcome:
    """Asks ``backend`` one case.

    Args:
        backend: the backend; only KeyboardInterrupt escapes from it.
        case: the case.
        tensors: its inputs; the backend gets copies.
        tier: "quick" or "full", for backends that leave costly cases out of the quick one.
        printed: takes what the backend prints.
    """
    operation = OPERATIONS.get(case.operation)
    if operation is None:
        return Outcome("unsupported", text=f"this suite has no operation {case.operation!r}")
    whole = isinstance(backend, CaseBackend)
    if not whole and not implements(backend, operation.method):
        return _lacking(backend, operation.method)
    copies = {name: _copy(tensor) for name, tensor in tensors.items()}
    try:
        arguments = operation.arguments(case, copies)
    except (KeyError, ValueError, TypeError) as error:
        return Outcome("invalid", text=describe(error))
    try:
        with _contained(printed):
            outcome = _not_to_be_asked(backend, case, tier)
            if outcome is None and isinstance(backend, CaseBackend):
                outcome = backend.ask(case, copies)
            elif outcome is None:
                answer = getattr(backend, operation.method)(*arguments)
                outcome = Outcome("answer", outputs=operation.outputs(answer))
    except KeyboardInterrupt:
        raise
    except MalformedAnswer as error:
        outcome = Outcome("malformed", text=str(error))
    except NotImplementedError as error:
        outcome = Outcome("unsupported", text=_shortened(str(error)) or "not implemented")
    except BaseException as error:  # a verdict, whatever it is
        refused = isinstance(error, Exception) and not isinstance(error, _BLUNDERS)
        text = _placed(describe(error), error, backend)
        outcome = Outcome("raised", text=text, refused=refused, trace=trace_of(error))
    mutated = tuple(name for name in tensors if not _same(tensors[name], copies[name]))
    return outcome if not mutated else _with_mutation(outcome, mutated)


def _not_to_be_asked(backend: Backend, case: Case, tier: str) -> Outcome | None:
    """The outcome of a case that the backend leaves out or does not support, else None."""
    if not backend.selects(case, tier):
        return Outcome("left_out")
    reason = backend.supports(case)
    if reason is not None:
        return _unsupported(reason)
    if is_left_to_the_caller(backend, case):
        return Outcome("unsupported", text="does not check its input: that is the caller's")
    return None


def _lacking(backend: Backend, method: str) -> Outcome:
    text, near = f"the backend has no {method}()", misspelt(backend, method)
    return Outcome("unsupported", text=f"{text}; is {near}() meant?" if near else text)


def _unsupported(reason: object) -> Outcome:
    if not isinstance(reason, str):
        text = (
            f"supports() returned {reason!r}; allowed: None if the case can be asked, else a text"
        )
        return Outcome("raised", text=_shortened(text))
    return Outcome("unsupported", text=_shortened(reason) or "supports() gives no reason")


def is_left_to_the_caller(backend: Backend, case: Case) -> bool:
    """Tells whether a case must be refused that a kernel without checks leaves to its caller.

    Such a kernel is not asked: what it does with bad arguments is undefined, and may take the
    cases after this one with it.
    """
    return (
        case.result == "refused"
        and case.operation not in ("validate_spec", "default_axis")
        and not backend.checks_input
    )


def describe(error: BaseException) -> str:
    """Returns type and text of an exception as one line, even of one whose text fails."""
    try:
        text = str(error)
    except BaseException:  # a hostile __str__
        text = "(its text cannot be had)"
    name = type(error).__name__
    return _shortened(f"{name}: {text}" if text else name)


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _same(before: Array, after: Array) -> bool:
    # Shape and dtype too: an array can be reshaped and reinterpreted in place.
    return (
        before.shape == after.shape
        and before.dtype == after.dtype
        and before.tobytes() == after.tobytes()
    )


def _with_mutation(outcome: Outcome, mutated: tuple[str, ...]) -> Outcome:
    return replace(outcome, mutated=mutated)


def _copy(tensor: Array) -> Array:
    return np.array(tensor, order="C", copy=True)


def _placed(text: str, error: BaseException, backend: Backend) -> str:
    """Adds the line of the backend that an exception comes from."""
    place = place_of(error, type(backend))
    return text if place is None else f"{text} ({place})"


@contextmanager
def _contained(printed: Captured | None) -> Iterator[None]:
    """Takes what is printed and restores the process-wide modes that a backend may set."""
    sink = Captured() if printed is None else printed
    # A fresh warning filter: neither a backend's own nor ours in tests may decide a verdict.
    quiet = warnings.catch_warnings(action="ignore")
    with redirect_stdout(sink), redirect_stderr(sink), quiet, np.errstate():
        yield
