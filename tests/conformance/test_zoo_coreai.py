"""Whole models through Core AI: prepared, calibrated, finalized, saved, loaded, run, compared."""

from __future__ import annotations

import pytest
from tests.conformance.zoo_cells import (
    COREAI,
    check_cell,
    test_each_model_and_each_config_comes_twice,
)

pytest.importorskip("coreai_torch")
__all__ = ["test_each_model_and_each_config_comes_twice"]


@pytest.mark.model
@pytest.mark.parametrize(("model", "config", "mode", "half"), COREAI)
def test_cell(model: str, config: str, mode: str, half: bool) -> None:
    check_cell(model, config, mode, "coreai", half)
