"""Small versions of whole networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from quant_conformance.models.chains import Images


class TiedEmbedding(nn.Module):
    """An embedding whose weight is the classifier's, too."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 6)
        self.fc = nn.Linear(6, 6)
        self.classify = nn.Linear(6, 10, bias=False)
        self.classify.weight = self.embed.weight

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Token numbers."""
        return (torch.tensor([[1, 2, 3], [4, 5, 6]]),)

    def forward(self, tokens: Tensor) -> Tensor:
        """Score every token."""
        return self.classify(functional.gelu(self.fc(self.embed(tokens).mean(1))))


class Attention(nn.Module):
    """Self-attention of two heads, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(8, 8)
        self.k = nn.Linear(8, 8)
        self.v = nn.Linear(8, 8)
        self.out = nn.Linear(8, 8)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Two sequences of five vectors."""
        return (torch.randn(2, 5, 8),)

    def heads(self, x: Tensor) -> Tensor:
        """(batch, step, channel) to (batch, head, step, channel of the head)."""
        return x.reshape(2, 5, 2, 4).permute(0, 2, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        q, k, v = self.heads(self.q(x)), self.heads(self.k(x)), self.heads(self.v(x))
        scores = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(4.0), -1)
        mixed = (scores @ v).permute(0, 2, 1, 3).reshape(2, 5, 8)
        return self.out(mixed)


class MlpMixer(nn.Module):
    """One mixer block: over the steps, then over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(6)
        self.steps = nn.Linear(4, 4)
        self.norm2 = nn.LayerNorm(6)
        self.up = nn.Linear(6, 12)
        self.down = nn.Linear(12, 6)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Two sequences of four patches."""
        return (torch.randn(2, 4, 6),)

    def forward(self, x: Tensor) -> Tensor:
        """Mix."""
        x = x + functional.gelu(self.steps(self.norm1(x).transpose(1, 2))).transpose(1, 2)
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Block(nn.Module):
    """A residual block, with a projection where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.skip: nn.Module | None = None
        if stride != 1:
            self.skip = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Filter and add."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + (x if self.skip is None else self.skip(x)))


class TinyResNet(Images):
    """Stem, max pool, two blocks, global pool, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.block1 = Block(4, 4, 1)
        self.block2 = Block(4, 8, 2)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        x = self.pool(functional.relu(self.bn(self.conv(x))))
        x = self.block2(self.block1(x))
        return self.fc(torch.flatten(self.global_pool(x), 1))


class TinyTransformer(nn.Module):
    """Embedding, one pre-norm encoder layer, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.norm1 = nn.LayerNorm(8)
        self.attention = Attention()
        self.norm2 = nn.LayerNorm(8)
        self.up = nn.Linear(8, 16)
        self.down = nn.Linear(16, 8)
        self.dropout = nn.Dropout(0.1)
        self.classify = nn.Linear(8, 3)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Token numbers of two sequences of five."""
        return (torch.arange(10).reshape(2, 5),)

    def forward(self, tokens: Tensor) -> Tensor:
        """Classify a sequence."""
        x = self.embed(tokens)
        x = x + self.attention(self.norm1(x))
        x = x + self.dropout(self.down(functional.gelu(self.up(self.norm2(x)))))
        return self.classify(x.mean(1))


class TinyUNet(Images):
    """Down, up by a transposed convolution, and a concatenation across."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.leave = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Segment."""
        top = functional.relu(self.enter(x))
        bottom = functional.relu(self.bn(self.down(top)))
        return self.leave(torch.cat([top, self.up(bottom)], 1))
