"""What can go wrong between a saved model and its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class ExecutorError(Exception):
    """A model that cannot be loaded or run; the text says which and why."""


class UnreadableProgramError(ExecutorError):
    """A file whose program has a form that is not known."""


class UnloadableProgramError(UnreadableProgramError):
    """A file that not even its own system can load."""


class UnsupportedOperationError(ExecutorError, NotImplementedError):
    """The evaluator lacks operations of the program, or a form of one.

    Attributes:
        operations: their types, sorted.
    """

    def __init__(self, operations: Iterable[str], detail: str = "") -> None:
        self.operations = tuple(sorted(set(operations)))
        named = ", ".join(self.operations)
        super().__init__(f"unsupported: {named}" + (f" ({detail})" if detail else ""))


def check_feeds(feeds: Mapping[str, Any], expected: Sequence[str]) -> None:
    """Raises ExecutorError unless exactly the inputs of the model are given."""
    missing = [name for name in expected if name not in feeds]
    surplus = [name for name in feeds if name not in expected]
    if missing or surplus:
        raise ExecutorError(
            f"inputs given: {sorted(feeds)}; the model takes {list(expected)}"
            + (f"; missing: {missing}" if missing else "")
        )
