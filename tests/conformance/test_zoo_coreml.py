"""Whole models through Core ML: prepared, calibrated, finalized, saved, loaded, run, compared."""

from __future__ import annotations

import pytest
from tests.conformance.zoo_cells import COREML, check_cell

pytest.importorskip("coremltools")


@pytest.mark.model
@pytest.mark.parametrize(("model", "config", "mode", "half"), COREML)
def test_cell(model: str, config: str, mode: str, half: bool) -> None:
    check_cell(model, config, mode, "coreml", half)
