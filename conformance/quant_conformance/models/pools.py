"""Pools by their arguments."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from quant_conformance.models.chains import Images


class PoolArguments(Images):
    """A sum of windows that is called an average, and windows that can miss their input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Filter, pool twice, filter."""
        x = functional.relu6(self.conv1(x))
        x = functional.avg_pool2d(x, 2, divisor_override=1)
        x = functional.max_pool2d(x, 2, stride=1, padding=1, dilation=2)
        return self.conv2(x)
