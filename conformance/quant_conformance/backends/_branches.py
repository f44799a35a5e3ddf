"""Many small torch modules as one, so that one export answers many cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def branches(modules: Sequence[Any]) -> Any:
    """Returns a torch module that gives each module its own input and lists the results."""
    import torch

    class Branches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(modules)

        def forward(self, *inputs: Any) -> Any:
            return tuple(part(x) for part, x in zip(self.parts, inputs, strict=True))

    return Branches().eval()
