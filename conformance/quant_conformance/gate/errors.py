"""What the gate cannot judge, and why."""

from __future__ import annotations

from quant_conformance.errors import ConformanceError
from quant_conformance.runtimes import UnsupportedOperationError


class GateError(ConformanceError):
    """A model, config, data or file that cannot be judged; the text says what is missing."""


class UnreadableProgramError(GateError):
    """A file whose program has a form that the gate does not know."""


class UnloadableProgramError(UnreadableProgramError):
    """A file that not even its own system can load."""


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
