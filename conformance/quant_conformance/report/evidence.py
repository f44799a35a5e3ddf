"""What a report shows of wrong answers: known bugs that explain them, elements, distances."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from quant_conformance.mutants.diagnosis import Explanation, diagnose
from quant_conformance.report.distances import Distances, distances_of
from quant_conformance.report.samples import Sample, samples_of
from quant_conformance.runner.run import Run


@dataclass(frozen=True)
class Evidence:
    """The evidence on one run; failures that were expected are included.

    Attributes:
        diagnosis: known bugs that give the same wrong answers.
        samples: wrong elements of wrong answers.
        distances: how far the answers are from the right ones, by operation and output.
    """

    diagnosis: tuple[Explanation, ...]
    samples: tuple[Sample, ...]
    distances: tuple[Distances, ...]


_FOUND: WeakKeyDictionary[Run, Evidence] = WeakKeyDictionary()


def evidence_of(run: Run) -> Evidence:
    """Returns the evidence on a run; it is gathered once, however many reports ask for it."""
    found = _FOUND.get(run)
    if found is None:
        found = Evidence(
            tuple(diagnose(run.answers)),
            tuple(samples_of(run.answers)),
            tuple(distances_of(run.answers)),
        )
        _FOUND[run] = found
    return found
