"""How requantizations and integer layers stand in a vector set, and what each rule answers.

Of a requantization the accumulators and scales are tensors, the rest arguments. Operand *i* of a
layer is the tensor ``operand_i`` with ``operand_i:scale`` and ``operand_i:zero_point``; its format
stands in the argument ``operands``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from quant_conformance.protocol import Array
from quant_reference.errors import QuantError
from quant_reference.integer import (
    POOL_RULES,
    RULES,
    SUMS,
    IntegerLayer,
    IntegerTensor,
    Requantization,
    accumulators_of,
    get_rule,
    integer_layer,
    requantize,
    requantized,
    rule_names,
)

if TYPE_CHECKING:
    from quant_vectors import Case

Tensors = Mapping[str, Array]

POLICY = "requantization"
"""Name of the policy that cases of integer layers touch."""

OPERATIONS_JUDGED = frozenset({"requantize", "integer_layer"})
"""Operations whose answers are told by their rules."""


def requantization_arguments(params: Requantization) -> dict[str, Any]:
    """Arguments of a case that asks for codes of accumulators."""
    given = {
        "dtype": params.dtype,
        "zero_point": params.zero_point,
        "quant_min": params.quant_min,
        "quant_max": params.quant_max,
        "axis": params.axis,
    }
    return {name: value for name, value in given.items() if value is not None}


def requantization_inputs(acc: Array, params: Requantization) -> dict[str, Array]:
    """Input tensors of such a case."""
    return {
        "acc": acc,
        "input_scale": np.asarray(params.input_scale),
        "weight_scale": np.asarray(params.weight_scale),
        "output_scale": np.asarray(params.output_scale),
    }


def requantization_of(case: Case, tensors: Tensors) -> Requantization:
    """The scales, zero point, format and bounds that a case asks for."""
    return Requantization(
        tensors["input_scale"],
        tensors["weight_scale"],
        tensors["output_scale"],
        **{
            name: case.arguments[name]
            for name in ("zero_point", "dtype", "quant_min", "quant_max", "axis")
            if name in case.arguments
        },
    )


def layer_arguments(layer: IntegerLayer) -> dict[str, Any]:
    """Arguments of a case that asks for an integer layer."""
    output = {
        "dtype": layer.output_dtype,
        "zero_point": layer.output_zero_point,
        "quant_min": layer.quant_min,
        "quant_max": layer.quant_max,
    }
    return {
        "op": layer.op,
        "operands": [operand.dtype for operand in layer.operands],
        "output": {name: value for name, value in output.items() if value is not None},
        **({"attributes": dict(layer.attributes)} if layer.attributes else {}),
    }


def layer_inputs(layer: IntegerLayer) -> dict[str, Array]:
    """Input tensors of such a case."""
    tensors: dict[str, Array] = {"output:scale": np.asarray(layer.output_scale)}
    for index, operand in enumerate(layer.operands):
        tensors[f"operand_{index}"] = operand.codes
        tensors[f"operand_{index}:scale"] = operand.scale
        tensors[f"operand_{index}:zero_point"] = operand.zero_point
    if layer.bias is not None:
        tensors["bias"] = layer.bias
    return tensors


def layer_of(case: Case, tensors: Tensors) -> IntegerLayer:
    """The integer layer that a case asks."""
    operands = tuple(
        IntegerTensor(
            tensors[f"operand_{index}"],
            tensors[f"operand_{index}:scale"],
            tensors[f"operand_{index}:zero_point"],
            dtype,
        )
        for index, dtype in enumerate(case.arguments["operands"])
    )
    output = case.arguments["output"]
    return IntegerLayer(
        case.arguments["op"],
        operands,
        tensors["output:scale"],
        output["zero_point"],
        output["dtype"],
        output.get("quant_min"),
        output.get("quant_max"),
        tensors.get("bias"),
        case.arguments.get("attributes", {}),
    )


def operator_of(case: Case) -> str:
    """What a report calls the operator that a case asks."""
    return str(case.arguments["op"]) if case.operation == "integer_layer" else case.operation


def answers(case: Case, tensors: Tensors) -> dict[str, Array]:
    """Codes under every rule, by the rule's name; a rule that refuses the case has none."""
    names = [name for rule in RULES.values() for name in rule_names(rule)]
    call: Callable[[str], Array]
    if case.operation == "requantize":
        params = requantization_of(case, tensors)

        def call(name: str) -> Array:
            return requantize(tensors["acc"], params, get_rule(name))
    else:
        layer = layer_of(case, tensors)
        names += POOL_RULES
        acc = accumulators_of(layer) if layer.op in SUMS else None  # once for all rules

        def call(name: str) -> Array:
            return integer_layer(layer, name) if acc is None else requantized(layer, acc, name)

    found = {}
    for name in names:
        try:
            found[name] = call(name)
        except QuantError:
            continue
    return found
