"""How block-scaled tensors stand in a vector set, and which rules an answer may follow.

The argument ``block`` holds the form of a case (name, size, axis, tail), ``blocks`` those of the
two operands of a dot product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from quant_conformance.protocol import Array
from quant_reference.block import (
    BlockForm,
    BlockTensor,
    block_dequantize,
    block_dot,
    block_form,
    block_quantize,
    block_scale,
    rules_of,
)
from quant_reference.errors import QuantError

if TYPE_CHECKING:
    from quant_vectors import Case

Tensors = Mapping[str, Array]

STEPS: Mapping[str, str] = MappingProxyType(
    {
        "block_scale": "scale",
        "block_quantize": "quantize",
        "block_dequantize": "dequantize",
        "block_dot": "dot",
    }
)
"""Operation -> the step of which its answer follows a rule."""

REFERENCE: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {
        "block_scale": block_scale,
        "block_quantize": block_quantize,
        "block_dequantize": block_dequantize,
        "block_dot": block_dot,
    }
)
"""Operation -> the reference's function, which takes a rule."""


def form_arguments(form: BlockForm) -> dict[str, Any]:
    """A block form as an argument of a case."""
    return {"name": form.name, "size": form.size, "axis": form.axis, "tail": form.tail}


def form_of(given: Mapping[str, Any]) -> BlockForm:
    """The block form that an argument states."""
    return block_form(given["name"], given["size"], given["axis"], given["tail"])


def operand_of(case: Case, tensors: Tensors, index: int) -> BlockTensor:
    """An operand of a dot product."""
    return BlockTensor(
        tensors[f"operand_{index}"],
        tensors[f"operand_{index}:scales"],
        form_of(case.arguments["blocks"][index]),
        tensors.get(f"operand_{index}:tensor_amax"),
    )


def arguments_of(case: Case, tensors: Tensors) -> tuple[Any, ...]:
    """The positional arguments of the method that a case asks."""
    if case.operation == "block_dot":
        return operand_of(case, tensors, 0), operand_of(case, tensors, 1)
    form, amax = form_of(case.arguments["block"]), tensors.get("tensor_amax")
    if case.operation == "block_scale":
        return tensors["x"], form, amax
    first = "x" if case.operation == "block_quantize" else "codes"
    return tensors[first], tensors["scales"], form, amax


def policy_of(case: Case) -> str:
    """Name of the policy that the rules of a case belong to."""
    if case.operation == "block_dot":
        return "block_dot"
    two_levels = form_of(case.arguments["block"]).two_levels
    if case.operation == "block_scale":
        return "nvfp4_scale" if two_levels else "mx_scale"
    return "block_quotient" if case.operation == "block_quantize" else "block_product"


def operator_of(case: Case) -> str:
    """What a report calls the operator that a case asks."""
    blocks = case.arguments.get("blocks", [case.arguments.get("block")])
    names = dict.fromkeys(str(block["name"]) for block in blocks)
    return f"{case.operation} {' by '.join(names)}"


def rule_names_of(case: Case) -> tuple[str, ...]:
    """Names of the rules that a case can follow, the reference's first."""
    blocks = case.arguments.get("blocks", [case.arguments.get("block")])
    return rules_of(STEPS[case.operation], form_of(blocks[0]).two_levels)


def answers(case: Case, tensors: Tensors) -> dict[str, Array]:
    """The answer of every rule, by the rule's name; a rule that refuses the case has none."""
    call = REFERENCE[case.operation]
    asked, found = arguments_of(case, tensors), {}
    for name in rule_names_of(case):
        try:
            answer = np.asarray(call(*asked, rule=name))
        except QuantError:
            continue
        if answer.dtype.kind == "f":  # one NaN, as the set holds them
            answer = np.where(np.isnan(answer), np.float32(np.nan), answer)
        found[name] = answer
    return found
