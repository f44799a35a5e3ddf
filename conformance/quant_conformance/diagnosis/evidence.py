"""Wrong answers, element by element, and how far a hypothesis gives the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.compare import differing, rules_for
from quant_conformance.invoke import Outcome
from quant_conformance.mutants import Pipeline
from quant_conformance.mutants.hunt import Question, ask, prepare
from quant_conformance.protocol import Array
from quant_vectors import Case, VectorSet

Mask = NDArray[np.bool_]

MAX_BYTES = 1 << 20
"""No right answer comes near this size; a bigger one is not kept."""


@dataclass(frozen=True)
class Mismatch:
    """A case that a backend answered wrongly.

    Attributes:
        case: The case.
        inputs: Its input tensors by name.
        expected: The right outputs by name; ``{"result": …}`` for operations without tensors.
        actual: The backend's outputs by name.
    """

    case: Case
    inputs: Mapping[str, Array]
    expected: Mapping[str, Any]
    actual: Mapping[str, Any]

    @cached_property
    def question(self) -> Question:
        """The case, ready to be put to hypotheses."""
        return prepare(self.case, {name: array.copy() for name, array in self.inputs.items()})

    @cached_property
    def wrong(self) -> Mask:
        """Marks the wrong elements of all outputs, one output after the other."""
        return self._unlike(self.expected)

    def matched(self, backend: Pipeline) -> Mask:
        """Marks the elements of the actual answer that a hypothesis gives too."""
        outcome = ask(backend, self.question)
        if outcome.kind != "answer":
            return np.zeros_like(self.wrong)
        return ~self._unlike(outcome.outputs)

    def _unlike(self, outputs: Mapping[str, Any]) -> Mask:
        """Marks the elements of the actual answer that other outputs do not give."""
        case = self.case
        fmt = rules_for(case.operation, case.arguments, case.spec or {}).code_format
        return np.concatenate(
            [
                _unlike(name, outputs[name], got, fmt if name == "codes" else None)
                if name in outputs
                else np.full(np.size(got), True)
                for name, got in self.actual.items()
                if name in self.expected
            ]
            or [np.zeros(0, np.bool_)]
        )


def mismatch_of(
    vectors: VectorSet, case: Case, inputs: Mapping[str, Array], outcome: Outcome
) -> list[Mismatch]:
    """Makes a mismatch of a wrong answer; none of no answer, or of one too big to be kept."""
    size = sum(a.nbytes for a in outcome.outputs.values() if isinstance(a, np.ndarray))
    if outcome.kind != "answer" or size > MAX_BYTES:
        return []
    expected: Mapping[str, Any] = vectors.expected(case) or {"result": case.result}
    return [Mismatch(case, inputs, expected, outcome.outputs)]


def _unlike(name: str, other: Any, got: Any, nan_code_format: str | None) -> Mask:
    if not isinstance(got, np.ndarray):
        return np.array([type(other) is not type(got) or other != got])
    if not isinstance(other, np.ndarray) or (other.shape, other.dtype) != (got.shape, got.dtype):
        return np.full(got.size, True)
    return differing(name, other, got, nan_code_format).reshape(-1)
