"""When the other cases of an operation are no longer run."""

from __future__ import annotations

from collections import Counter

from quant_conformance.verdicts.outcome import Kind, Outcome

GIVE_UP_AFTER: dict[Kind, int] = {"timed_out": 5, "died": 20}
"""After so many in a row of one operation, its other cases are not run but get the same verdict:
a backend that hangs on everything would else take hours."""

_WORDS = {"timed_out": "timed out", "died": "died"}


class GivingUp:
    """Counts failures in a row, by operation."""

    def __init__(self) -> None:
        self._in_a_row: Counter[str] = Counter()
        self._given_up: dict[str, Kind] = {}

    def __contains__(self, operation: str) -> bool:
        """Tells whether the cases of an operation are no longer run."""
        return operation in self._given_up

    def count(self, operation: str, outcome: Outcome) -> None:
        """Records what came of a case."""
        if outcome.kind not in GIVE_UP_AFTER:
            self._in_a_row[operation] = 0
            return
        self._in_a_row[operation] += 1
        if self._in_a_row[operation] >= GIVE_UP_AFTER[outcome.kind]:
            self._given_up[operation] = outcome.kind

    def not_run(self, operation: str) -> Outcome:
        """What is said of a case that is not run."""
        kind = self._given_up[operation]
        times = GIVE_UP_AFTER[kind]
        return Outcome(kind, text=f"not run: {operation} {_WORDS[kind]} {times} times in a row")
