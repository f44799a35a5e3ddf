"""Where tensors meet and part: sums, products, concatenation, branches, shared weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from quant_conformance.models.chains import Images, Rows


class Elementwise(nn.Module):
    """Operators of two tensors, einsum, and what is no region: softmax."""

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Two matrices."""
        return torch.randn(4, 4), torch.randn(4, 4)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Mix."""
        s = functional.relu(a + b)
        d = a - b
        p = torch.tanh(s * d)
        m = torch.softmax(p @ b, -1)
        return torch.einsum("ij,jk->ik", m, p)


class InPlace(Images):
    """In-place operations are the operations that they replace."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Filter, then add and scale in place."""
        y = self.relu(self.conv(x))
        y += x
        return y.mul_(0.5)


class ResidualBody(nn.Module):
    """What the skip connection goes around."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 3, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        """Filter twice."""
        return self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))


class Residual(Images):
    """A skip connection: the addition and its activation are one region."""

    def __init__(self) -> None:
        super().__init__()
        self.body = ResidualBody()

    def forward(self, x: Tensor) -> Tensor:
        """Filter and add."""
        return functional.relu(self.body(x) + x)


class Branches(Images):
    """One tensor for three readers, of which one is no region."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.left = nn.Conv2d(4, 2, 1)
        self.right = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three views of one tensor."""
        x = functional.relu(self.stem(x))
        return self.left(x), functional.silu(self.right(x)), torch.exp(x)


class Concat(Images):
    """Two branches and the input itself, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 2, 1)
        self.b = nn.Conv2d(3, 2, 3, padding=1)
        self.out = nn.Conv2d(7, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Join and mix."""
        return self.out(torch.cat([self.a(x), self.b(x), x], 1))


class ConcatKnownRanges(Images):
    """The hull of known ranges, and a concatenation where one input has none."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 2, 1)
        self.b = nn.Conv2d(3, 2, 1)
        self.c = nn.Conv2d(3, 2, 1)
        self.d = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Two concatenations."""
        known = torch.cat([functional.relu6(self.a(x)), torch.tanh(self.b(x))], 1)
        mixed = torch.cat([torch.sigmoid(self.c(x)), self.d(x)], 1)
        return known, mixed


class SharedWeight(Images):
    """One layer applied twice: one weight, one quantizer for it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Filter twice with the same filter."""
        return self.conv(functional.relu(self.conv(x)))


class ShapeOnly(Rows):
    """Shape-only operations: before a quantized reader, before a raw one, and at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.fc2 = nn.Linear(4, 4)
        self.fc3 = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reshape, transpose and slice."""
        y = self.fc1(x)
        z = self.fc2(y.reshape(2, 2, 8).transpose(1, 2).reshape(8, 4))
        w = self.fc3(torch.exp(y.unsqueeze(0)).squeeze(0))
        return z.view(4, 8), w


class SqueezeExcite(Images):
    """Channel gates between 0 and 1, multiplied onto their input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(4, 2, 1)
        self.expand = nn.Conv2d(2, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Gate the channels."""
        x = functional.hardswish(self.conv(x))
        gates = functional.relu(self.reduce(self.pool(x)))
        return x * functional.hardsigmoid(self.expand(gates))
