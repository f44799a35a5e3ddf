"""Picks the cases that a command names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from quant_conformance.errors import UsageError, unknown
from quant_vectors import Case, VectorSet, load, load_frozen

TIERS = ("quick", "full")


@dataclass(frozen=True)
class Selection:
    """Which cases to run; an empty field selects everything.

    Attributes:
        tier: "quick" leaves out cases whose argument ``tier`` is "full", and those where it is
            "named" unless their family is.
        families: names of families.
        flags: flags of which a case has at least one.
        clauses: clause ids of which a case has at least one.
        patterns: case ids or globs over them.
    """

    tier: str = "full"
    families: Sequence[str] = ()
    flags: Sequence[str] = ()
    clauses: Sequence[str] = ()
    patterns: Sequence[str] = ()


def load_set(path: str | Path | None) -> VectorSet:
    """Loads the set in a folder, or every frozen one as one.

    Args:
        path: the folder of a set of one's own, or None.

    Raises:
        VectorError: as for ``quant_vectors.load``.
    """
    return load_frozen() if path is None else load(path=path)


def select_cases(vectors: VectorSet, selection: Selection) -> list[Case]:
    """Returns the selected cases in the order of the set.

    Raises:
        UsageError: a name that nothing in the set has, or a combination without a case.
    """
    cases = list(vectors.cases)
    if selection.tier not in TIERS:
        raise unknown("tier", selection.tier, TIERS)
    _check("family", selection.families, {case.family for case in cases})
    _check("flag", selection.flags, {flag for case in cases for flag in case.flags})
    _check("clause", selection.clauses, {c for case in cases for c in case.clauses})
    ids = [case.id for case in cases]
    for pattern in selection.patterns:
        if not any(fnmatchcase(case_id, pattern) for case_id in ids):
            raise unknown("case", pattern, ids)
    chosen = [case for case in cases if _chosen(case, selection)]
    if not chosen:
        raise UsageError("no case has all that was asked for")
    return chosen


def _check(what: str, given: Iterable[str], allowed: set[str]) -> None:
    for name in given:
        if name not in allowed:
            raise unknown(what, name, allowed)


def _chosen(case: Case, selection: Selection) -> bool:
    tier = case.arguments.get("tier")
    named = tier == "named" and case.family in selection.families
    return (
        (selection.tier == "full" or tier not in ("full", "named") or named)
        and (not selection.families or case.family in selection.families)
        and (not selection.flags or not set(selection.flags).isdisjoint(case.flags))
        and (not selection.clauses or not set(selection.clauses).isdisjoint(case.clauses))
        and (not selection.patterns or any(fnmatchcase(case.id, p) for p in selection.patterns))
    )
