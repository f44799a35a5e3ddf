"""Operations that take the place of one in a trace."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from quant_torch._torch_internals import inline_calls


class Place:
    """Where a tensor goes among the arguments of an operation."""

    def __init__(self, index: int) -> None:
        self.index = index


def trace_of(function: Callable[..., Any], examples: tuple[Tensor, ...]) -> Any:
    """The graph of a function of tensors."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch.jit.trace(function, examples, check_trace=False).graph
    inline_calls(graph)
    return graph


def inlined(
    graph: Any, node: Any, inner: Any, places: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    """Put the nodes of a graph in front of a node of another; the nodes, and what they give.

    Args:
        graph: What is changed.
        node: The node; it stays.
        inner: What is put there.
        places: The values of ``graph`` that are its inputs.
    """
    known = dict(zip((v.debugName() for v in inner.inputs()), places, strict=True))
    made = []
    for each in inner.nodes():
        clone = graph.createClone(each, lambda value: known[value.debugName()])
        clone.insertBefore(node)
        clone.copyMetadata(node)
        made.append(clone)
        for old, new in zip(each.outputs(), clone.outputs(), strict=True):
            known[old.debugName()] = new
    return made, [known[value.debugName()] for value in inner.outputs()]
