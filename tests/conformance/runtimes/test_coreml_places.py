"""MIL operations that write to, or read at, named places, against torch and against hand-made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from quant_conformance.runtimes import MilExecutor
from quant_conformance.runtimes.coreml.operands import Inputs
from quant_conformance.runtimes.coreml.places import PLACES
from quant_conformance.runtimes.errors import UnsupportedOperationError
from quant_torch.export import save_coreml

pytest.importorskip("coremltools")

PLACE = torch.tensor([[2, 0, 1, 3], [0, 3, 2, 1]])


class Written(nn.Module):
    """An output for each operation that coremltools makes one of them of."""

    def forward(self, x: Tensor, image: Tensor, grid: Tensor) -> tuple[Tensor, ...]:
        aten = torch.ops.aten
        return (
            x.scatter(0, PLACE, x * 2),
            x.scatter(0, PLACE, 0.5),
            aten.index_put(x, [torch.tensor([3, 1])], x[:2] * 3),
            aten.index_put(x, [x > 0], torch.tensor(0.25)),
            f.grid_sample(image, grid, align_corners=True),
            f.grid_sample(image, grid, "nearest", "border", align_corners=False),
            f.grid_sample(image, grid, "bilinear", "border", align_corners=False),
        )


def test_they_are_what_torch_computes(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 4), (1, 3, 5, 6), (1, 2, 4, 2))
    x, image, grid = (torch.randn(shape, generator=generator) for shape in shapes)
    path = save_coreml(Written().eval(), (x, image, grid), tmp_path / "m.mlpackage")
    program = MilExecutor(path)
    kinds = {"scatter_along_axis", "scatter_nd", "resample", "non_zero"}
    assert kinds <= set(program.operations)
    feeds = zip(program.inputs, (x, image, grid), strict=True)
    found = program.run({name: tensor.numpy() for name, tensor in feeds})
    for name, wanted in zip(program.outputs, Written()(x, image, grid), strict=True):
        assert np.array_equal(found[name], wanted.numpy())


DATA = torch.tensor([1.0, 2.0, 4.0])
UPDATES = torch.tensor([3.0, 5.0, 0.5])


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("add", [1.0, 10.0, 4.5]),
        ("sub", [1.0, -6.0, 3.5]),
        ("mul", [1.0, 30.0, 2.0]),
        ("max", [1.0, 5.0, 4.0]),
        ("min", [1.0, 2.0, 0.5]),
        ("update", [1.0, 5.0, 0.5]),
    ],
)
@pytest.mark.parametrize("kind", ["scatter", "scatter_along_axis", "scatter_nd"])
def test_what_is_written_twice(kind: str, mode: str, wanted: list[float]) -> None:
    indices = torch.tensor([1, 1, -1])
    given = {"data": DATA, "updates": UPDATES, "mode": mode, "axis": 0}
    given["indices"] = indices[:, None] if kind == "scatter_nd" else indices
    assert PLACES[kind](Inputs(kind, given)).tolist() == wanted


def test_what_is_lacking_is_named() -> None:
    given = {"x": torch.ones(1, 1, 2, 2), "coordinates": torch.zeros(1, 1, 1, 2)}
    given |= {"padding_mode": "reflection", "coordinates_mode": "unnormalized"}  # type: ignore[dict-item]
    with pytest.raises(UnsupportedOperationError, match="coordinates_mode"):
        PLACES["resample"](Inputs("resample", given))
    given["coordinates_mode"] = "normalized_minus_one_to_one"  # type: ignore[assignment]
    with pytest.raises(UnsupportedOperationError, match="padding_mode"):
        PLACES["resample"](Inputs("resample", given))
    with pytest.raises(UnsupportedOperationError, match="mode 'xor'"):
        PLACES["scatter"](
            Inputs(
                "scatter",
                {"data": DATA, "updates": UPDATES, "indices": PLACE[0, :3], "mode": "xor"},
            )
        )
