"""How far a hypothesis gives the answers that a backend gave."""

from __future__ import annotations

import numpy as np

from quant_conformance.mutants.exchanged import Mutated
from quant_conformance.mutants.hunt import Question, ask
from quant_conformance.operations import OPERATIONS
from quant_conformance.verdicts.answers import Answer, Mask, outputs_of


def matched(answer: Answer, backend: Mutated) -> Mask:
    """Marks the elements of an answer that a hypothesis gives too."""
    method = OPERATIONS[answer.case.operation].method
    given = outputs_of(answer.case, ask(backend, Question(answer.case, method, answer.arguments)))
    return np.zeros_like(answer.wrong) if given is None else ~answer.differs_from(given)
