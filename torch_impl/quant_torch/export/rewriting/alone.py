"""Single operations of a trace or of an exported program as models of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from quant_torch._torch_internals import OpOverload, pytree
from quant_torch.casting._program import Program
from quant_torch.export.rewriting._calls import call
from quant_torch.export.rewriting.trace_values import UNKNOWN, Values, overload_of

Single = tuple[Any, tuple[Any, ...], Callable[..., Any], tuple[Tensor, ...]]
"""A node, a key that equal operations share, a function of tensors, and examples of these."""


def of_trace(traced: torch.jit.ScriptModule) -> Iterator[Single]:
    """The operations of a trace whose arguments are known but for tensors with a known shape."""
    values = Values(traced)
    for node in traced.graph.nodes():
        overload = overload_of(node)
        if overload is None:
            values.follow(node)
            continue
        given: list[Any] = []
        examples: list[Tensor] = []
        for value in node.inputs():
            given.append(_argument(values, value, examples))
        if any(arg is UNKNOWN for arg in given) or not examples:
            continue
        key = (str(overload), *(_told(arg, examples) for arg in given))
        yield node, key, _caller(overload, given), tuple(examples)


class _Place:
    def __init__(self, index: int) -> None:
        self.index = index


def _argument(values: Values, value: Any, examples: list[Tensor]) -> Any:
    known = values.of(value)
    if known is not UNKNOWN:
        return known
    if value.node().kind() == "prim::ListConstruct":
        items = [_argument(values, item, examples) for item in value.node().inputs()]
        return UNKNOWN if any(item is UNKNOWN for item in items) else items
    example = values.example(value)
    if not isinstance(example, Tensor):
        return UNKNOWN
    examples.append(example)
    return _Place(len(examples) - 1)


def _told(arg: Any, examples: list[Tensor]) -> Any:
    if isinstance(arg, _Place):
        arg = examples[arg.index]
        return ("input", tuple(arg.shape), arg.dtype)
    if isinstance(arg, Tensor):
        return ("constant", tuple(arg.shape), arg.dtype)
    if isinstance(arg, list):
        return tuple(_told(item, examples) for item in arg)
    return repr(arg)


def _filled(arg: Any, tensors: tuple[Tensor, ...]) -> Any:
    if isinstance(arg, list):
        return [_filled(item, tensors) for item in arg]
    return tensors[arg.index] if isinstance(arg, _Place) else arg


def _caller(overload: OpOverload, given: list[Any]) -> Callable[..., Any]:
    return lambda *tensors: call(overload, [_filled(arg, tensors) for arg in given])


def of_program(exported: ExportedProgram) -> Iterator[Single]:
    """The operations of an exported program."""
    program = Program(exported)
    for node in program.operations():
        if not isinstance(node.target, OpOverload):
            continue
        examples: list[Tensor] = []
        lacking: list[fx.Node] = []

        def argument(source: fx.Node, program: Program = program, examples: list[Tensor] = examples,
                     lacking: list[fx.Node] = lacking) -> Any:  # fmt: skip
            tensor = program.tensor(source) if source.op == "placeholder" else None
            if tensor is not None:
                return tensor.detach()
            value = source.meta.get("val")
            if not isinstance(value, Tensor) or not all(isinstance(n, int) for n in value.shape):
                lacking.append(source)
                return source
            examples.append(torch.zeros(tuple(value.shape), dtype=value.dtype))
            return _Place(len(examples) - 1)

        args, kwargs = fx.node.map_arg((node.args, node.kwargs), argument)
        if lacking or not examples:
            continue
        leaves, nest = pytree.tree_flatten((args, kwargs))
        key = (str(node.target), *(_told(leaf, examples) for leaf in leaves))

        def function(*tensors: Tensor, target: Any = node.target, leaves: Any = leaves,
                     nest: Any = nest) -> Any:  # fmt: skip
            filled = [_filled(leaf, tensors) for leaf in leaves]
            given, named = pytree.tree_unflatten(filled, nest)
            return target(*given, **named)

        yield node, key, function, tuple(examples)
