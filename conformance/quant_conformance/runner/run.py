"""What a run of one backend leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quant_conformance.runner.loading import Problem
from quant_conformance.verdicts.answers import Answer
from quant_conformance.verdicts.verdict import (
    FAILURES,
    CaseResult,
    count_policies,
    count_verdicts,
)


@dataclass(frozen=True, eq=False)
class Run:
    """What one backend did.

    Attributes:
        backend: its name.
        reference: what it was loaded by.
        versions: package to version, as it states them.
        vectors: version and digest of the vector set.
        results: one per case that was run.
        stale: lines about stale expectations.
        declared: policies that the backend documents.
        problem: why no case could be asked, or None.
        text: the problem for people.
        answers: the answers that can be measured, of expected failures too; a report makes its
            evidence from them (``report.evidence``).
        notes: what is to be known of what was not judged, one line each.
        unmet: conditions that were asked for and are not met (``runner.gates``), one line each.
    """

    backend: str
    reference: str
    versions: Mapping[str, str]
    vectors: Mapping[str, str]
    results: tuple[CaseResult, ...]
    stale: tuple[str, ...] = ()
    declared: Mapping[str, str] = field(default_factory=dict)
    problem: Problem | None = None
    text: str = ""
    answers: tuple[Answer, ...] = ()
    notes: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()

    @property
    def summary(self) -> dict[str, int]:
        """Verdict to count."""
        return count_verdicts(self.results)

    @property
    def policies(self) -> dict[str, dict[str, int]]:
        """Policy to choice to count."""
        return count_policies(self.results)

    @property
    def failures(self) -> list[CaseResult]:
        """The results that nobody expected."""
        return [result for result in self.results if result.verdict in FAILURES]

    @property
    def failed(self) -> bool:
        """Whether the run fails: an unexpected failure, a stale expectation, an unmet condition."""
        return bool(self.failures or self.stale or self.unmet)
