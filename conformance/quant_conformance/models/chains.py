"""Layers one after another: every fusion boundary, and batch norm in each position."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

IMAGE = (2, 3, 8, 8)


class Images(nn.Module):
    """Base of the models that take one batch of images."""

    def example_inputs(self) -> tuple[Tensor, ...]:
        """One batch."""
        return (torch.randn(IMAGE),)


class Rows(nn.Module):
    """Base of the models that take one batch of rows."""

    def example_inputs(self) -> tuple[Tensor, ...]:
        """One batch."""
        return (torch.randn(4, 6),)


class Mlp(Rows):
    """Two linear layers, the first with an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        return self.fc2(functional.relu(self.fc1(x)))


class ConvBnRelu(Images):
    """The chain of three, then the chain without an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 5, 3)
        self.bn2 = nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        """Filter twice."""
        return self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))


class Conv1dPool(nn.Module):
    """One-dimensional layers: GELU has no known range, a pool shares."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3)
        self.pool = nn.AvgPool1d(2)
        self.fc = nn.Linear(12, 3)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """One batch of signals."""
        return (torch.randn(2, 2, 8),)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a signal."""
        return self.fc(self.pool(functional.gelu(self.conv(x))).flatten(1))


class Conv3dMean(nn.Module):
    """Three-dimensional layers and a mean as global pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 4, 3, padding=1)
        self.bn = nn.BatchNorm3d(4)
        self.fc = nn.Linear(4, 3)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """One batch of volumes."""
        return (torch.randn(2, 2, 4, 4, 4),)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a volume."""
        return self.fc(functional.silu(self.bn(self.conv(x))).mean((2, 3, 4)))


class ConvTransposeBn(Images):
    """A transposed convolution with batch norm and ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 4, 2, stride=2)
        self.bn = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale up."""
        return self.conv(functional.relu6(self.bn(self.up(x))))


class LinearBn(Rows):
    """Batch norm behind a linear layer of rank 2 is folded."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.bn = nn.BatchNorm1d(8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        return self.fc2(functional.leaky_relu(self.bn(self.fc1(x))))


class LinearBnRank3(nn.Module):
    """At rank 3 the batch norm normalizes another axis than the layer's channels: not folded."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 5)
        self.bn = nn.BatchNorm1d(5)
        self.fc2 = nn.Linear(5, 3)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """One batch of sequences."""
        return (torch.randn(2, 5, 6),)

    def forward(self, x: Tensor) -> Tensor:
        """Classify each step."""
        return self.fc2(functional.relu(self.bn(self.fc1(x))))


class BnAlone(Images):
    """Batch norms with no layer to fold into: first, and behind an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(3)
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn2 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Filter twice."""
        return self.conv2(self.bn2(functional.relu(self.conv1(self.bn1(x)))))


class ConvTwoReadersBn(Images):
    """A convolution read by its batch norm and by an addition: nothing is folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        """Add the normalized to the original."""
        x = self.conv(x)
        return x + self.bn(x)


class DepthwiseSeparable(Images):
    """A depthwise convolution, then a pointwise one."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False)
        self.bn1 = nn.BatchNorm2d(3)
        self.pointwise = nn.Conv2d(3, 6, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        """Filter."""
        x = functional.hardswish(self.bn1(self.depthwise(x)))
        return functional.hardswish(self.bn2(self.pointwise(x)))


class KnownRanges(Rows):
    """Every activation whose range is known, in a chain."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(7))

    def forward(self, x: Tensor) -> Tensor:
        """Squash seven times."""
        x = functional.relu(self.layers[0](x))
        x = functional.relu6(self.layers[1](x))
        x = torch.sigmoid(self.layers[2](x))
        x = torch.tanh(self.layers[3](x))
        x = functional.hardsigmoid(self.layers[4](x))
        x = functional.hardtanh(self.layers[5](x), -2.0, 3.0)
        return functional.hardtanh(self.layers[6](x), 1.0, 2.0)


class PoolChain(Images):
    """Pools and flatten share with what comes before them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.max_pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 5, 3, padding=1)
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        x = self.conv2(self.max_pool(functional.relu(self.conv1(x))))
        return self.fc(self.flatten(self.avg_pool(x)))


class WithDropout(Rows):
    """A dropout between two layers passes qparams through, one at the end does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.drop1 = nn.Dropout(0.5)
        self.fc2 = nn.Linear(8, 3)
        self.drop2 = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        return self.drop2(self.fc2(self.drop1(torch.sigmoid(self.fc1(x)))))
