"""Models about which several entries of a config disagree."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from quant_conformance.models.chains import Rows


class TiedLinears(Rows):
    """Two layers that hold one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.l1 = nn.Linear(6, 6)
        self.l2 = nn.Linear(6, 6)
        self.l2.weight = self.l1.weight

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        return self.l2(functional.relu(self.l1(x)))


class InnerBlock(nn.Module):
    """What the outer block is around."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return self.fc(x)


class OuterBlock(nn.Module):
    """Takes and returns what its inner block takes and returns."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = InnerBlock()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the inner block."""
        return self.inner(x)


class NestedBlocks(Rows):
    """A block in a block, with one input and one output for both."""

    def __init__(self) -> None:
        super().__init__()
        self.block = OuterBlock()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the blocks."""
        return functional.softmax(self.block(x), -1)
