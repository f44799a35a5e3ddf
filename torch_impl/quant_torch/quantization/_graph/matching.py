"""Finds the patterns in a graph: which operations form one region."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from torch import fx

from quant_torch.quantization._graph import folding
from quant_torch.quantization._graph.functionalize import MUTATED
from quant_torch.quantization._graph.ops import is_float, op_type
from quant_torch.quantization._graph.patterns import BATCH_NORM, Pattern, patterns


@dataclass(frozen=True)
class Region:
    """Operations that run as one, with quantizers at the ends (PLACE-1).

    Attributes:
        pattern: What was matched.
        nodes: The operations in order; the first one's config counts.
    """

    pattern: Pattern
    nodes: tuple[fx.Node, ...]

    @property
    def anchor(self) -> fx.Node:
        """The operation whose name, type and module decide about the config."""
        return self.nodes[0]

    @property
    def output(self) -> fx.Node:
        """The operation whose result leaves the region."""
        return self.nodes[-1]


def find_regions(graph: fx.Graph, kept_apart: frozenset[fx.Node] = frozenset()) -> list[Region]:
    """Match every pattern; longer ones go first, and no two regions overlap (PLACE-1, PLACE-2).

    Args:
        graph: The captured graph.
        kept_apart: Operations whose own result a config wants quantized, so that no batch norm
            can be folded into them.

    Returns:
        Regions in the order of their first operations.
    """
    by_first: dict[str, list[Pattern]] = defaultdict(list)
    chosen: dict[Pattern, Collection[fx.Node]] = {}
    for pattern in patterns():
        if pattern.choose is not None:
            chosen[pattern] = pattern.choose(graph.owning_module)
        for name in pattern.chain[0]:
            by_first[name].append(pattern)
    found: list[tuple[int, int, Region]] = []
    for place, node in enumerate(graph.nodes):
        for pattern in by_first.get(op_type(node), ()):
            nodes = chain_from(node, pattern, kept_apart)
            if nodes is not None and node in chosen.get(pattern, nodes):
                found.append((-len(nodes), place, Region(pattern, nodes)))
    taken: set[fx.Node] = set()
    regions: list[tuple[int, Region]] = []
    for _, place, region in sorted(found, key=lambda f: f[:2]):
        if taken.isdisjoint(region.nodes):
            taken.update(region.nodes)
            regions.append((place, region))
    return [region for _, region in sorted(regions, key=lambda r: r[0])]


def chain_from(
    first: fx.Node, pattern: Pattern, kept_apart: frozenset[fx.Node] = frozenset()
) -> tuple[fx.Node, ...] | None:
    """The operations of a pattern that begins at a node, or None."""
    if first.op != "call_function" or not is_float(first) or op_type(first) not in pattern.chain[0]:
        return None
    nodes = [first]
    for wanted in pattern.chain[1:]:
        last = nodes[-1]
        if len(last.users) != 1 or last.meta.get(MUTATED):
            return None
        follower = next(iter(last.users))
        if op_type(follower) not in wanted or not is_float(follower):
            return None
        if wanted == BATCH_NORM and (last in kept_apart or not folding.can_fold(last, follower)):
            return None
        nodes.append(follower)
    return tuple(nodes)
