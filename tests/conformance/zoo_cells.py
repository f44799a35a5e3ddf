"""Which cells of the zoo are tested: each model with two configs, each config with two models."""

from __future__ import annotations

import math

import pytest

from quant_conformance.zoo import CONFIGS, MODELS
from quant_conformance.zoo.run import run_cell

COREAI = (
    ("mlp", "w8a8", "graph", False),
    ("mlp", "mxfp4", "eager", False),
    ("cnn", "w2", "graph", False),
    ("separable", "minval", "graph", False),
    ("resnet18", "w8a8_trained", "graph", False),
    ("resnet18", "fp8", "eager", False),
    ("unet", "clipping", "graph", False),
    ("transformer", "mxfp4", "graph", True),
    ("embedding", "w2", "eager", False),
    ("crepe", "fp8", "graph", False),
    ("digits", "minval", "eager", True),
)
COREML = (
    ("mlp", "w4_per_block", "graph", False),
    ("cnn", "uint8_asymmetric", "eager", False),
    ("separable", "w4", "eager", False),
    ("unet", "w8", "eager", True),
    ("transformer", "w8a8", "eager", False),
    ("embedding", "w4_per_block", "graph", False),
    ("crepe", "w4", "eager", False),
    ("digits", "uint8_asymmetric", "graph", True),
    ("separable", "w8", "graph", False),
    ("cnn", "w8a8_trained", "eager", False),
    ("digits", "clipping", "eager", False),
)


def check_cell(model: str, config: str, mode: str, backend: str, half: bool) -> None:
    """Codes and qparams in the file are the reference's; the outputs differ by what they must."""
    cell = run_cell(model, config, mode, backend, half)
    if cell.error is not None and cell.error.startswith("MissingWeightsError"):
        pytest.skip(cell.error)
    assert cell.error is None, cell.error
    assert cell.weights > 0
    assert cell.wrong == ()
    if not half and CONFIGS[config].activation is None and math.isfinite(cell.sqnr):
        # Only accumulation order differs: some 2**-20 after a dozen layers.
        assert cell.sqnr > 100
    # A code that moves takes others along, but were every output one code off, the noise would be
    # one step, and the signal of normal data with its greatest value at code 127 is above 127 / 5
    # steps. float16 rounds every value to 11 bits, finer than a code, and moves more of them.
    assert cell.sqnr > 20 * math.log10(127 / 5)


def test_each_model_and_each_config_comes_twice() -> None:
    cells = [*COREAI, *COREML]
    for names, place in ((MODELS, 0), (CONFIGS, 1)):
        for name in names:
            assert sum(cell[place] == name for cell in cells) >= 2, name
