"""Compares two results files: what got better, what got worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from quant_conformance.errors import UsageError
from quant_conformance.verdicts.verdict import RANK, Verdict

Kind = Literal["worse", "better", "changed", "new", "gone"]
KINDS: tuple[Kind, ...] = ("worse", "better", "changed", "new", "gone")
"""In the order of showing."""


@dataclass(frozen=True)
class Change:
    """One case of one backend whose verdict or policy is not what it was.

    Attributes:
        backend: the backend.
        id: the case.
        kind: "better" or "worse" by rank of the verdict; "changed" if the ranks are equal.
        before: the verdict (and choice) in the first file, None if new.
        after: the verdict (and choice) in the second file, None if gone.
        detail: the detail in the second file, or in the first if gone.
    """

    backend: str
    id: str
    kind: Kind
    before: str | None
    after: str | None
    detail: str

    def __str__(self) -> str:
        """Writes the change as one line."""
        arrow = " -> ".join(v for v in (self.before, self.after) if v is not None)
        detail = f": {self.detail}" if self.detail and self.kind != "better" else ""
        return f"{self.kind} {self.backend} {self.id} ({arrow}){detail}"


Runs = Mapping[str, Mapping[str, Any]]


def compare_results(before: Runs, after: Runs) -> list[Change]:
    """Returns every change between two files, in the order of ``KINDS``.

    Raises:
        UsageError: no backend has a case in both, so that nothing can be compared.
    """
    shared = [name for name in before if name in after]
    if not any(_by_id(before[name]).keys() & _by_id(after[name]).keys() for name in shared):
        given = f"{', '.join(before) or 'none'} before, {', '.join(after) or 'none'} after"
        raise UsageError(f"nothing can be compared: no backend has a case in both files ({given})")
    names = [*before, *(name for name in after if name not in before)]
    changes = [
        change
        for name in names
        for change in _changes(name, _by_id(before.get(name)), _by_id(after.get(name)))
    ]
    return sorted(changes, key=lambda change: KINDS.index(change.kind))


def _by_id(run: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    return {} if run is None else {case["id"]: case for case in run["cases"]}


def _changes(
    backend: str, before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> Iterator[Change]:
    for case_id, old in before.items():
        new = after.get(case_id)
        if new is None:
            yield Change(backend, case_id, "gone", _word(old), None, old["detail"])
        elif _word(old) != _word(new):
            yield Change(backend, case_id, _kind(old, new), _word(old), _word(new), new["detail"])
    for case_id, new in after.items():
        if case_id not in before:
            yield Change(backend, case_id, "new", None, _word(new), new["detail"])


def _kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> Kind:
    step = RANK[Verdict(new["verdict"])] - RANK[Verdict(old["verdict"])]
    if step == 0:
        return "changed"
    return "worse" if step > 0 else "better"


def _word(case: Mapping[str, Any]) -> str:
    choice = case.get("choice")
    return case["verdict"] if choice is None else f"{case['verdict']} {choice}"
