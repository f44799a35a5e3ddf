"""ATen operations that are others in a row: fused products, norms, whole numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from quant_conformance.gate.aten.calls import Call, Operand, Steps
from quant_conformance.gate.aten.moves import axes_of, part
from quant_reference.admissible import Step

LONGEST_PRODUCT = 256
"""Elements of a product; each is a step of its own."""


def _operand(call: Call, name: str) -> Operand:
    return str(call[name]) if call.is_tensor(name) else float(call[name])


def _fused(op: str) -> Callable[[Call], Steps]:
    """``self + value · (tensor1 op tensor2)``."""

    def make(call: Call) -> Steps:
        value = float(call["value"])
        steps = [Step(op, (call["tensor1"], call["tensor2"]), part(call, "both"), {})]
        if value != 1:
            scaled = (steps[-1].output, value)
            steps.append(Step("mul", scaled, part(call, "scaled"), {}))
        return [*steps, call.step("add", call["self"], steps[-1].output)]

    return make


def _vector_norm(call: Call) -> Steps:
    """Of order 1, 2 or ∞."""
    order = float(call["ord"])
    if call.get("dtype") is not None and call.dtype("self") != call.output_dtype:
        raise NotImplementedError("a norm in another dtype")
    given: dict[str, Any] = {"dim": axes_of(call, call["dim"]), "keepdim": bool(call["keepdim"])}
    if order == 2:
        square = Step("mul", (call["self"], call["self"]), part(call, "square"), {})
        total = Step("sum", (square.output,), part(call, "sum"), given)
        return [square, total, call.step("sqrt", total.output)]
    extremes = {1.0: "sum", math.inf: "amax", -math.inf: "amin"}
    if order not in extremes:
        raise NotImplementedError(f"a norm of order {order:g}")
    size = Step("abs", (call["self"],), part(call, "abs"), {})
    return [size, call.step(extremes[order], size.output, **given)]


def _prod(call: Call) -> Steps:
    """A product rounds as often in any order."""
    dtypes = call.dtype("self"), call.output_dtype
    if dtypes[0] != dtypes[1] or dtypes[1].kind != "f":
        raise NotImplementedError(f"a product of {dtypes[0]} in {dtypes[1]}")
    call.read |= {"dtype", "keepdim"}  # show in the result
    shape, x, steps = call.shape("self"), str(call["self"]), list[Step]()
    dim = call.get("dim")
    if dim is None:
        count = math.prod(shape)
        steps, dim = [Step("reshape", (x,), part(call, "line"), {"shape": [count]})], 0
        x, shape = steps[0].output, (count,)
    if not 0 < shape[dim] <= LONGEST_PRODUCT:
        raise NotImplementedError(f"a product of {shape[dim]} elements")
    made = ""
    for index in range(shape[dim]):
        given = {"dim": dim, "index": index}
        steps.append(Step("select", (x,), part(call, f"{index}"), given))
        if index:
            factors = (made, steps[-1].output)
            steps.append(Step("mul", factors, part(call, f"{index}/product"), {}))
        made = steps[-1].output
    return [*steps, call.step("reshape", made, shape=list(call.output_shape))]


def _log_of_exponentials(call: Call, axes: list[int]) -> tuple[Steps, str, str, str]:
    """The logarithm of the sum of what stands beside the greatest, and three names.

    Args:
        call: a call whose operand is ``self``.
        axes: the axes of the sum, which are kept.

    Returns:
        The steps; the greatest, the operand less the greatest, and the logarithm.
    """
    names = ("max", "beside", "exp", "sum", "log")
    top, beside, power, total, log = (part(call, name) for name in names)
    given = {"dim": axes, "keepdim": True}
    steps = [
        Step("amax", (call["self"],), top, given),
        Step("sub", (call["self"], top), beside, {}),
        Step("exp", (beside,), power, {}),
        Step("sum", (power,), total, given),
        Step("log", (total,), log, {}),
    ]
    return steps, top, beside, log


def _logsumexp(call: Call) -> Steps:
    """The greatest, and the logarithm of the sum of what stands beside it."""
    steps, top, _, log = _log_of_exponentials(call, axes_of(call, call["dim"]))
    final = part(call, "result")
    return [*steps, Step("add", (log, top), final, {}), *kept(call, final)]


def kept(call: Call, name: str) -> Steps:
    """The result in its own shape, with the axes that were summed over or without."""
    call.read.add("keepdim")  # shows in the result's shape
    return [call.step("reshape", name, shape=list(call.output_shape))]


def _floor_divide(call: Call) -> Steps:
    """A quotient rounded down; of whole numbers exactly."""
    other = _operand(call, "other")
    if call.output_dtype.kind in "iu":
        return [*whole_quotient(call, other, "floor"), call.step("identity", part(call, "floor"))]
    quotient = Step("div", (call["self"], other), part(call, "quotient"), {})
    return [quotient, call.step("floor", quotient.output)]


def whole_quotient(call: Call, other: Operand, name: str) -> Steps:
    """``⌊a/b⌋`` of whole numbers as ``⌊(a + ½)/b⌋`` for b > 0: no quotient is near the next.

    (a + ½)/b is ½/b or more from every whole number, which is more than its roundings as long as
    a is below 2^20.
    """
    given = np.asarray(call.values[other] if isinstance(other, str) else other)
    if not (np.all(given > 0) or np.all(given < 0)):
        raise NotImplementedError("whole numbers divided by some of either sign")
    a: Operand = str(call["self"])
    if np.abs(call.values[str(a)]).max(initial=0) >= 2**20:
        raise NotImplementedError("a quotient of whole numbers of 2^20 and more")
    steps = []
    if np.all(given < 0):
        for side, value in (("a", a), ("b", other)):
            steps.append(Step("mul", (value, -1.0), part(call, f"{name}/{side}"), {}))
        a, other = (step.output for step in steps)
    return [
        *steps,
        Step("add", (a, 0.5), part(call, f"{name}/middle"), {}),
        Step("div", (part(call, f"{name}/middle"), other), part(call, f"{name}/quotient"), {}),
        Step("floor", (part(call, f"{name}/quotient"),), part(call, name), {}),
    ]


def _remainder(rounded: str) -> Callable[[Call], Steps]:
    """What the rounded quotient leaves: rounded down in remainder, cut off in fmod."""

    def make(call: Call) -> Steps:
        other = _operand(call, "other")
        if not call.is_tensor("self"):
            raise NotImplementedError("a remainder of a number")
        names = [part(call, name) for name in ("quotient", "whole", "product")]
        if call.output_dtype.kind in "iu":
            if rounded == "trunc" and (call.values[call["self"]] < 0).any():
                raise NotImplementedError("a remainder of negative whole numbers that is cut off")
            steps = whole_quotient(call, other, "whole")
        else:
            steps = [
                Step("div", (call["self"], other), names[0], {}),
                Step(rounded, (names[0],), names[1], {}),
            ]
        product = Step("mul", (names[1], other), names[2], {})
        return [*steps, product, call.step("sub", call["self"], product.output)]

    return make


def _isinf(call: Call) -> Steps:
    size = Step("abs", (call["self"],), part(call, "abs"), {})
    return [size, call.step("eq", size.output, math.inf)]


def _isnan(call: Call) -> Steps:
    """What is not at most ∞."""
    size = Step("abs", (call["self"],), part(call, "abs"), {})
    number = Step("le", (size.output, math.inf), part(call, "number"), {})
    return [size, number, call.step("logical_not", number.output)]


def _log_softmax(call: Call) -> Steps:
    """What stands beside the greatest, less the logarithm of the sum of its exponentials."""
    call.read |= {"dtype", "half_to_float"}
    if call.dtype("self") != call.output_dtype:
        raise NotImplementedError("a logarithm of a softmax in another dtype")
    steps, _, beside, log = _log_of_exponentials(call, [call["dim"]])
    return [*steps, call.step("sub", beside, log)]


COMPOSED: Mapping[str, Callable[[Call], Steps]] = {
    "addcmul": _fused("mul"),
    "addcdiv": _fused("div"),
    "linalg_vector_norm": _vector_norm,
    "prod": _prod,
    "logsumexp": _logsumexp,
    "floor_divide": _floor_divide,
    "remainder": _remainder("floor"),
    "fmod": _remainder("trunc"),
    "log_softmax": _log_softmax,
    "isinf": _isinf,
    "isnan": _isnan,
}
"""Name of the ATen operation, without underscores around it -> its steps."""
