"""The report of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from quant_conformance.report.causes import failure_groups, general_diagnosis, spread
from quant_conformance.report.evidence import evidence_of
from quant_conformance.report.html.board import (
    Counts,
    by_family,
    families_of,
    total_of,
    verdicts_of,
)
from quant_conformance.report.html.clause_excerpts import clause_texts
from quant_conformance.report.html.facts import Facts
from quant_conformance.report.html.frame import Tab, render
from quant_conformance.report.html.histogram import of_distances
from quant_conformance.report.html.number_line import number_lines
from quant_conformance.report.html.parts import BackendPart, Failure, Kind, Known, Policy
from quant_conformance.report.html.words import count, tone, web_address, worst
from quant_conformance.report.samples import Sample
from quant_conformance.report.scoreboard import explain_command
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import CaseResult, Verdict

FAILURES_SHOWN = 40
"""Failures that are shown per backend with their elements, the first of each group in turn."""

LINES_SHOWN = 1000
"""Further failures that are listed per backend, a line each."""

OVERVIEW_GROUPS = 3
"""Groups of failures that the overview shows of each backend."""

OVERVIEW_LINES = 2
"""Lines of diagnosis that it shows of each of them."""

KNOWN_SHOWN = 40
"""Kinds of known failures that are shown per backend."""

REASONS_SHOWN = 15
"""Reasons of what is unsupported that are shown per backend."""


def html_text(runs: Sequence[Run], facts: Facts, vectors: Path | None = None) -> str:
    """Returns the report of a run as one HTML file that needs nothing beside it.

    The text depends on its arguments alone. Names, case ids and details are untrusted and escaped.

    Args:
        runs: the runs, in the order in which they are shown.
        facts: how they came about.
        vectors: folder of the set, for the commands that are shown; None for the shipped one.
    """
    parts = [_part(run, f"backend-{number}", vectors) for number, run in enumerate(runs, 1)]
    broken_by = [
        (run.backend, [c for r in _unlike_the_clause(run) for c in r.clauses]) for run in runs
    ]
    judged = {family.name for part in parts for family in part.families if family.judged}
    failed = sum(run.failed for run in runs)
    status = f"{failed} of {count(len(runs), 'backend')} failed" if failed else "nothing failed"
    tabs = [
        Tab("overview", "Overview", worst(part.tone for part in parts), status, "overview"),
        *(Tab(p.anchor, p.run.backend, p.tone, p.status, p) for p in parts),
        Tab("clauses", "Clauses", None, "", "clauses"),
        Tab("facts", "Facts", None, "", "facts"),
    ]
    return render(
        "run.html.j2",
        "quant-conformance: run",
        tabs,
        lambda verdict: tone(Verdict(verdict)),
        parts=parts,
        verdicts=verdicts_of(runs),
        families=[f for f in families_of(runs) if f in judged],
        unjudged=[f for f in families_of(runs) if f not in judged],
        overview_groups=OVERVIEW_GROUPS,
        overview_lines=OVERVIEW_LINES,
        clauses=clause_texts(broken_by),
        facts=facts,
        vectors=runs[0].vectors if runs else {"version": "", "digest": ""},
        versions=_versions(runs, facts),
    )


def _unlike_the_clause(run: Run) -> list[CaseResult]:
    known = [r for r in run.results if r.verdict is Verdict.EXPECTED]
    return [*run.failures, *known]


def _versions(runs: Sequence[Run], facts: Facts) -> Mapping[str, str]:
    found = dict(facts.versions)
    for run in runs:
        found.update(run.versions)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _part(run: Run, anchor: str, vectors: Path | None) -> BackendPart:
    samples = {sample.case: sample for sample in evidence_of(run).samples}
    total = total_of(run)
    known = _known(run, samples, vectors)
    reasons = Counter(r.detail for r in run.results if r.verdict is Verdict.UNSUPPORTED)
    histograms = [of_distances(distances) for distances in evidence_of(run).distances]
    points = [e.point for s in evidence_of(run).samples for e in s.elements if e.point is not None]
    return BackendPart(
        anchor=anchor,
        run=run,
        total=total,
        families=tuple(by_family(run)),
        tone="bad" if run.failed else total.tone,
        status=_status(run, total),
        policies=tuple(_policies(run)),
        diagnosis=tuple(general_diagnosis(run)),
        kinds=tuple(_kinds(run, anchor, samples, vectors)),
        known=tuple(known[:KNOWN_SHOWN]),
        more_known=max(0, len(known) - KNOWN_SHOWN),
        lines=tuple(number_lines(points, f"{anchor}-line")),
        histograms=tuple(h for h in histograms if h.differing),
        right_outputs=tuple(h for h in histograms if not h.differing),
        unsupported=tuple(reasons.most_common(REASONS_SHOWN)),
        more_unsupported=max(0, len(reasons) - REASONS_SHOWN),
    )


def _status(run: Run, total: Counts) -> str:
    """Writes how a backend is judged, in a few words."""
    if run.problem is not None:
        return run.problem
    said = []
    if run.unmet:
        said.append(count(len(run.unmet), "unmet condition"))
    if run.failures:
        said.append(count(len(run.failures), "failure"))
    if run.stale:
        said.append(count(len(run.stale), "stale expectation"))
    known = total.by_verdict[Verdict.EXPECTED]
    if known:
        said.append(count(known, "known failure"))
    if said:
        return ", ".join(said)
    return f"{total.good:,} of {total.judged:,} right" if total.judged else "nothing judged"


def _kinds(
    run: Run, anchor: str, samples: Mapping[str, Sample], vectors: Path | None
) -> Iterator[Kind]:
    groups = failure_groups(run)
    shown = [results for _, results in spread(groups, FAILURES_SHOWN)]
    lines_left = LINES_SHOWN
    for number, group in enumerate(groups):
        results = shown[number] if number < len(shown) else []
        rest = group.results[len(results) :]
        lines = rest[:lines_left]
        lines_left -= len(lines)
        yield Kind(
            f"{anchor}-kind-{number + 1}",
            group.title,
            group.verdict,
            group.cause,
            group.diagnosis,
            tuple(_failure(run, result, samples, vectors) for result in results),
            lines,
            len(rest) - len(lines),
        )


def _failure(
    run: Run, result: CaseResult, samples: Mapping[str, Sample], vectors: Path | None
) -> Failure:
    command = explain_command(result.id, run.reference, vectors)
    return Failure(result, samples.get(result.id), command)


def _known(run: Run, samples: Mapping[str, Sample], vectors: Path | None) -> list[Known]:
    groups: dict[tuple[str, str | None], list[CaseResult]] = {}
    for result in run.results:
        if result.verdict is Verdict.EXPECTED:
            groups.setdefault((result.reason or "", result.link), []).append(result)
    found = []
    for (reason, link), results in groups.items():
        clauses = Counter(clause for result in results for clause in result.clauses)
        # An example with elements to show tells more than one without.
        example = next((r for r in results if r.id in samples), results[0])
        found.append(
            Known(
                reason,
                link,
                web_address(link),
                len(results),
                tuple(clause for clause, _ in clauses.most_common()),
                _failure(run, example, samples, vectors),
            )
        )
    return sorted(found, key=lambda known: -known.cases)


def _policies(run: Run) -> list[Policy]:
    found = []
    for name, choices in run.policies.items():
        documented = run.declared.get(name)
        ordered = tuple(sorted(choices.items(), key=lambda item: (-item[1], item[0])))
        differs = documented is not None and set(choices) != {documented}
        found.append(Policy(name, ordered, documented, differs))
    return found
