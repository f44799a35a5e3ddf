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
