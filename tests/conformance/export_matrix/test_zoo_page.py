"""docs/zoo.md is the whole cross, and every export in it succeeded."""

from __future__ import annotations

import re
from pathlib import Path

from quant_conformance.models.zoo import BACKENDS, CONFIGS, MODELS, MODES

PAGE = Path(__file__).parents[3] / "docs" / "zoo.md"


def rows() -> list[list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [row for row in cells if row[0] in MODELS]


def test_every_model_and_config_has_its_row() -> None:
    assert [tuple(row[:2]) for row in rows()] == [(m, c) for m in MODELS for c in CONFIGS]
    assert {len(row) for row in rows()} == {2 + 2 * len(MODES) * len(BACKENDS)}


FLOAT16_SUMS = (1, 3)  # the columns of Core AI in 16 bits
DEEP = ("crepe", "resnet18")  # sums of up to 8,192 products


def test_every_cell_is_exact_or_a_ratio_or_what_core_ml_lacks() -> None:
    for model, config, *cells in rows():
        half = len(cells) // 2
        for place, cell in enumerate(cells):
            lacking = place >= half and not CONFIGS[config].coreml
            allowed = "–" if lacking else r"exact|\d+ dB"
            if place in FLOAT16_SUMS and model in DEEP:
                allowed = rf"({allowed})(, undecided: \d)?"
            assert re.fullmatch(allowed, cell), (model, config, cell)
    exports = sum(4 * (1 + CONFIGS[config].coreml) for _, config, *_ in rows())
    assert f"{exports} exports" in PAGE.read_text(encoding="utf-8")
