"""What of a run was judged, and what has to be said of the rest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from quant_conformance.rule_questions import is_told
from quant_conformance.rule_questions.names import expanded
from quant_conformance.runner.loading import Hello
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import CaseResult, Verdict
from quant_vectors import Case, VectorSet

_UNJUDGED = frozenset({Verdict.UNSUPPORTED, Verdict.UNAVAILABLE})

REASONS_SHOWN = 5
"""Reasons that are given where nothing could be judged."""

NAMES_SHOWN = 20
"""Cases that are named for each reason why a layer of one's own set is not supported."""


def judged(results: Iterable[CaseResult]) -> int:
    """Counts the cases that were held to something."""
    return sum(result.judged and result.verdict not in _UNJUDGED for result in results)


def unjudged(runs: Sequence[Run], *, named: bool) -> list[Run]:
    """Returns the runs that must not pass, since nothing of them was judged.

    Args:
        runs: the runs.
        named: whether the user named the backends. Of all that there are, some may lack what was
            asked for, but not every one.
    """
    found = [run for run in runs if not judged(run.results)]
    return found if named or len(found) == len(runs) else []


def notes(
    hello: Hello, results: Sequence[CaseResult], vectors: VectorSet, *, frozen: bool
) -> Iterator[str]:
    """Yields what a user must know who reads the counts, one line each.

    Args:
        hello: what the backend says of itself.
        results: what was run.
        vectors: the set.
        frozen: whether the set is the shipped one. Of a set of one's own, every case that is not
            supported is named, since each of them was made to be run.
    """
    nothing = not judged(results)
    if nothing:
        yield _nothing(results)
    yield from hello.strangers if nothing else hello.misnamed
    if frozen:
        yield from _policies(hello.policies, vectors.cases)
    else:
        yield from _unsupported(results, {case.id: case.comment for case in vectors.cases})
        left_out = vectors.manifest.get("left_out", {})
        if left_out:
            named = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
            yield f"left out when the set was recorded: {named}"


def _nothing(results: Sequence[CaseResult]) -> str:
    if not results:
        return "nothing was judged: selects() leaves out every case"
    told = [result for result in results if result.verdict in _UNJUDGED]
    if len(told) < len(results):
        return f"nothing was judged: of {_cases(len(results))}, none says what is right"
    reasons = _by_reason(told)
    text = "; ".join(f"{reason} ({len(found)})" for reason, found in reasons[:REASONS_SHOWN])
    more = "" if len(reasons) <= REASONS_SHOWN else f"; {len(reasons) - REASONS_SHOWN} more reasons"
    return f"nothing was judged: {_cases(len(results))}, none supported: {text}{more}"


def _unsupported(results: Sequence[CaseResult], comments: Mapping[str, str]) -> Iterator[str]:
    told = [result for result in results if result.verdict is Verdict.UNSUPPORTED]
    for reason, found in _by_reason(told):
        names = [f"{r.id} ({comments[r.id]})" for r in found[:NAMES_SHOWN]]
        more = "" if len(found) <= NAMES_SHOWN else f", and {len(found) - NAMES_SHOWN} more"
        yield f"not supported, {reason}: {', '.join(names)}{more}"


def _by_reason(results: Iterable[CaseResult]) -> list[tuple[str, list[CaseResult]]]:
    """Groups results by their reason, the most frequent first."""
    groups: dict[str, list[CaseResult]] = {}
    for result in results:
        groups.setdefault(result.detail, []).append(result)
    return sorted(groups.items(), key=lambda item: -len(item[1]))


def _policies(declared: Mapping[str, str], cases: Iterable[Case]) -> Iterator[str]:
    """Names declared policies and choices that no case of the set knows."""
    known: dict[str, set[str]] = {}
    for case in cases:
        if case.policy is not None and case.choice is not None:
            names = (case.choice, *case.alternatives)
            if is_told(case):
                names = tuple(rule for name in names for rule in expanded(name))
            known.setdefault(case.policy, set()).update(names)
    for policy, choice in declared.items():
        if policy not in known:
            yield f"policy {policy!r} is declared and unknown{_meant(policy, known)}"
        elif choice not in known[policy]:
            meant = _meant(choice, known[policy])
            yield f"policy {policy}: the declared choice {choice!r} is unknown{meant}"


def _meant(given: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names)}"


def _cases(count: int) -> str:
    return f"{count} case" if count == 1 else f"{count} cases"
