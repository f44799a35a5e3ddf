"""Asks mutants the cases of their families and notes which cases catch them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated
from quant_conformance.mutants.model import Mutant
from quant_conformance.operations import OPERATIONS, MalformedAnswer
from quant_conformance.protocol import Array
from quant_conformance.verdicts.judge import judge
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.verdicts.verdict import FAILURES
from quant_vectors import Case, VectorSet


@dataclass(frozen=True)
class Question:
    """A case with its arguments, built once for all mutants; its arrays cannot be written to."""

    case: Case
    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Hunt:
    """What one family did to one mutant.

    Attributes:
        mutant: The mutant.
        family: The family.
        killers: Cases that caught it.
        asked: Number of cases that it was asked.
    """

    mutant: Mutant
    family: str
    killers: tuple[Case, ...]
    asked: int


class Hunter:
    """Hunts mutants with one selection of cases.

    Args:
        vectors: The set that the cases come from.
        cases: The cases to ask.
        first_kill: Stop at the first case that catches a mutant in a family.
    """

    def __init__(
        self, vectors: VectorSet, cases: Sequence[Case], *, first_kill: bool = False
    ) -> None:
        self._vectors = vectors
        self._first_kill = first_kill
        self._questions: dict[str, list[Question]] = {}
        self._bits: dict[str, Mapping[str, tuple[Any, ...]]] = {}
        for case in cases:
            question = prepare(case, vectors.inputs(case))
            self._questions.setdefault(case.family, []).append(question)
            self._bits[case.id] = _bits(vectors.expected(case))

    @property
    def families(self) -> tuple[str, ...]:
        """The families that there are cases of."""
        return tuple(self._questions)

    def hunt(self, mutants: Iterable[Mutant]) -> Iterator[Hunt]:
        """Yields a result for each mutant and each of its families that there are cases of."""
        for mutant in mutants:
            backend = mutant.backend()
            for family in mutant.families:
                if family in self._questions:
                    questions = self._questions[family]
                    yield Hunt(mutant, family, self._killers(backend, questions), len(questions))

    def _killers(self, backend: Mutated, questions: Sequence[Question]) -> tuple[Case, ...]:
        killers = []
        for question in questions:
            if self._caught(question.case, ask(backend, question)):
                killers.append(question.case)
                if self._first_kill:
                    break
        return tuple(killers)

    def _caught(self, case: Case, outcome: Outcome) -> bool:
        # Most answers are right to the bit, which is told sooner than the judge tells it.
        right = self._bits[case.id]
        if right and outcome.kind == "answer" and _bits(outcome.outputs) == right:
            return False
        with np.errstate(all="ignore"):
            return judge(self._vectors, case, outcome).verdict in FAILURES


def prepare(case: Case, inputs: Mapping[str, Array]) -> Question:
    """Builds the arguments of a case from its inputs, which become read-only."""
    for array in inputs.values():
        array.flags.writeable = False
    operation = OPERATIONS[case.operation]
    return Question(case, operation.method, operation.arguments(case, inputs))


def ask(backend: Mutated, question: Question) -> Outcome:
    """Asks a mutant; lighter than ``invoke``, because mutants are ours and do no harm."""
    try:
        with np.errstate(all="ignore"):
            answer = getattr(backend, question.method)(*question.arguments)
        outputs = OPERATIONS[question.case.operation].outputs(answer)
    except MalformedAnswer as error:
        return Outcome("malformed", text=str(error))
    except Exception as error:  # a mutant may trip over itself, as real backends do
        # Most of all over an input that it wants to write to, which is no refusal.
        refused = isinstance(error, ValueError) and "read-only" not in str(error)
        return Outcome("raised", text=str(error), refused=refused)
    return Outcome("answer", outputs=outputs)


def _bits(outputs: Mapping[str, Any]) -> Mapping[str, tuple[Any, ...]]:
    return {
        name: (array.dtype, array.shape, array.tobytes())
        for name, array in outputs.items()
        if isinstance(array, np.ndarray)
    }
