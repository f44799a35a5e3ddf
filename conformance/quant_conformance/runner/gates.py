"""What a run has to have judged before it may pass: the conditions that a release is gated by.

A backend that refuses everything it gets wrong fails nothing. These conditions are on what was
held to a right answer, so that such a backend does not pass.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from quant_conformance.errors import UsageError, unknown
from quant_conformance.verdicts.verdict import FAILURES, CaseResult, Verdict
from quant_vectors import Case

ALL = "all"
"""Written for a number, in ``FAMILY=all``: every case of the family that is run."""

FAIL_ON = tuple(v.value for v in Verdict if v not in FAILURES and v is not Verdict.EXACT)
"""Verdicts that fail a run only where that is asked for."""

_HELD = frozenset(
    {Verdict.EXACT, Verdict.POLICY, Verdict.ADMISSIBLE, Verdict.UNLIKELY, Verdict.WRONG}
)


@dataclass(frozen=True)
class Conditions:
    """What each backend of a run has to meet.

    Attributes:
        asked: family to the number of its cases that are run.
        required: family to the least number of its cases that are judged; None for all of them.
        least: the least number of cases that are judged, of all families.
        fail_on: further verdicts that fail a run.
    """

    asked: Mapping[str, int] = field(default_factory=dict)
    required: Mapping[str, int | None] = field(default_factory=dict)
    least: int = 0
    fail_on: frozenset[Verdict] = frozenset()


def held(result: CaseResult) -> bool:
    """Tells whether an answer was held to the right one, be it expected to fail or not.

    A crash, a time-out, a missing answer and an undecidable one show nothing of the numerics,
    even where an expectation names them.
    """
    return result.judged and (result.was or result.verdict) in _HELD


def conditions(
    cases: Iterable[Case],
    require: Sequence[str] = (),
    least: int = 0,
    fail_on: Sequence[str] = (),
) -> Conditions:
    """Reads conditions as a command line gives them.

    Args:
        cases: the cases that are run.
        require: entries ``FAMILY``, ``FAMILY=N`` or ``FAMILY=all``; the first asks for one case.
        least: the least number of cases that are judged.
        fail_on: names of verdicts among ``FAIL_ON``.

    Raises:
        UsageError: an unknown name, no number, or more than there are cases, which no backend
            could meet.
    """
    asked = Counter(case.family for case in cases)
    total = asked.total()
    required: dict[str, int | None] = {}
    for entry in require:
        family, equals, number = entry.partition("=")
        if family not in asked:
            raise unknown("family that is run, for --require:", family, asked)
        if family in required:
            raise UsageError(f"--require names {family} twice")
        required[family] = _number(entry, number) if equals else 1
        if (required[family] or 0) > asked[family]:
            raise UsageError(f"--require {entry}: {asked[family]} cases of {family} are run")
    if least > total:
        raise UsageError(f"--min-judged {least}: {total} cases are run")
    for name in fail_on:
        if name not in FAIL_ON:
            raise unknown("verdict for --fail-on", name, FAIL_ON)
    return Conditions(asked, required, least, frozenset(map(Verdict, fail_on)))


def _number(entry: str, text: str) -> int | None:
    if text == ALL:
        return None
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise UsageError(f"--require {entry}: FAMILY=N takes a number from 1, or {ALL!r}")
    return int(text)


def unmet(results: Sequence[CaseResult], conditions: Conditions) -> list[str]:
    """Returns the conditions that the results of one backend do not meet, one line each."""
    judged = Counter(result.family for result in results if held(result))
    # Answers that nothing could make wrong are neither judged nor missing.
    told = Counter(result.family for result in results if not result.judged)
    lines = []
    for family, least in conditions.required.items():
        wanted = conditions.asked[family] - told[family] if least is None else least
        if judged[family] < max(wanted, 1):
            need = f"all {wanted}" if least is None and wanted else f"at least {max(wanted, 1)}"
            lines.append(f"{family}: {judged[family]} cases were judged, {need} required")
    if judged.total() < conditions.least:
        lines.append(
            f"{judged.total()} cases were judged, at least {conditions.least} required in all"
        )
    return [*lines, *_failing(results, conditions)]


def _failing(results: Sequence[CaseResult], conditions: Conditions) -> Iterable[str]:
    for verdict in Verdict:
        if verdict not in conditions.fail_on:
            continue
        found = [result for result in results if result.verdict is verdict]
        if found:
            first = found[0]
            why = f": {first.detail}" if first.detail else ""
            yield f"{len(found)} cases are {verdict.value}, the first is {first.id}{why}"
    left_out = sum(conditions.asked.values()) - len(results)
    if Verdict.UNSUPPORTED in conditions.fail_on and left_out > 0:
        yield f"{left_out} cases are unsupported: selects() leaves them out"
