"""ATen's comparisons, selections, casts and whole numbers as steps: exact operations (ADM-5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from quant_conformance.gate.aten.calls import Call, Operand, Steps
from quant_reference.admissible import Step


def _operand(call: Call, name: str) -> Operand:
    """A tensor's name, or a number."""
    value = call[name]
    return str(value) if call.is_tensor(name) else float(value)


def _part(call: Call, name: str) -> str:
    return f"{call.operation.outputs[0]}/{name}"


def unary(op: str) -> Callable[[Call], Steps]:
    """A function of one tensor."""
    return lambda call: [call.step(op, call["self"])]


def _binary(op: str) -> Callable[[Call], Steps]:
    return lambda call: [call.step(op, _operand(call, "self"), _operand(call, "other"))]


def _round(call: Call) -> Steps:
    if call.get("decimals", 0):
        raise NotImplementedError("round to decimals")
    return [call.step("round", call["self"])]


def _where(call: Call) -> Steps:
    if "self" not in call:
        raise NotImplementedError("the places of what is not zero")
    operands = (_operand(call, name) for name in ("self", "other"))
    return [call.step("where", call["condition"], *operands)]


def _masked_fill(call: Call) -> Steps:
    return [call.step("where", call["mask"], _operand(call, "value"), call["self"])]


def _threshold(call: Call) -> Steps:
    """The input where it is greater, else a value."""
    above = Step("gt", (call["self"], float(call["threshold"])), _part(call, "above"), {})
    return [above, call.step("where", above.output, call["self"], float(call["value"]))]


def _bitwise(op: str) -> Callable[[Call], Steps]:
    """On truths they are the logical functions."""

    def make(call: Call) -> Steps:
        if call.dtype("self").kind != "b" or call.output_dtype.kind != "b":
            raise NotImplementedError(f"bits of {call.dtype('self')}")
        names = [name for name in ("self", "other") if name in call]
        return [call.step(f"logical_{op}", *(_operand(call, name) for name in names))]

    return make


def to_copy(call: Call) -> Steps:
    """A cast: to a float it rounds, to an integer it cuts off, a truth is what is not zero."""
    source, target = call.dtype("self"), call.output_dtype
    if source == target or source.kind == "b":
        return [call.step("identity", call["self"])]
    if target.kind == "b":
        return [call.step("ne", call["self"], 0.0)]
    if target.kind == "f":
        return [call.step("round_to", call["self"], dtype=target.name)]
    if target.kind not in "iu":
        raise NotImplementedError(f"a cast from {source} to {target}")
    values = call.values[call["self"]]
    limits = np.iinfo(np.int32 if target.itemsize > 4 else target)  # converters have no int64
    if not (np.all(values >= limits.min) and np.all(values <= limits.max)):
        raise NotImplementedError(f"a cast to {target} of what it does not hold")
    return [call.step("trunc", call["self"])]


SELECTIONS: Mapping[str, Callable[[Call], Steps]] = {
    **{op: unary(op) for op in ("abs", "sign", "floor", "ceil", "trunc", "logical_not")},
    **{op: _binary(op) for op in ("maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge")},
    **{op: _binary(op) for op in ("logical_and", "logical_or", "logical_xor")},
    **{f"bitwise_{op}": _bitwise(op) for op in ("and", "or", "xor", "not")},
    "sgn": unary("sign"),
    "round": _round,
    "where": _where,
    "masked_fill": _masked_fill,
    "threshold": _threshold,
    "to_copy": to_copy,
}
"""Name of the ATen operation, without underscores around it -> its steps."""
