"""Whole models, all the way to a file and back: each cell judged by the gate, tensor by tensor."""

from __future__ import annotations

import pytest

from quant_conformance.export_matrix.cell import run_cell
from quant_conformance.models.zoo import BACKENDS, CELLS, CONFIGS, MODELS, MODES

PACKAGES = {"coreai": "coreai_torch", "coreml": "coremltools"}
SAMPLE = (("cnn", "uint8_asymmetric", "eager", False), ("transformer", "w8a8", "graph", True))
EXPORTS = [
    pytest.param(*cell, backend, marks=[pytest.mark.cpu] if cell in SAMPLE else [])
    for cell in CELLS
    for backend in BACKENDS
    if backend == "coreai" or CONFIGS[cell[1]].coreml
]


@pytest.mark.model
@pytest.mark.parametrize(("model", "config", "mode", "half", "backend"), EXPORTS)
def test_every_tensor_and_every_weight(
    model: str, config: str, mode: str, half: bool, backend: str
) -> None:
    pytest.importorskip(PACKAGES[backend])
    cell = run_cell(model, config, mode, backend, half)
    if cell.error is not None and cell.error.startswith("MissingWeightsError"):
        pytest.skip(cell.error)
    assert cell.error is None
    assert cell.weights > 0
    assert cell.wrong == ()
    assert cell.failed == ()
    assert cell.undecided == ()


def test_each_model_and_each_config_comes_twice() -> None:
    assert len(set(CELLS)) == len(CELLS)
    for names, place in ((MODELS, 0), (CONFIGS, 1)):
        for name in names:
            others = {cell[1 - place] for cell in CELLS if cell[place] == name}
            assert len(others) >= 2, name
    assert {cell[2] for cell in CELLS} == set(MODES)
    assert {cell[3] for cell in CELLS} == {False, True}
