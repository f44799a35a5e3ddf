"""Blocks of architectures that no package here has in a small form, as their papers draw them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from quant_conformance.models.architectures.vision import Batch


class _Double(nn.Sequential):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(
            nn.Conv2d(inside, outside, 3, padding=1),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, padding=1),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
        )


class _UNet(nn.Module):
    """Contracts, expands and joins both ways (Ronneberger et al., 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = _Double(3, 8), _Double(8, 16), _Double(16, 32)
        self.up2, self.join2 = nn.ConvTranspose2d(32, 16, 2, stride=2), _Double(32, 16)
        self.up1, self.join1 = nn.ConvTranspose2d(16, 8, 2, stride=2), _Double(16, 8)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores of four classes for every pixel."""
        first = self.down1(x)
        second = self.down2(nn.functional.max_pool2d(first, 2))
        deep = self.bottom(nn.functional.max_pool2d(second, 2))
        second = self.join2(torch.cat([self.up2(deep), second], 1))
        made: Tensor = self.head(self.join1(torch.cat([self.up1(second), first], 1)))
        return made


def unet() -> tuple[nn.Module, Batch]:
    """Makes a U-Net of three levels."""
    return _UNet(), lambda generator: (torch.randn(1, 3, 32, 32, generator=generator),)


class _Expert(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        return made


class _Mixture(nn.Module):
    """Two of four experts for each token, computed densely and weighted (Mixtral, 2024)."""

    def __init__(self, width: int = 32, experts: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(60, width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(_Expert(width) for _ in range(experts))
        self.head = nn.Linear(width, 60, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns scores of the next token."""
        x = self.embedding(tokens)
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        y = self.norm2(x)
        scores = self.router(y).softmax(-1)
        best, _ = scores.topk(2, dim=-1)
        share = torch.where(scores >= best[..., -1:], scores, torch.zeros_like(scores))
        share = share / share.sum(-1, keepdim=True)
        for index, expert in enumerate(self.experts):
            x = x + share[..., index : index + 1] * expert(y)
        made: Tensor = self.head(x)
        return made


def mixture_of_experts() -> tuple[nn.Module, Batch]:
    """Makes one block of a mixture of experts."""
    return _Mixture(), lambda generator: (torch.randint(3, 60, (1, 12), generator=generator),)


class _Tagger(nn.Module):
    """Convolutions over time, a GRU in both directions, a class for every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(16, 32, 5, stride=2, padding=2)
        self.gru = nn.GRU(32, 24, batch_first=True, bidirectional=True)
        self.head = nn.Linear(48, 12)

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores (1, frames, 12)."""
        y = nn.functional.relu(self.conv(x)).transpose(1, 2)
        made: Tensor = self.head(self.gru(y)[0])
        return made.log_softmax(-1)


def gru_tagger() -> tuple[nn.Module, Batch]:
    """Makes a tagger of speech."""
    return _Tagger(), lambda generator: (torch.randn(1, 16, 16, generator=generator),)


class _Denoiser(nn.Module):
    """A residual block with an embedding of the time and attention (Ho et al., 2020)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.norm1, self.conv1 = nn.GroupNorm(4, width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(4, width), nn.Conv2d(width, width, 3, padding=1)
        self.query, self.out = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """Returns the noise in ``x`` of shape (1, 3, 16, 16) at ``step`` of shape (1,)."""
        half = self.width // 2
        rates = torch.exp(torch.arange(half) * (-math.log(1e4) / half))
        angles = step[:, None] * rates[None]
        time = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        y = self.first(x)
        z = self.conv1(nn.functional.silu(self.norm1(y))) + time[:, :, None, None]
        y = y + self.conv2(nn.functional.silu(self.norm2(z)))
        q, k, v = self.query(y).flatten(2).chunk(3, 1)
        weights = (q.transpose(1, 2) @ k * self.width**-0.5).softmax(-1)
        y = y + self.out((v @ weights.transpose(1, 2)).reshape(y.shape))
        made: Tensor = self.last(nn.functional.silu(y))
        return made


def denoiser() -> tuple[nn.Module, Batch]:
    """Makes one block of a diffusion model."""

    def batch(generator: torch.Generator) -> tuple[Tensor, ...]:
        return (
            torch.randn(1, 3, 16, 16, generator=generator),
            torch.rand(1, generator=generator) * 100,
        )

    return _Denoiser(), batch


class _Graph(nn.Module):
    """Two rounds of messages over a dense adjacency matrix (Kipf and Welling, 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 24), nn.Linear(24, 24)
        self.head = nn.Linear(24, 3)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Returns scores of the graph from nodes (n, 8) and edges (n, n)."""
        linked = edges + torch.eye(edges.shape[0])
        share = linked / linked.sum(-1, keepdim=True)
        x = nn.functional.relu(self.first(share @ nodes))
        x = nn.functional.relu(self.second(share @ x))
        made: Tensor = self.head(x.amax(0, keepdim=True))
        return made


def graph_network() -> tuple[nn.Module, Batch]:
    """Makes a graph network."""

    def batch(generator: torch.Generator) -> tuple[Tensor, ...]:
        edges = (torch.rand(10, 10, generator=generator) < 0.3).float()
        return torch.randn(10, 8, generator=generator), torch.maximum(edges, edges.T)

    return _Graph(), batch


class _Recommender(nn.Module):
    """Embeddings, a network for numbers, and all their products (DLRM, 2019)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(20, width) for _ in range(4))
        self.dense = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, width), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(width + 25, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Returns a probability from numbers (1, 6) and categories (1, 4)."""
        dense = self.dense(numbers)
        rows = [dense] + [table(categories[:, i]) for i, table in enumerate(self.tables)]
        stacked = torch.stack(rows, 1)
        products = (stacked @ stacked.transpose(1, 2)).flatten(1)
        made: Tensor = self.top(torch.cat([dense, products], 1))
        return made.sigmoid()


def recommender() -> tuple[nn.Module, Batch]:
    """Makes a recommender."""

    def batch(generator: torch.Generator) -> tuple[Tensor, ...]:
        return (
            torch.randn(1, 6, generator=generator),
            torch.randint(0, 20, (1, 4), generator=generator),
        )

    return _Recommender(), batch
