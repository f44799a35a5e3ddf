"""Models of convolutions."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from quant_conformance.models.zoo.dense import seeded


def _block(inner: int, outer: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, stride, 1, groups=groups, bias=False),
        nn.BatchNorm2d(outer),
        nn.ReLU(),
    )


def _settle(model: nn.Module, inputs: list[tuple[Tensor, ...]]) -> None:
    """Give batch norms statistics of data, as after training."""
    model.train()
    with torch.no_grad():
        for batch in inputs:
            model(*batch)
    model.eval()


class _Images(nn.Module):
    size = 16

    def batches(self, count: int) -> list[tuple[Tensor, ...]]:
        """Inputs."""
        return seeded(count, 2, 3, self.size, self.size)


class Cnn(_Images):
    """Convolutions with batch norm, pooling, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(_block(3, 16), nn.MaxPool2d(2), _block(16, 32))
        self.head = nn.Linear(32, 32)
        _settle(self, self.batches(4))

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        return self.head(functional.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class Separable(_Images):
    """Depthwise and pointwise convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(3, 16)
        self.depthwise = _block(16, 16, 2, groups=16)
        self.pointwise = nn.Sequential(nn.Conv2d(16, 32, 1), nn.BatchNorm2d(32), nn.ReLU6())
        self.head = nn.Linear(32, 32)
        _settle(self, self.batches(4))

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        x = self.pointwise(self.depthwise(self.stem(x)))
        return self.head(x.mean((2, 3)))


class _Residual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.first = _block(inner, outer, stride)
        self.second = nn.Sequential(
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer)
        )
        self.down: nn.Module | None = None
        if stride != 1 or inner != outer:
            self.down = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.down is None else self.down(x)
        return functional.relu(self.second(self.first(x)) + skip)


class ResNet18(_Images):
    """The layout of ResNet-18, a quarter as wide."""

    size = 32

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        sizes = [width, width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    _Residual(inner, outer, 1 if inner == outer else 2), _Residual(outer, outer, 1)
                )
                for inner, outer in pairwise(sizes)
            )
        )
        self.head = nn.Linear(8 * width, 32)
        _settle(self, self.batches(4))

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        return self.head(functional.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1).flatten(1))


class UNet(_Images):
    """Down, up by a transposed convolution, and a concatenation across."""

    def __init__(self) -> None:
        super().__init__()
        self.down = _block(3, 16)
        self.deep = _block(16, 32)
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.merge = _block(32, 16)
        self.out = nn.Conv2d(16, 4, 1)
        _settle(self, self.batches(4))

    def forward(self, x: Tensor) -> Tensor:
        """Four maps in the size of the image."""
        fine = self.down(x)
        coarse = self.up(self.deep(functional.max_pool2d(fine, 2)))
        return self.out(self.merge(torch.cat([fine, coarse], 1)))
