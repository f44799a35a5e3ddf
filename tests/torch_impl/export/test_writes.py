"""Models that write into memory which other tensors share, exported, run and compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quant_conformance.runtimes import CoreAIExecutor, MilExecutor
from quant_torch import CoreMLExportError
from quant_torch.export import to_coreai, to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:coreai_torch")
pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")
both = pytest.mark.parametrize("mode", ["eager", "graph"])


class Writing(nn.Module):
    """A layer, and what is done with its results.

    The weights are whole, and so are the inputs: what is added and doubled is exact in float32.
    """

    def __init__(self, *bodies: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.dense = nn.Linear(6, 8)
        codes = torch.arange(48).reshape(8, 6) * 37 % 255 - 127
        codes = codes.float()
        codes[:, 0] = 127.5  # the scale of each channel is 255 / 255
        with torch.no_grad():
            self.dense.weight.copy_(codes)
            self.dense.bias.copy_(torch.arange(8))
        self.bodies = bodies
        self.counts: list[int] = []

    def forward(self, x: Tensor) -> Any:
        results = [body(self.dense(x), x) for body in self.bodies]
        several = [r if isinstance(r, tuple) else (r,) for r in results]
        self.counts = [len(r) for r in several]
        return tuple(x for r in several for x in r)


def through_a_view(y: Tensor, x: Tensor) -> Tensor:
    z = y.view(-1, 2, 4)
    z *= 0.5
    return y + 1


def a_number_into_a_slice(y: Tensor, x: Tensor) -> Tensor:
    y[:, 4:] = 3
    return y * 2


def a_tensor_into_a_slice(y: Tensor, x: Tensor) -> Tensor:
    y[:, 2:6] = x[:, :4]
    return y * 2


def into_pieces(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    a, b = y[:, :4], y[:, 4:]
    a.mul_(2)
    b.copy_(x[:, :4])
    return y, a + b


def into_steps(y: Tensor, x: Tensor) -> Tensor:
    y[:, ::2].fill_(5)
    y[1].zero_()
    return y


def into_a_constant(y: Tensor, x: Tensor) -> Tensor:
    b = torch.zeros(3, 8)
    b[:, 2:6] = y[:, :4]
    return b + y


def across(y: Tensor, x: Tensor) -> Tensor:
    y.t()[1:3].add_(1.0)
    return y * 2


def behind_a_view(y: Tensor, x: Tensor) -> Tensor:
    z = y[:, :4]
    y.mul_(2)
    return z + x[:, :4]


def where_masked(y: Tensor, x: Tensor) -> Tensor:
    z = y.view(3, 2, 4)
    z[z > 0] = 7
    return y * 2


def behind_a_dropout(y: Tensor, x: Tensor) -> Tensor:
    z = nn.functional.dropout(y, 0.5, False)
    z.mul_(2)
    return y + 1


def twice(y: Tensor, x: Tensor) -> Tensor:
    a, b = y[:, :4], y[:, 2:6]
    a += 1
    b *= 2
    a += 3
    return torch.cat([a, b, y], 1)


BODIES = [
    through_a_view, a_number_into_a_slice, a_tensor_into_a_slice, into_pieces, into_steps,
    into_a_constant, across, behind_a_view, where_masked, behind_a_dropout, twice,
]  # fmt: skip


def given() -> Tensor:
    return (torch.arange(18.0).reshape(3, 6) * 7) % 11 - 5


def prepared(model: nn.Module, config: QuantizerConfig) -> tuple[Quantizer, list[np.ndarray]]:
    """What was prepared, and its outputs."""
    quantizer = Quantizer(model.eval(), config)
    made = quantizer.prepare((given(),))
    with quantizer.calibration_mode():
        made(given())
    with torch.no_grad():
        result = made(given())
    results = [result] if isinstance(result, Tensor) else list(result)
    return quantizer, [x.numpy().copy() for x in results]


def outputs(path: Path) -> list[np.ndarray]:
    if path.suffix == ".mlpackage":
        executor: Any = MilExecutor(path)
        answers = executor.run({executor.inputs[0]: given().numpy()})
        return [answers[name] for name in executor.outputs]
    with CoreAIExecutor(path) as executor:
        answers = executor.run({executor.inputs[0]: given().numpy()})
        return [answers[name] for name in executor.outputs]


@both
@pytest.mark.parametrize("suffix", [".aimodel", ".mlpackage"])
def test_who_shares_the_memory_sees_the_write(mode, suffix, tmp_path) -> None:
    model = Writing(*BODIES)
    config = QuantizerConfig.presets.w8(execution_mode=mode)
    quantizer, wanted = prepared(model, config)
    export = to_coreai if suffix == ".aimodel" else to_coreml
    found = outputs(export(quantizer, (given(),), tmp_path / f"m{suffix}"))
    plain = Writing(*BODIES)
    with torch.no_grad():
        plain(given())  # which counts
    assert len(found) == len(wanted) == sum(plain.counts)
    names = [f.__name__ for f, n in zip(BODIES, plain.counts, strict=True) for _ in range(n)]
    for name, ours, torchs in zip(names, found, wanted, strict=True):
        assert np.array_equal(ours, torchs), name


@pytest.mark.parametrize("body", [through_a_view, across, twice], ids=lambda body: body.__name__)
def test_a_write_into_a_quantized_copy_is_seen(body, tmp_path) -> None:
    quantizer, wanted = prepared(Writing(body), QuantizerConfig(execution_mode="eager"))
    found = outputs(to_coreml(quantizer, (given(),), tmp_path / "m.mlpackage"))
    for ours, torchs in zip(found, wanted, strict=True):
        assert np.array_equal(ours, torchs)


U = 2.0**-24
GATE = 2 * 14 * U * (9 * 0.36 * 8) + 16 * U
"""How far a gate is off: two sums of 8 products and a bias, each off by γ_14 of the sum of the
magnitudes (ADM-2; weights below 0.36, inputs below 8), then sigmoid or tanh, whose slope is at
most 1 and whose own error is below 16u (ADM-5, ADM-7)."""
CELL_BOUND = 2 * ((4 + 2) * GATE + 8 * U * 8)
"""Of two results. A cell adds a gate times its state, below 4, and a product of two gates, below 1;
the roundings of these products and sums are fewer than eight, of values below 8."""


class Stepping(Writing):
    """One step of a recurrent layer, of small values."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Any:
        y = self.dense(x) / 512
        state = y / 2
        return self.cell(y, (state, state) if isinstance(self.cell, nn.LSTMCell) else state)


@both
@pytest.mark.parametrize("cell", [nn.GRUCell, nn.LSTMCell])
def test_cells_are_converted(cell, mode, tmp_path) -> None:
    model = Stepping(cell(8, 8))
    quantizer, wanted = prepared(model, QuantizerConfig.presets.w8(execution_mode=mode))
    found = outputs(to_coreml(quantizer, (given(),), tmp_path / "m.mlpackage"))
    for ours, torchs in zip(found, wanted, strict=True):
        assert np.abs(ours - torchs).max() <= CELL_BOUND


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(6, 8)
        self.register_buffer("sum", torch.zeros(3, 8))

    def forward(self, x: Tensor) -> Tensor:
        self.sum += self.dense(x)  # what the next call would read
        return self.sum * 2


def test_what_a_model_would_remember_is_refused(tmp_path) -> None:
    quantizer, _ = prepared(Counting(), QuantizerConfig.presets.w8(execution_mode="eager"))
    with pytest.raises(CoreMLExportError) as raised:
        to_coreml(quantizer, (given(),), tmp_path / "m.mlpackage")
    lines = Path(__file__).read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if "the next call would read" in text)
    told = str(raised.value).splitlines()[1]
    assert told.startswith("  the model itself: aten.add_ at ")
    assert f"{Path(__file__).name}:{line}: the model would remember it" in told
    assert not list(tmp_path.iterdir())
