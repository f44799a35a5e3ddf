"""Where tensors enter and leave the modules that a config treats as a whole.

A captured graph knows which module an operation ran in, but not which argument of the module a
tensor was. So while the model is exported, hooks mark the arguments and results of those modules
with an identity operation; afterwards the marks are taken out and noted at the nodes.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from quant_torch._torch_internals import pytree

ENTERS = "quant_enters"
"""Key in ``node.meta``: the edges by which an operation reads a module's input."""

LEAVES = "quant_leaves"
"""Key in ``node.meta``: the module outputs that a node's value is."""

_library = torch.library.Library("quant_torch", "DEF")
_library.define(
    "boundary(Tensor(a) x, str module, str side, int index, str name) -> Tensor(a)",
    tags=torch.Tag.pt2_compliant_tag,
)


@torch.library.impl(_library, "boundary", "CompositeExplicitAutograd")
def _boundary(x: torch.Tensor, module: str, side: str, index: int, name: str) -> torch.Tensor:
    return x.view_as(x)


@dataclass(frozen=True)
class Crossing:
    """A tensor that crosses the boundary of a module.

    Attributes:
        module: Name of the module.
        index: Position among the flattened arguments or results of its forward.
        name: Name of the argument; empty for results.
        source: For an input, the node whose value enters.
    """

    module: str
    index: int
    name: str
    source: fx.Node | None = None


@contextmanager
def record_boundaries(model: nn.Module, names: Collection[str]) -> Iterator[None]:
    """Mark what enters and leaves the named modules, while inside."""
    handles = []
    for name in names:
        module = model.get_submodule(name)
        handles.append(
            module.register_forward_pre_hook(_marks_inputs(name, module), with_kwargs=True)
        )
        handles.append(module.register_forward_hook(_marks_outputs(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _marks_inputs(name: str, module: nn.Module) -> Any:
    signature = inspect.signature(module.forward)

    def mark(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bound = signature.bind(*args, **kwargs)
        index = 0
        for argument, value in bound.arguments.items():
            leaves, spec = pytree.tree_flatten(value)
            marked = [
                _mark(leaf, name, "enters", index + k, argument) for k, leaf in enumerate(leaves)
            ]
            bound.arguments[argument] = pytree.tree_unflatten(marked, spec)
            index += len(leaves)
        return bound.args, bound.kwargs

    return mark


def _marks_outputs(name: str) -> Any:
    def mark(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        leaves, spec = pytree.tree_flatten(output)
        marked = [_mark(leaf, name, "leaves", k, "") for k, leaf in enumerate(leaves)]
        return pytree.tree_unflatten(marked, spec)

    return mark


def _mark(value: Any, module: str, side: str, index: int, name: str) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return torch.ops.quant_torch.boundary(value, module, side, index, name)


def take_out_marks(graph: fx.Graph) -> None:
    """Remove the marks of :func:`record_boundaries` and note them in ``node.meta``."""
    mark = torch.ops.quant_torch.boundary.default
    for node in reversed(list(graph.nodes)):  # what is marked twice: the outer mark goes last
        if node.target is not mark:
            continue
        source, module, side, index, name = node.args
        crossing = Crossing(module, index, name, source if side == "enters" else None)
        if side == "leaves":
            source.meta.setdefault(LEAVES, []).append(crossing)
            source.meta[LEAVES] += node.meta.get(LEAVES, ())
        else:
            for user in node.users:
                user.meta.setdefault(ENTERS, []).append(crossing)
        for user in list(node.users):
            user.meta[ENTERS] = [
                Crossing(c.module, c.index, c.name, source) if c.source is node else c
                for c in user.meta.get(ENTERS, ())
            ]
        node.replace_all_uses_with(source)
        graph.erase_node(node)
