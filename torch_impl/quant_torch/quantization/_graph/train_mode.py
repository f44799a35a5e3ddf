"""Dropout and batch norm of a captured graph as modules that follow ``train()`` and ``eval()``."""

from __future__ import annotations

import torch
from torch import fx, nn

from quant_torch.quantization._graph.ops import op_type, op_types

DROPOUTS = frozenset({"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"})


class Dropout(nn.Module):
    """A dropout of the captured model, active in training mode.

    Args:
        kind: Name of the ATen operation.
        p: Probability of dropping an element.
    """

    def __init__(self, kind: str, p: float) -> None:
        super().__init__()
        self.kind = kind
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The dropout of x in training mode, x in evaluation mode."""
        if not self.training:
            return x
        return getattr(torch.ops.aten, self.kind)(x, self.p, True)

    def extra_repr(self) -> str:
        """Kind and probability."""
        return f"{self.kind}, p={self.p}"


def switchable_dropout(root: nn.Module, graph: fx.Graph) -> None:
    """Replace the dropouts that were captured in evaluation mode by modules of a root."""
    for node in list(graph.nodes):
        kind = op_type(node)
        if kind not in DROPOUTS or len(node.args) < 3 or node.args[2] is not False:
            continue
        op_types(node)
        node.op = "call_module"
        node.target = add_module(root, node.name, Dropout(kind, float(node.args[1])))
        node.args = (node.args[0],)


def add_module(root: nn.Module, wanted: str, child: nn.Module) -> str:
    """Add a child under a name that is free, and return the name."""
    name, count = wanted, 0
    while hasattr(root, name):
        count += 1
        name = f"{wanted}_{count}"
    root.add_module(name, child)
    return name
