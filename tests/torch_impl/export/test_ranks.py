"""Tensors of more than five axes in Core ML: written in steps of five, or refused by name."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quant_conformance.runtimes import MilExecutor
from quant_torch import CoreMLExportError
from quant_torch.export import save_coreml, to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

pytest.importorskip("coremltools")


def windows(x: Tensor, size: int = 2) -> Tensor:
    b, h, w, c = x.shape
    return x.view(b, h // size, size, w // size, size, c).permute(0, 1, 3, 2, 4, 5)


class High(nn.Module):
    """An output for each operation on six axes or more."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        six = x.view(2, 2, 2, 2, 2, 4)
        first, second = six.permute(2, 0, 1, 3, 4, 5).unbind(0)
        line = torch.linspace(-1, 1, 32).view(2, 1, 2, 2, 1, 4)
        return (
            windows(x).contiguous().view(-1, 4, 4),
            torch.relu(windows(x)).reshape(-1, 4, 4),
            x.reshape(2, 2, 2, 2, 2, 2, 2).permute(6, 4, 2, 0, 1, 3, 5).reshape(16, 8),
            six.transpose(1, 4).flatten(2).neg(),
            first + second,
            six[:, :, 0] * 2,
            six[:, :, :, 1:2].reshape(2, -1),
            six.sum((2, 3)),
            six.amax(1),
            (six + line).reshape(8, -1),
            (six * six.flip(2)).reshape(8, -1),
            torch.softmax(six, 2).reshape(8, -1),
            torch.cat([six, -six], 3).sum(3),
            torch.stack([six[..., 0], six[..., 1]], -1).flatten(-2),
            x[:, :, None, :, None].expand(2, 4, 2, 4, 2, 4).reshape(2, 8, 8, 4),
            x.unfold(1, 2, 2).unfold(2, 2, 2).permute(0, 1, 2, 4, 5, 3).reshape(-1, 16),
        )


def test_six_axes_and_more(tmp_path: Path) -> None:
    x = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    path = save_coreml(High().eval(), (x,), tmp_path / "m.mlpackage")
    program = MilExecutor(path)
    found = program.run({program.inputs[0]: x.numpy()})
    for name, wanted in zip(program.outputs, High()(x), strict=True):
        given = torch.from_numpy(found[name])
        assert given.shape == wanted.shape
        torch.testing.assert_close(given, wanted, rtol=1e-6, atol=1e-6)


class Windowed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        y = windows(self.first(x))
        return self.last(torch.relu(y).contiguous().view(-1, 4, 4))


@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_quantizers_between_the_axes(tmp_path: Path, mode: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 4, 4)
    quantizer = Quantizer(Windowed().eval(), QuantizerConfig(execution_mode=mode))
    prepared = quantizer.prepare((x,))
    with torch.no_grad():
        wanted = prepared(x)
    path = to_coreml(copy.deepcopy(quantizer), (x,), tmp_path / "m.mlpackage")
    program = MilExecutor(path)
    assert max(len(shape) for pair in program.shapes for shape in pair) <= 5
    found = torch.from_numpy(program.run({program.inputs[0]: x.numpy()})[program.outputs[0]])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


class Refused(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x.view(2, 2, 2, 2, 2, 4), 2).flatten(1)


def test_what_is_left_is_named(tmp_path: Path) -> None:
    with pytest.raises(CoreMLExportError, match=r"aten\.cumsum at .*test_ranks\.py:\d+: .*rank"):
        save_coreml(Refused().eval(), (torch.ones(2, 4, 4, 4),), tmp_path / "m.mlpackage")
