"""What the gate cannot judge, and why."""

from __future__ import annotations

from itertools import takewhile

from quant_conformance.errors import ConformanceError
from quant_conformance.runtimes.errors import UnreadableProgramError, UnsupportedOperationError


class GateError(ConformanceError):
    """A model, config, data or file that cannot be judged; the text says what is missing."""


def verdict_of(error: Exception) -> str:
    """The verdict on a file that could not be judged: what that was due to.

    Args:
        error: what opening or running the file raised.

    Returns:
        "timed_out"; "unsupported" where the program cannot be read or has an operation that the
        evaluator lacks; "crashed" where an exporter or a runtime failed or died.
    """
    if isinstance(error, TimeoutError):
        return "timed_out"
    if isinstance(error, UnsupportedOperationError | UnreadableProgramError):
        return "unsupported"
    return "crashed"


def told(error: Exception) -> str:
    """What an error says: its first line, with the lines that are indented below it."""
    heading, *rest = str(error).strip().splitlines() or [""]
    # What is indented below a line belongs to it, such as each tensor that a backend refuses.
    details = [line.strip() for line in takewhile(lambda line: line.startswith("  "), rest)]
    return f"{type(error).__name__}: {'; '.join([heading, *details])[:500]}"
