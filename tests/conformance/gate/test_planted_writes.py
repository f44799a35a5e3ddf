"""Operations on named places, mixtures, angles and variances: right files pass, wrong ones fail."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conformance.gate.planting import judged_file
from torch import Tensor, nn
from torch.nn import functional as f

from quant_conformance.gate.recording.recorder import record
from quant_conformance.runtimes.quiet import quiet
from quant_torch.export import save_coreai, save_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")

PLACE = torch.tensor([[2, 0, 1, 3], [0, 3, 2, 1]])
aten = torch.ops.aten


class Placed(nn.Module):
    """Each operation between two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.last = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = self.first(x)
        z = y.flip(0)
        found = (
            y.scatter(0, PLACE, 0.5),
            aten.index_put(y, [torch.tensor([3, 1])], z[:2]),
            torch.lerp(y, z, 0.3),
            torch.tan(y / 4),
            torch.atan2(y, z + 5),
            y - y.var(-1, keepdim=True),
        )
        return tuple(last(each) for last, each in zip(self.last, found, strict=True))


class Sampled(nn.Module):
    """Images, whose operations Core ML alone takes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 2, 1)
        self.register_buffer("grid", torch.linspace(-0.9, 0.8, 48).reshape(1, 6, 4, 2))

    def forward(self, x: Tensor) -> Tensor:
        y = f.grid_sample(self.first(x), self.grid, align_corners=True)
        return self.last(f.fold(y.reshape(1, 8, 12), (6, 8), 2, stride=2).reshape(1, 4, 6, 4))


def _swapped(target: Any, **changes: Any) -> Callable[[Any], None]:
    """Changes arguments, by their places, of the operations of a name."""

    def plant(graph: Any) -> None:
        nodes = [n for n in graph.graph.nodes if target in str(n.target)]
        assert nodes
        for node in nodes:
            args = list(node.args)
            for place, value in changes.items():
                args[int(place[1:])] = value
            node.args = tuple(args)

    return plant


def _shared(weight: float) -> Callable[[Any], None]:
    def plant(graph: Any) -> None:
        (node,) = (n for n in graph.graph.nodes if "aten.lerp" in str(n.target))
        node.args, node.kwargs = (*node.args[:2], weight), {}

    return plant


def _other(old: str, new: Any) -> Callable[[Any], None]:
    def plant(graph: Any) -> None:
        nodes = [n for n in graph.graph.nodes if old in str(n.target)]
        assert nodes
        for node in nodes:
            node.target = new

    return plant


@cache
def prepared(kind: type[nn.Module]) -> tuple[Quantizer, Any, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    shape = (4, 4) if kind is Placed else (1, 2, 5, 6)
    example = (torch.randn(shape),)
    quantizer = Quantizer(kind().eval(), QuantizerConfig(execution_mode="graph"))
    return quantizer, record(quantizer.prepare(example), example), example


def failed(kind: Any, suffix: str, folder: Path, plant: Callable[[Any], None] | None) -> set[str]:
    quantizer, recording, example = prepared(kind)
    folder.mkdir(exist_ok=True)
    path = folder / f"m{suffix}"
    with quiet():
        backend = "coreai" if suffix == ".aimodel" else "coreml"
        finalized = copy.deepcopy(quantizer).finalize(backend=backend)
        if plant is not None:
            plant(finalized)
            finalized.recompile()
        (save_coreai if backend == "coreai" else save_coreml)(finalized, example, path)
    return judged_file(path, recording)


@pytest.mark.parametrize("suffix", [".aimodel", ".mlpackage"])
def test_what_is_right_passes(suffix: str, tmp_path: Path) -> None:
    assert failed(Placed, suffix, tmp_path, None) == set()
    if suffix == ".mlpackage":
        assert failed(Sampled, suffix, tmp_path / "sampled", None) == set()


DEFECTS = {
    "another number": _swapped("scatter.value", _3=0.75),
    "another share": _shared(0.32),
    "another function": _other("tan.default", aten.sin.default),
}


@pytest.mark.parametrize("suffix", [".aimodel", ".mlpackage"])
@pytest.mark.parametrize("defect", DEFECTS)
def test_what_is_wrong_is_found(suffix: str, defect: str, tmp_path: Path) -> None:
    found = failed(Placed, suffix, tmp_path, DEFECTS[defect])
    assert len(found) == 1


def test_another_place_is_found(tmp_path: Path) -> None:
    plant = _swapped("grid_sampler", _4=False)
    assert failed(Sampled, ".mlpackage", tmp_path, plant)
