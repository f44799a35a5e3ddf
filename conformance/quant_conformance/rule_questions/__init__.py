"""Cases whose answers are told by the rules that they follow: integer layers and blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from quant_conformance.protocol import Array
from quant_conformance.rule_questions import blocks, integers
from quant_vectors import OPERATION_OUTPUTS

if TYPE_CHECKING:
    from quant_vectors import Case

Tensors = Mapping[str, Array]


def is_told(case: Case) -> bool:
    """Whether the answer of a case is told by its rule."""
    if case.result is not None:
        return False
    if case.operation in integers.OPERATIONS_JUDGED:
        return True
    if case.operation not in blocks.STEPS or case.policy not in (None, policy_of(case)):
        return False
    return len(blocks.rule_names_of(case)) > 1


def policy_of(case: Case) -> str:
    """Name of the policy that the rules of a case belong to."""
    return blocks.policy_of(case) if case.operation in blocks.STEPS else integers.POLICY


def output_of(case: Case) -> str:
    """Name of the output that is judged."""
    return OPERATION_OUTPUTS[case.operation][0]


def operator_of(case: Case) -> str:
    """What a report calls the operator that a case asks."""
    if case.operation in blocks.STEPS:
        return blocks.operator_of(case)
    return integers.operator_of(case)


def answers(case: Case, tensors: Tensors) -> dict[str, Array]:
    """The answer of every rule that does not refuse the case, by the rule's name."""
    if case.operation in blocks.STEPS:
        return blocks.answers(case, tensors)
    return integers.answers(case, tensors)


def kind_of(operator: str) -> str:
    """Operators of one kind have rules in common: ``mx_scale`` of ``block_scale mxfp4``."""
    operation, _, form = operator.partition(" ")
    if operation not in blocks.STEPS:
        return integers.POLICY
    if operation == "block_dot":
        return operation
    return f"{operation} {'nvfp4' if form == 'nvfp4' else 'mx'}"
