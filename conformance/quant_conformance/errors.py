"""Errors of the suite itself; what a backend does wrong is a verdict and never raised."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConformanceError(Exception):
    """Base of the suite's errors."""


class UsageError(ConformanceError):
    """The command or call names something that does not exist or makes no sense (exit code 2)."""


class ExpectationsError(ConformanceError):
    """An expectations file that cannot be read or that has an invalid entry (exit code 2)."""


class ResultsError(ConformanceError):
    """A results file that cannot be read or that does not follow its schema (exit code 2)."""


def unknown(what: str, given: str, allowed: Iterable[str]) -> UsageError:
    """Builds the error for a name that is not among ``allowed``, with the closest ones."""
    names = sorted(allowed)
    close = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    if close:
        hint = f"did you mean {' or '.join(close)}?"
    elif len(names) > 20:
        hint = f"there are {len(names)}, the first are {', '.join(names[:5])}"
    else:
        hint = f"allowed: {', '.join(names) or 'none'}"
    return UsageError(f"unknown {what} {given!r}; {hint}")
