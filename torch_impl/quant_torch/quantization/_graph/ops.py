"""Names of the operations in a captured graph: what configs and patterns call a node."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from quant_torch._torch_internals import OpOverload, OpOverloadPacket

OP_TYPES = "quant_op_types"
"""Key in ``node.meta`` for the op types of a node whose target was changed after the capture."""

_OPERATORS = {
    operator.add: "add", operator.iadd: "add", operator.sub: "sub", operator.isub: "sub",
    operator.mul: "mul", operator.imul: "mul", operator.truediv: "div", operator.itruediv: "div",
    operator.matmul: "matmul", operator.imatmul: "matmul", operator.neg: "neg",
    operator.pow: "pow", operator.mod: "remainder", operator.floordiv: "floor_divide",
}  # fmt: skip

# torch spells some functions in several ways; the graph has one of them.
_SPELLINGS = {
    "logsigmoid": "log_sigmoid",
    "multiply": "mul",
    "subtract": "sub",
    "true_divide": "div",
    "divide": "div",
    "concat": "cat",
    "concatenate": "cat",
    "swapaxes": "transpose",
    "swapdims": "transpose",
    "__rsub__": "rsub",
}


def op_types(node: fx.Node) -> tuple[str, ...]:
    """The names that a node's type goes by, the most specific first.

    ``("add_", "add")`` for an in-place addition, ``("linear",)`` for a linear layer.
    """
    known = node.meta.get(OP_TYPES)
    if known is None:
        known = node.meta[OP_TYPES] = _types_of_target(node)
    return known


def op_type(node: fx.Node) -> str:
    """The type of a node without its in-place mark, as patterns and tables spell it."""
    types = op_types(node)
    return types[-1] if types else ""


def _types_of_target(node: fx.Node) -> tuple[str, ...]:
    if node.op != "call_function":
        return ()
    if not isinstance(node.target, OpOverload):
        return (getattr(node.target, "__name__", ""),)
    written = node.target._schema.name.rpartition("::")[2]
    plain = written.rstrip("_") if not written.startswith("__") else written
    plain = _SPELLINGS.get(plain, plain)
    return tuple(dict.fromkeys((written, plain)))


def type_named_by(operation: str | Callable[..., Any]) -> str:
    """The op type that a user means by a name, a torch function or an operator.

    Args:
        operation: ``"div"``, ``torch.div``, ``operator.truediv``, ``torch.nn.functional.relu``,
            ``torch.ops.aten.div.Tensor``.

    Raises:
        TypeError: Something that names no operation.
    """
    if callable(operation) and operation in _OPERATORS:
        return _OPERATORS[operation]
    if isinstance(operation, OpOverload):
        name = operation._schema.name.rpartition("::")[2]
    elif isinstance(operation, OpOverloadPacket):
        name = operation.__name__
    else:
        name = operation if isinstance(operation, str) else getattr(operation, "__name__", "")
    if not name:
        raise TypeError(
            f"an operation in a pattern is a torch function, an operator or the name of one, "
            f"given {operation!r}"
        )
    if not name.startswith("__"):
        name = name.rstrip("_")
    return _SPELLINGS.get(name, name)


def is_float(node: fx.Node) -> bool:
    """Whether a node's value is one tensor of floating-point numbers."""
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def shape_of(node: fx.Node) -> tuple[Any, ...]:
    """Shape of a node's tensor; extents may be symbolic."""
    return tuple(node.meta["val"].shape)


def is_state(node: fx.Node) -> bool:
    """Whether a node is a parameter, a buffer or a constant of the model."""
    return node.op == "get_attr"


def is_random(node: fx.Node) -> bool:
    """Whether an operation draws random numbers, also in evaluation mode."""
    if not isinstance(node.target, OpOverload):
        return False
    name = node.target._schema.name.rpartition("::")[2]
    if "dropout" in name:
        return node.args[-1] is not False  # as captured: (x, p, train)
    return torch.Tag.nondeterministic_seeded in node.target.tags


def argument_name(node: fx.Node, source: fx.Node) -> str | None:
    """What the operator's schema calls the argument in which ``source`` enters ``node``."""
    if not isinstance(node.target, OpOverload):
        return None
    parameters = node.target._schema.arguments
    for parameter, value in zip(parameters, node.args, strict=False):
        if value is source or (isinstance(value, list | tuple) and source in value):
            return parameter.name
    return next((name for name, value in node.kwargs.items() if value is source), None)


def module_of(node: fx.Node) -> str | None:
    """Name of the innermost module whose forward called the operation; "" is the model."""
    stack = module_stack(node)
    return stack[-1][0] if stack else None


def module_stack(node: fx.Node) -> list[tuple[str, str]]:
    """(name, fully qualified class) of the modules around a node, outermost first."""
    stack = node.meta.get("nn_module_stack") or {}
    # A module that is called again is listed as "block@1".
    return [(name.partition("@")[0], str(kind)) for name, kind in stack.values()]
