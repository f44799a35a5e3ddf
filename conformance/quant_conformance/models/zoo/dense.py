"""Models of linear layers, attention and tables."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def seeded(count: int, *shape: int) -> list[tuple[Tensor, ...]]:
    """Batches of normal numbers, the same in every run."""
    generator = torch.Generator().manual_seed(7)
    return [(torch.randn(*shape, generator=generator),) for _ in range(count)]


class Mlp(nn.Module):
    """Three linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.GELU(), nn.Linear(64, 32)
        )

    def forward(self, x: Tensor) -> Tensor:
        """32 numbers for each row of 64."""
        return self.layers(x)

    def batches(self, count: int) -> list[tuple[Tensor, ...]]:
        """Inputs."""
        return seeded(count, 4, 64)


class TransformerBlock(nn.Module):
    """LayerNorm, self-attention, GELU, two skips."""

    def __init__(self, size: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.up, self.down = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, size), as it came."""
        x = x + self.out(self._mixed(self.norm1(x)))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))

    def _mixed(self, x: Tensor) -> Tensor:
        batch, length, size = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, size // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = torch.matmul(q, k.transpose(-1, -2)) * (size // self.heads) ** -0.5
        return torch.matmul(scores.softmax(-1), v).transpose(1, 2).reshape(batch, length, size)

    def batches(self, count: int) -> list[tuple[Tensor, ...]]:
        """Inputs."""
        return seeded(count, 2, 6, 64)


class EmbeddingClassifier(nn.Module):
    """The mean of embeddings, classified."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 64)
        self.hidden, self.head = nn.Linear(64, 64), nn.Linear(64, 32)

    def forward(self, ids: Tensor) -> Tensor:
        """Class scores for rows of ids below 50."""
        return self.head(functional.relu(self.hidden(self.embedding(ids).mean(1))))

    def batches(self, count: int) -> list[tuple[Tensor, ...]]:
        """Inputs: int32, which every runtime has."""
        generator = torch.Generator().manual_seed(7)
        return [
            (torch.randint(0, 50, (3, 8), generator=generator, dtype=torch.int32),)
            for _ in range(count)
        ]
