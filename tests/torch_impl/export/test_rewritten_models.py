"""Models of what the converters get wrong, exported in both modes, run and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from quant_conformance.converters.measure import judged
from quant_conformance.gate.recording.recorder import record
from quant_conformance.runtimes import CoreAIExecutor, MilExecutor
from quant_torch import CoreAIExportError, CoreMLExportError
from quant_torch.export import save_coreai, save_coreml, to_coreai, to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:coreai_torch")
pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")
both = pytest.mark.parametrize("mode", ["eager", "graph"])
targets = pytest.mark.parametrize("suffix", [".aimodel", ".mlpackage"])


class Mistaken(nn.Module):
    """An output for each operation that a converter changes, refuses or fails on."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(6, 6)
        self.slopes = nn.PReLU(6)
        self.transposed = nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1)
        with torch.no_grad():
            self.slopes.weight.copy_(torch.linspace(0.1, 0.6, 6))

    def forward(self, x: Tensor, image: Tensor, factor: Tensor) -> tuple[Tensor, ...]:
        x = self.dense(x) * factor
        y = x.flip(0)
        places = torch.arange(6)
        return (
            torch.add(x, y, alpha=0.3),
            torch.sub(x, y, alpha=2),
            torch.rsub(x, y, alpha=3),
            1 / (x + 1e-3),
            (x * 3) % 1,
            torch.where(x > 0, x, 0.1),
            x.masked_fill(x > 0, 0.1),
            x * (places * 0.9),
            x * (0.5**places),
            (x > 0) * 0.1,
            (x * 3).int().float(),
            x + x.new_ones(6),
            x.diff(),
            self.slopes(x),
            x.clamp(-y.abs(), y.abs()),
            f.hardtanh(x, -2, 3),
            f.threshold(x, 0.2, 0.1),
            (x * 90).log_softmax(-1),
            torch.addmm(y[0], x, self.dense.weight, beta=0),
            self.transposed(image),
            f.avg_pool2d(image, 2, divisor_override=3),
            f.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False, ceil_mode=True),
            f.max_pool2d(image, 2, padding=1),
            f.max_pool3d(image[:, None], (1, 2, 2)),
            f.interpolate(image, scale_factor=1.7),
        )


def arguments() -> tuple[Tensor, Tensor, Tensor]:
    seeded = torch.Generator().manual_seed(0)
    x, image = (torch.randn(shape, generator=seeded) for shape in ((4, 6), (1, 2, 6, 6)))
    return x, image, torch.tensor(1.5)


def prepared(model: nn.Module, mode: str, given: tuple[Tensor, ...]) -> Quantizer:
    quantizer = Quantizer(model.eval(), QuantizerConfig.presets.w8(execution_mode=mode))
    made = quantizer.prepare(given)
    with quantizer.calibration_mode():
        made(*given)
    return quantizer


def outputs(path: Path, given: tuple[Tensor, ...]) -> list[np.ndarray]:
    arrays = [x.numpy() for x in given]
    if path.suffix == ".mlpackage":
        executor = MilExecutor(path)
        shaped = [a.reshape(s) for a, s in zip(arrays, executor.shapes[0], strict=True)]
        answers = executor.run(dict(zip(executor.inputs, shaped, strict=True)))
        return [answers[name] for name in executor.outputs]
    with CoreAIExecutor(path) as executor:
        answers = executor.run(dict(zip(executor.inputs, arrays, strict=True)))
        return [answers[name] for name in executor.outputs]


def export(quantizer: Quantizer, given: tuple[Tensor, ...], path: Path) -> Path:
    return (to_coreai if path.suffix == ".aimodel" else to_coreml)(quantizer, given, path)


@both
@targets
def test_what_a_converter_mistakes_is_exported_right(mode, suffix, tmp_path) -> None:
    torch.manual_seed(0)
    given = arguments()
    quantizer = prepared(Mistaken(), mode, given)
    recording = record(quantizer._prepared, given)
    found = outputs(export(quantizer, given, tmp_path / f"m{suffix}"), given)
    assert len(found) == len(recording.outputs)
    for index, (name, ours) in enumerate(zip(recording.outputs, found, strict=True)):
        cell = judged(replace(recording, outputs=[name]), [ours])
        if index == OVERRIDDEN:
            torchs = recording.values[name]
            sums = f.avg_pool2d(given[1].abs(), 2, divisor_override=3).numpy()
            assert (np.abs(ours.reshape(torchs.shape) - torchs) <= 2 * ROUNDINGS * sums).all()
        else:
            assert cell.verdict in ("exact", "admissible"), f"output {index}: {cell.text}"


OVERRIDDEN = 20
"""The output of a divisor of one's own, for which chapter 15 of SPEC.md has no bound."""

ROUNDINGS = (1 + 2.0**-24) ** 4 - 1
"""Three sums and a division, in whatever order, of float32 numbers: the result is off by at most
this share of what the magnitudes would give. Two results may be apart by twice as much."""


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cdist(self.dense(x), x)  # what neither converter has


class Lacking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def line_of(text: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if text in line)


@both
@targets
def test_what_a_converter_lacks_is_named(mode, suffix, tmp_path) -> None:
    given = (torch.randn(4, 4),)
    quantizer = prepared(Lacking(), mode, given)
    error: Any = CoreAIExportError if suffix == ".aimodel" else CoreMLExportError
    with pytest.raises(error) as raised:
        export(quantizer, given, tmp_path / f"m{suffix}")
    heading, *rest = str(raised.value).splitlines()
    assert "docs/converters.md" in heading
    where = f"{Path(__file__).name}:{line_of('what neither converter has')}"
    for path in ("blocks.0", "blocks.1"):
        (line,) = [line for line in rest if line.startswith(f"  {path}: ")]
        assert "cdist" in line
        assert where in line
    assert not list(tmp_path.iterdir())


@targets
def test_models_that_are_not_quantized_are_rewritten_too(suffix, tmp_path) -> None:
    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.rsub(x, 1 / x, alpha=0.5)

    x = torch.linspace(0.01, 1, 12).reshape(3, 4)
    save = save_coreai if suffix == ".aimodel" else save_coreml
    found = outputs(save(Plain().eval(), (x,), tmp_path / f"m{suffix}"), (x,))
    assert judged(record(Plain().eval(), (x,)), found).verdict in ("exact", "admissible")
