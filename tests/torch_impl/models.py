"""Small models that the tests of the Quantizer share, each with example inputs."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 32)
        self.second = nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(functional.relu(self.first(x)))


class Cnn(nn.Module):
    """Convolutions with batch norm, a depthwise and a transposed one, pooling and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.depthwise(x)
        x = self.pool(self.up(x))
        x = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.head(x)


class BasicBlock(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride != 1 or channels != out:
            self.down = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = x if self.down is None else self.down(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += skip
        return self.relu(y)


class ResNet18(nn.Module):
    """The layout of ResNet-18; ``width`` 64 is the published one."""

    def __init__(self, width: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        sizes = [width, width, 2 * width, 4 * width, 8 * width]
        self.layers = nn.ModuleList(
            nn.Sequential(BasicBlock(a, b, 1 if a == b else 2), BasicBlock(b, b, 1))
            for a, b in itertools.pairwise(sizes)
        )
        self.head = nn.Linear(8 * width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Attention(nn.Module):
    """Self-attention written out with Linear and matmul."""

    def __init__(self, size: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, size = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = torch.matmul(q, k.transpose(-1, -2)) * (size // self.heads) ** -0.5
        mixed = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, length, size)
        return self.out(mixed)


class TransformerBlock(nn.Module):
    def __init__(self, size: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = Attention(size, heads)
        self.up, self.down = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Encoder(nn.Module):
    """A stack of transformer blocks."""

    def __init__(self, layers: int = 6, size: int = 128, heads: int = 4) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(size, heads) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Branching(nn.Module):
    """Control flow that depends on the data: a branch, and a loop of data-dependent length."""

    def __init__(self) -> None:
        super().__init__()
        self.positive, self.negative = nn.Linear(8, 8), nn.Linear(8, 8)
        self.refine = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.positive(x) + 1.0 if x.sum() > 0 else self.negative(x) * 2.0
        rounds = 1 + int(x.abs().mean() > 1)
        for _ in range(rounds):
            x = x + self.refine(x)
        return x * 0.5


class EmbeddingClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(tokens).mean(1))


def examples(seed: int = 0) -> dict[str, tuple[nn.Module, tuple[torch.Tensor, ...]]]:
    """Every model, seeded, in evaluation mode, with one example input."""
    torch.manual_seed(seed)
    models = {
        "mlp": (Mlp(), (torch.randn(4, 16),)),
        "cnn": (Cnn(), (torch.randn(2, 3, 8, 8),)),
        "resnet": (ResNet18(width=8), (torch.randn(2, 3, 32, 32),)),
        "transformer": (TransformerBlock(), (torch.randn(2, 5, 16),)),
        "branching": (Branching(), (torch.rand(4, 8),)),
        "embedding": (EmbeddingClassifier(), (torch.randint(0, 20, (2, 7)),)),
    }
    return {name: (model.eval(), inputs) for name, (model, inputs) in models.items()}


def batches(name: str, count: int, seed: int = 1) -> list[tuple[torch.Tensor, ...]]:
    """Seeded inputs for a model of :func:`examples`, like its example input."""
    _, example = examples()[name]
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        drawn = (
            torch.randn(x.shape, generator=generator)
            if x.is_floating_point()
            else torch.randint(0, 20, x.shape, generator=generator)
            for x in example
        )
        made.append(tuple(drawn))
    return made
