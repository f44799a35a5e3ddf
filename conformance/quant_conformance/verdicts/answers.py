"""Answers that can be measured: what was asked, what is right and what came, element by element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.operations import OPERATIONS
from quant_conformance.protocol import Array
from quant_conformance.rule_questions import output_of
from quant_conformance.verdicts.admissible import words_of
from quant_conformance.verdicts.exact import differing, rules_for
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.verdicts.rules import follows_rules, legal_answers, nearest
from quant_reference import QuantError
from quant_reference.admissible import VERDICTS
from quant_vectors import Case, VectorSet

Mask = NDArray[np.bool_]

_BAD = [VERDICTS.index(word) for word in ("wrong", "unlikely")]

ROOM = 4096
"""Bytes that a wrong answer may be longer than four right ones; a longer one is not kept."""


@dataclass(frozen=True)
class Answer:
    """What a backend answered to a case.

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
    def arguments(self) -> tuple[Any, ...]:
        """The positional arguments of the method asked, on read-only copies of the inputs."""
        copies = {name: array.copy() for name, array in self.inputs.items()}
        for array in copies.values():
            array.flags.writeable = False
        return OPERATIONS[self.case.operation].arguments(self.case, copies)

    @cached_property
    def wrong(self) -> Mask:
        """Marks the wrong elements of all outputs, one output after the other."""
        if self.case.rule == "admissible":
            return self._inadmissible()
        return self.differs_from(self.expected)

    def differs_from(self, outputs: Mapping[str, Any]) -> Mask:
        """Marks the elements of the answer that ``outputs``, by name, do not give."""
        case = self.case
        fmt = rules_for(case.operation, case.arguments, case.spec or {}).code_format
        return np.concatenate(
            [
                _differing(name, outputs[name], got, fmt if name == "codes" else None)
                if name in outputs
                else np.full(np.size(got), True)
                for name, got in self.actual.items()
                if name in self.expected or self.case.rule == "admissible"
            ]
            or [np.zeros(0, np.bool_)]
        )

    def _inadmissible(self) -> Mask:
        """Marks the elements that no correct arithmetic gives, or hardly any."""
        (given,), low = self.actual.values(), self.expected["low"]
        if (given.shape, given.dtype) != (low.shape, low.dtype):
            return np.full(given.size, True)
        try:
            words = words_of(self.case, self.expected, given)
        except QuantError:  # a code that the format does not have
            return np.full(given.size, True)
        return np.isin(words, _BAD).reshape(-1)


def answers_of(
    vectors: VectorSet, case: Case, inputs: Mapping[str, Array], outcome: Outcome
) -> list[Answer]:
    """Returns the answer as a list; none where there is none, or one too long, or a file's name."""
    if case.operation == "model":
        return []
    expected: Mapping[str, Any] = vectors.expected(case) or {"result": case.result}
    given = outputs_of(case, outcome)
    if follows_rules(case) and given is not None:
        # Of several rules the one that the answer is nearest to says what is right.
        legal = legal_answers(vectors, case)
        expected = legal[nearest(legal, given.get(output_of(case)), output_of(case))]
    if given is None or _size(given) > 4 * _size(expected) + ROOM:
        return []
    return [Answer(case, inputs, expected, given)]


def outputs_of(case: Case, outcome: Outcome) -> Mapping[str, Any] | None:
    """Returns the outputs by name, with a refusal that was asked for as one; or None."""
    if outcome.kind == "raised" and outcome.refused and case.result == "refused":
        return {"result": "refused"}
    return outcome.outputs if outcome.kind == "answer" else None


def _size(outputs: Mapping[str, Any]) -> int:
    return sum(array.nbytes for array in outputs.values() if isinstance(array, np.ndarray))


def _differing(name: str, other: Any, got: Any, nan_code_format: str | None) -> Mask:
    if not isinstance(got, np.ndarray):
        return np.array([type(other) is not type(got) or other != got])
    if not isinstance(other, np.ndarray) or (other.shape, other.dtype) != (got.shape, got.dtype):
        return np.full(got.size, True)
    return differing(name, other, got, nan_code_format).reshape(-1)
