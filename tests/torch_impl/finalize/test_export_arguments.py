"""Models that take arguments by name or in nests, exported: each tensor becomes an input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from quant_conformance.runtimes import CoreAIExecutor, MilExecutor
from quant_torch.export import to_coreai, to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

pytestmark = pytest.mark.filterwarnings("ignore")
pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")


class Mixed(nn.Module):
    """A list by position and a tensor by name."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, both: list[torch.Tensor], *, scale: torch.Tensor) -> dict[str, Any]:
        return {"out": torch.relu(self.linear(both[0]) - both[1]) * scale}


def tensors() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(shape, generator=generator) for shape in ((2, 4), (2, 4), (2, 1))]


def output(path: Path, given: list[torch.Tensor]) -> Any:
    executor: Any = CoreAIExecutor(path) if path.suffix == ".aimodel" else MilExecutor(path)
    feeds = {n: t.numpy() for n, t in zip(executor.inputs, given, strict=True)}
    (found,) = executor.run(feeds).values()
    return found


@pytest.mark.parametrize("mode", ["graph", "eager"])
@pytest.mark.parametrize("export", [to_coreai, to_coreml])
def test_in_the_order_of_the_arguments(mode: str, export: Any, tmp_path: Path) -> None:
    first, second, scale = tensors()
    torch.manual_seed(0)
    # Weights alone, so that what the file computes is the model's result but for roundings.
    config = QuantizerConfig.presets.w8(execution_mode=mode)
    quantizer = Quantizer(Mixed().eval(), config)
    prepared = quantizer.prepare(([first, second],), example_kwargs={"scale": scale})
    with torch.no_grad():
        wanted = prepared([first, second], scale=scale)["out"].numpy()
    suffix = {to_coreai: "aimodel", to_coreml: "mlpackage"}[export]
    path = export(
        quantizer,
        ([first, second],),
        tmp_path / f"m.{suffix}",
        example_kwargs={"scale": scale},
    )
    # Five terms of at most 4 and a product: below 2e-5 in any order of float32.
    np.testing.assert_allclose(output(path, tensors()), wanted, rtol=0, atol=2e-5)


def test_what_is_no_tensor_is_refused_before_the_model_is_finalized(tmp_path: Path) -> None:
    first, second, scale = tensors()
    quantizer = Quantizer(Mixed().eval(), QuantizerConfig())
    quantizer.prepare(([first, second],), example_kwargs={"scale": scale})
    with pytest.raises(TypeError, match="take tensors, given an example input 2"):
        to_coreml(
            quantizer, ([first, second],), tmp_path / "m.mlpackage", example_kwargs={"scale": 2}
        )
    path = to_coreml(
        quantizer, ([first, second],), tmp_path / "m.mlpackage", example_kwargs={"scale": scale}
    )
    assert path.is_dir()


class Several(nn.Module):
    """One tensor in, a nest out."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        y = self.linear(x)
        return {"y": y, "rest": (torch.relu(y), [y * 2, None])}


@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_results_in_a_nest_reach_core_ml(mode: str, tmp_path: Path) -> None:
    x, *_ = tensors()
    torch.manual_seed(0)
    config = QuantizerConfig.presets.w8(execution_mode=mode)
    quantizer = Quantizer(Several().eval(), config)
    prepared = quantizer.prepare((x,))
    with torch.no_grad():
        wanted = prepared(x)["y"].numpy()
    executor = MilExecutor(to_coreml(quantizer, (x,), tmp_path / "m.mlpackage"))
    found = list(executor.run({executor.inputs[0]: x.numpy()}).values())
    for given, right in zip(found, (wanted, np.maximum(wanted, 0), wanted * 2), strict=True):
        np.testing.assert_allclose(given, right, rtol=0, atol=2e-5)
