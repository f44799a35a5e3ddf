"""Which values of a graph are integer arithmetic carried by floats (PLACE-14)."""

from __future__ import annotations

import torch
from torch import fx

from quant_torch._torch_internals import OpOverload
from quant_torch.quantization._graph.functionalize import MUTATED
from quant_torch.quantization._graph.matching import Region
from quant_torch.quantization._graph.ops import (
    argument_name,
    is_float,
    is_random,
    is_state,
    op_type,
)
from quant_torch.quantization._graph.states import is_parameter
from quant_torch.quantization._whole_numbers import (
    CONVERSIONS,
    FACTORIES,
    FOLLOWING,
    JOINING,
    LIKE_ANOTHER,
    PASSING,
    ROUNDINGS,
    SCORES,
)

# Modules of the functions that a graph calls on sizes, and to take apart several results.
_OF_NUMBERS = ("_operator", "math", "torch")


def _floats(node: fx.Node) -> list[fx.Node]:
    """What an operation reads of floats."""
    return [source for source in node.all_input_nodes if is_float(source)]


class WholeNumbers:
    """Finds the values that come from integers, shapes and constants alone.

    Args:
        graph: The captured graph.
    """

    def __init__(self, graph: fx.Graph) -> None:
        nodes = list(graph.nodes)
        self._found: set[fx.Node] = set()
        for node in nodes:
            if self._is_whole(node):
                self._found.add(node)
        self._becoming: set[fx.Node] = set()
        for node in reversed(nodes):
            if self._becomes_whole(node):
                self._becoming.add(node)

    def __contains__(self, node: fx.Node) -> bool:
        """Whether a value is one of them; integers, truths and sizes are."""
        return node in self._found

    def only(self, region: Region) -> bool:
        """Whether all that a region reads is such a value."""
        sources = {s for node in region.nodes for s in node.all_input_nodes} - set(region.nodes)
        return sources <= self._found

    def becomes(self, node: fx.Node) -> bool:
        """Whether a value is only read by operations that make whole numbers of it."""
        return node in self._becoming

    def _is_whole(self, node: fx.Node) -> bool:
        value = node.meta.get("val")
        if node.op == "placeholder" or (isinstance(value, torch.Tensor) and not is_float(node)):
            return not is_float(node)
        if is_state(node):
            return isinstance(value, torch.Tensor) and not (
                is_parameter(node) or node.meta.get(MUTATED)
            )
        if node.op != "call_function" or node.meta.get(MUTATED) or is_random(node):
            return False
        known = isinstance(node.target, OpOverload)
        if not known and getattr(node.target, "__module__", "") not in _OF_NUMBERS:
            return False  # operations of higher order hold others
        if op_type(node) in ROUNDINGS | FACTORIES:
            return True
        read = node.all_input_nodes[: 1 if op_type(node) in LIKE_ANOTHER else None]
        return all(source in self._found for source in read)

    def _becomes_whole(self, node: fx.Node) -> bool:
        # An assertion about a tensor's dtype reads it, too, and gives nothing.
        readers = [user for user in node.users if user.op == "output" or "val" in user.meta]
        readers = [user for user in readers if user.op == "output" or user.meta["val"] is not None]
        return bool(readers) and all(self._makes_whole(node, user) for user in readers)

    def _makes_whole(self, node: fx.Node, user: fx.Node) -> bool:
        kind = op_type(user)
        if kind in ROUNDINGS:
            return True
        if kind not in CONVERSIONS | PASSING or user.args[0] is not node:
            return False
        return (kind in CONVERSIONS and not is_float(user)) or user in self._becoming


class Masks:
    """Finds what is joined to the scores of a softmax without being computed from them.

    Args:
        graph: The captured graph.
        whole: Its values that come from integers alone.
    """

    def __init__(self, graph: fx.Graph, whole: WholeNumbers) -> None:
        nodes = list(graph.nodes)
        self._whole = whole
        self._given: set[fx.Node] = set()
        self._masked: set[fx.Node] = set()
        for node in nodes:
            kind, sources = op_type(node), _floats(node)
            if node.op == "placeholder" or (
                kind in FOLLOWING and all(s in self._given or s in whole for s in sources)
            ):
                self._given.add(node)
            elif self._joins(node) or (
                kind in FOLLOWING and any(source in self._masked for source in sources)
            ):
                self._masked.add(node)
        self._scores: set[fx.Node] = set()
        for node in reversed(nodes):
            kind = op_type(node)
            for source in _floats(node):
                follows = node in self._scores and kind in FOLLOWING
                if follows or argument_name(node, source) in SCORES.get(kind, ()):
                    self._scores.add(source)

    def joined(self, region: Region) -> bool:
        """Whether a region adds a mask, or adds to masked scores, on the way to a softmax."""
        anchor = region.anchor
        return anchor in self._scores and anchor in self._masked

    def _joins(self, node: fx.Node) -> bool:
        kind, sources = op_type(node), _floats(node)
        filled = kind == "masked_fill" or (kind == "where" and len(sources) < 2)
        return filled or (
            kind in JOINING and any(s in self._given or s in self._whole for s in sources)
        )
