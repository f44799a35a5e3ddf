"""Integer arithmetic that floats carry: positions, buckets, masks and indices."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Positions(nn.Module):
    """Buckets of distances, a mask, angles from a buffer, and cells that activations choose."""

    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.tensor([1.0, 0.5, 0.25, 0.125]))
        self.q = nn.Linear(4, 4)
        self.k = nn.Linear(4, 4)
        self.nearness = nn.Embedding(8, 1)
        self.cells = nn.Embedding(9, 4)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Five rows, the last of which is hidden."""
        return torch.randn(5, 4), torch.tensor([1, 1, 1, 1, 0])

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attend with what is near, then look up what the rows say."""
        places = torch.arange(5)
        x = x + torch.sin(places.unsqueeze(1).float() * self.frequencies)
        distance = (places.unsqueeze(0) - places.unsqueeze(1)).abs()
        far = (torch.log(distance.float() / 2) * 2.5).long() + 2
        nearness = self.nearness(torch.where(distance < 2, distance, far)).squeeze(-1)
        hidden = (1.0 - mask.float()) * -1e9
        scores = self.q(x) @ self.k(x).t()
        weights = torch.softmax(scores + nearness + hidden, -1)
        cells = self.cells((torch.exp(-x.square().sum(1)) * 8.5).long())
        return weights @ cells
