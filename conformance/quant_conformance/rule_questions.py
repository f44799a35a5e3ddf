"""Cases whose answers are told by the rules that they follow: integer layers and blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from quant_conformance import block_questions, integer_questions
from quant_conformance.protocol import Array

if TYPE_CHECKING:
    from quant_vectors import Case

Tensors = Mapping[str, Array]


def is_told(case: Case) -> bool:
    """Whether the answer of a case is told by its rule."""
    if case.result is not None:
        return False
    if case.operation in integer_questions.OPERATIONS_JUDGED:
        return True
    if case.operation not in block_questions.STEPS or case.policy not in (None, policy_of(case)):
        return False
    return len(block_questions.rule_names_of(case)) > 1


def policy_of(case: Case) -> str:
    """Name of the policy that the rules of a case belong to."""
    blocks = case.operation in block_questions.STEPS
    return block_questions.policy_of(case) if blocks else integer_questions.POLICY


def output_of(case: Case) -> str:
    """Name of the output that is judged."""
    return block_questions.OUTPUTS.get(case.operation, "codes")


def operator_of(case: Case) -> str:
    """What a report calls the operator that a case asks."""
    if case.operation in block_questions.STEPS:
        return block_questions.operator_of(case)
    return integer_questions.operator_of(case)


def answers(case: Case, tensors: Tensors) -> dict[str, Array]:
    """The answer of every rule that does not refuse the case, by the rule's name."""
    if case.operation in block_questions.STEPS:
        return block_questions.answers(case, tensors)
    return integer_questions.answers(case, tensors)


def grouped(found: Mapping[str, Array]) -> dict[str, Array]:
    """The distinct answers, each under the names of its rules, in the order of the rules."""
    return integer_questions.grouped(found)


def shortened(names: Iterable[str]) -> str:
    """Names of rules in one line."""
    return integer_questions.shortened(names)


def expanded(text: str) -> tuple[str, ...]:
    """The rules that a line names, the inverse of :func:`shortened`."""
    return integer_questions.expanded(text)


def kind_of(operator: str) -> str:
    """Operators of one kind have rules in common: ``mx_scale`` of ``block_scale mxfp4``."""
    operation, _, form = operator.partition(" ")
    if operation not in block_questions.STEPS:
        return integer_questions.POLICY
    if operation == "block_dot":
        return operation
    return f"{operation} {'nvfp4' if form == 'nvfp4' else 'mx'}"
