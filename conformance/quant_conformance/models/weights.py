"""Weights that are shared or taken apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from quant_conformance.models.chains import Rows


class WeightPieces(Rows):
    """Two layers whose weights and biases are pieces of one parameter, as in cross-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.packed_weight = nn.Parameter(torch.randn(8, 6))
        self.packed_bias = nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        """Gate."""
        first, second = self.packed_weight.split([4, 4])
        first_bias, second_bias = self.packed_bias.chunk(2)
        gate = functional.linear(x, first, first_bias)
        return gate * functional.linear(x, second, second_bias)


class Transposed(nn.Module):
    """A layer whose weight is (in, out)."""

    def __init__(self, width: int, given: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(given, width) / 4)
        self.bias = nn.Parameter(torch.randn(width) / 4)

    def forward(self, x: Tensor) -> Tensor:
        """x·W + b."""
        return torch.addmm(self.bias, x, self.weight)


class Gain(nn.Module):
    """What a norm multiplies by."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, width))

    def forward(self, x: Tensor) -> Tensor:
        """x, each column times its weight."""
        return self.weight * x


class Products(Rows):
    """Matrix products with parameters, in each spelling; and a parameter that is no factor."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = Gain(6)
        self.wide = Transposed(8, 6)
        self.projection = nn.Parameter(torch.randn(8, 10) / 4)
        self.experts = nn.Parameter(torch.randn(2, 10, 4) / 4)
        self.shift = nn.Parameter(torch.randn(2, 1, 4))
        self.mixing = nn.Parameter(torch.randn(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Weights on the right, weights on the left, weights per batch."""
        x = torch.relu(self.wide(self.gain(x)))
        pairs = (x @ self.projection).reshape(2, -1, 10)
        first = torch.bmm(pairs, self.experts)
        both = first - torch.baddbmm(self.shift, pairs, self.experts)
        return torch.mm(self.mixing, both[:, 0])


class Recurrent(nn.Module):
    """A recurrent layer of two directions, and one step of another."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 6)
        self.layer = nn.LSTM(6, 5, bidirectional=True)
        self.step = nn.GRUCell(10, 4)
        self.leave = nn.Linear(4, 3)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Three steps of two sequences."""
        return (torch.randn(3, 2, 4),)

    def forward(self, x: Tensor) -> Tensor:
        """Read the sequence, then what became of it."""
        rows, _ = self.layer(self.enter(x))
        return self.leave(self.step(rows[-1]))
