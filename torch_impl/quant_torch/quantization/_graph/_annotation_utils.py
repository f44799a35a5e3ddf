"""Chains of operations as the classes of the pattern registry write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from quant_torch.quantization._graph.matching import chain_from
from quant_torch.quantization._graph.ops import type_named_by
from quant_torch.quantization._graph.patterns import Pattern


@dataclass(frozen=True)
class OpsListPattern:
    """Operations that follow one another, each the only reader of the one before.

    Attributes:
        pattern: Torch functions, operators, or names of operations.
    """

    pattern: Sequence[str | Callable[..., Any]]

    def chain(self) -> tuple[frozenset[str], ...]:
        """The op type at each place.

        Raises:
            TypeError: Something in it names no operation.
        """
        return tuple(frozenset({type_named_by(op)}) for op in self.pattern)


def match_pattern_with_sequential_partitions(
    model: fx.GraphModule, pattern: OpsListPattern
) -> dict[fx.Node, tuple[fx.Node, ...]]:
    """Where a chain occurs in a captured graph: its operations, by the first one."""
    wanted = Pattern("", pattern.chain())
    chains = (chain_from(node, wanted) for node in model.graph.nodes)
    return {chain[0]: chain for chain in chains if chain is not None}
