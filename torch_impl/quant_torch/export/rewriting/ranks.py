"""Tensors of more than five axes, which Core ML has not, held with their first axes joined.

Every such value stands in the trace as one of five axes with the same elements in the same order,
so that what works element by element goes on as it is, and what moves elements does so by steps
of at most five axes. What is left, the converter refuses, and it is named.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quant_torch.export.rewriting.axes import (
    MOST,
    MOVES,
    Shape,
    Step,
    around,
    cut_out,
    joined,
    of_two,
    result_of,
    shape_of,
)
from quant_torch.export.rewriting.inlining import Place, inlined, trace_of
from quant_torch.export.rewriting.trace_values import UNKNOWN, Values, overload_of

_ALONE = frozenset({
    "quantize_per_tensor", "dequantize", "contiguous", "clone", "alias", "detach", "relu", "relu6",
    "sigmoid", "tanh", "gelu", "silu", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "elu",
    "softplus", "mish", "exp", "log", "sqrt", "rsqrt", "erf", "abs", "neg", "sign", "floor", "ceil",
    "round", "sin", "cos", "clamp", "clamp_min", "clamp_max", "square", "dropout", "to",
})  # fmt: skip
"""Operations of one tensor, element by element."""

_OF_TWO = frozenset({
    "add", "sub", "mul", "div", "maximum", "minimum", "pow", "eq", "ne", "lt", "le", "gt", "ge",
})  # fmt: skip
"""Operations of two tensors, or of one and a number, element by element."""

_RESHAPES = frozenset({
    "view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "_unsafe_view",
})  # fmt: skip

_OF_LISTS = ("aten::cat", "aten::stack")


def without_high_ranks(traced: torch.jit.ScriptModule) -> None:
    """Write what has more than five axes in steps of five at most, as far as there are such.

    Args:
        traced: The trace, its submodules inlined; changed in place.
    """
    nodes = list(traced.graph.nodes())
    if not any(len(shape_of(v) or ()) > MOST for node in nodes for v in node.outputs()):
        return
    rewriter = _Rewriter(traced)
    for node in nodes:
        rewriter.visit(node)


class _Rewriter:
    def __init__(self, traced: torch.jit.ScriptModule) -> None:
        self._traced, self._graph = traced, traced.graph
        self._high: dict[int, Shape] = {}  # what stands joined -> the shape that it stands for

    def visit(self, node: Any) -> None:
        """Write one node in other steps, or note that it works on what stands joined."""
        if node.kind() == "prim::ListConstruct" and _all_users(node.output(), *_OF_LISTS):
            return
        if _name(node) == "unbind" and _all_users(node.output(), "prim::ListUnpack"):
            return
        if node.kind() == "prim::ListUnpack" and _name(node.input().node()) == "unbind":
            self._unbound(node)
            return
        overload = overload_of(node)
        tensors = [v for v in node.inputs() if self._logical(v) is not None]
        if _name(node) in ("cat", "stack") and _first(node).node().kind() == "prim::ListConstruct":
            tensors = list(_first(node).node().inputs())
        results = [self._logical(v) for v in node.outputs()]
        high = [v for v in tensors if v.unique() in self._high]
        if not high and not any(len(shape or ()) > MOST for shape in results):
            return
        name = _name(node)
        if name in ("cat", "stack"):
            self._joined_along(node, tensors)
            return
        if name in _ALONE and len(tensors) == 1 and high:
            self._note(node.output(), self._high[high[0].unique()])
            return
        step = None if overload is None else self._step(node, name, overload)
        if step is None or any(shape is None for shape in results):
            self._separate(node, high)
            return
        self._replace(node, tensors, step)

    def _unbound(self, node: Any) -> None:
        """The members of an axis, one by one."""
        whole, dim, *_ = node.input().node().inputs()
        shape, axis = self._logical(whole), Values(self._traced).of(dim)
        if shape is None or axis is UNKNOWN or len(shape) <= MOST:
            return
        axis %= len(shape)
        found = (*shape[:axis], *shape[axis + 1 :])
        cuts = [cut_out(shape, axis, n, n + 1, 1, found) for n in range(shape[axis])]
        self._replace(node, [whole], lambda x: tuple(cut(x) for cut in cuts))

    def _joined_along(self, node: Any, tensors: list[Any]) -> None:
        """Tensors one behind the other along an axis."""
        shapes = [self._logical(v) for v in tensors]
        dim = Values(self._traced).of(list(node.inputs())[1])
        if dim is UNKNOWN or any(shape is None for shape in shapes):
            self._separate(node, tensors)
            return
        found = result_of(node)
        axis = dim % len(found)
        own = [shape for shape in shapes if shape is not None]
        if _name(node) == "stack":
            own = [(*shape[:axis], 1, *shape[axis:]) for shape in own]
        sizes_of = [around(shape, axis) for shape in own]

        def step(*parts: Tensor) -> Tensor:
            pairs = zip(parts, sizes_of, strict=True)
            made = torch.cat([torch.reshape(part, sizes) for part, sizes in pairs], 1)
            return torch.reshape(made, joined(found))

        self._replace(node, tensors, step)

    def _logical(self, value: Any) -> Shape | None:
        return self._high.get(value.unique(), shape_of(value))

    def _note(self, value: Any, shape: Shape) -> None:
        """A value that stands joined from now on."""
        self._high[value.unique()] = shape
        value.setType(value.type().with_sizes(list(joined(shape))))

    def _step(self, node: Any, name: str, overload: Any) -> Step | None:
        """A function from the tensors as they stand to the results as they will, or None."""
        values = Values(self._traced)
        shapes: list[Shape] = []
        args: list[Any] = []
        for value in node.inputs():
            shape = self._logical(value)
            if shape is not None:
                args.append(Place(len(shapes)))
                shapes.append(shape)
                continue
            known = values.of(value)
            if known is UNKNOWN:
                return None
            args.append(known)
        if name in _RESHAPES and len(shapes) == 1:
            return lambda x: torch.reshape(x, joined(result_of(node)))
        if name in _OF_TWO and 1 <= len(shapes) <= 2:
            return of_two(overload, args, shapes)
        made = MOVES.get(name)
        return None if made is None or len(shapes) != 1 else made(shapes[0], args, node)

    def _replace(self, node: Any, tensors: list[Any], step: Step) -> None:
        values = Values(self._traced)
        examples = tuple(values.example(v) for v in tensors)
        if any(not isinstance(e, Tensor) for e in examples):
            self._separate(node, tensors)
            return
        shapes = [shape_of(v) for v in node.outputs()]
        inner = trace_of(step, examples)
        _, results = inlined(self._graph, node, inner, tensors)
        if len(results) == 1 and node.outputsSize() > 1:
            results = list(results[0].node().inputs())
        for old, new, shape in zip(node.outputs(), results, shapes, strict=True):
            if shape is not None and len(shape) > MOST:
                self._note(new, shape)
            old.replaceAllUsesWith(new)
        node.destroy()

    def _separate(self, node: Any, high: list[Any]) -> None:
        """Give a node that is left as it is the tensors that it was made for."""
        for value in high:
            if value.unique() not in self._high:
                continue
            shape = self._high[value.unique()]
            example = Values(self._traced).example(value)
            if not isinstance(example, Tensor):
                continue
            inner = trace_of(lambda x, shape=shape: torch.reshape(x, shape), (example,))
            _, (apart,) = inlined(self._graph, node, inner, [value])
            for index, given in enumerate(list(node.inputs())):
                if given.unique() == value.unique():
                    node.replaceInput(index, apart)


def _name(node: Any) -> str:
    overload = overload_of(node)
    return "" if overload is None else str(overload.overloadpacket.__name__)


def _first(node: Any) -> Any:
    return next(iter(node.inputs()))


def _all_users(value: Any, *kinds: str) -> bool:
    return all(use.user.kind() in kinds for use in value.uses())
