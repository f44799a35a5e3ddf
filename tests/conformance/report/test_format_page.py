"""The page of formats: every code has its value, exactly."""

from __future__ import annotations

import re
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from quant_conformance.report.format_page import code_table, page, shown, values_of
from quant_reference.formats import FORMATS, Format

INTEGERS = {"int2": ml_dtypes.int2, "int4": ml_dtypes.int4, "int8": np.int8}
INTEGERS |= {f"u{name}": getattr(ml_dtypes, f"u{name}", np.uint8) for name in INTEGERS}


def read(text: str) -> float | Fraction:
    """The number that a cell says."""
    if text in ("NaN", "∞", "−∞"):
        return float(text.replace("∞", "inf").replace("−", "-"))
    sign = -1 if text.startswith("−") else 1
    text = text.lstrip("−")
    found = re.fullmatch(r"(?:(\d+)·)?2\^(−?\d+)", text)
    if found is None:
        return sign * Fraction(text)
    return sign * int(found[1] or 1) * Fraction(2) ** int(found[2].replace("−", "-"))


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda fmt: fmt.name)
def test_a_table_has_the_value_of_every_code(fmt: Format) -> None:
    others = {"float8_e4m3ieee": "float8_e4m3", "float8_ue4m3": "float8_e4m3fn"}
    name = others.get(fmt.name, fmt.name)
    dtype = INTEGERS.get(fmt.name) or getattr(ml_dtypes, name, None)
    bits = np.arange(1 << fmt.bits, dtype=np.uint8)
    if fmt.is_integer and fmt.quant_min < 0:
        top = 1 << (fmt.bits - 1)
        bits = ((bits.astype(np.int16) ^ top) - top).astype(np.int8)
        wanted = bits.astype(np.float64)
    elif fmt.is_integer:
        wanted = bits.astype(np.float64)
    elif fmt.kind == "fixed":
        wanted = bits.view(np.int8) / 64
    elif fmt.kind == "table":
        wanted = np.array(fmt.values)
    else:
        wanted = bits.view(dtype).astype(np.float64)
    _, _, *rows = code_table(values_of(fmt))
    cells = [cell.strip() for row in rows for cell in row.strip("| ").split("|")[1:]]
    assert len(cells) == 1 << fmt.bits
    for cell, value in zip(cells, wanted.tolist(), strict=True):
        assert read(cell) == value or (value != value and cell == "NaN"), cell
        assert cell.startswith("−") == bool(np.signbit(value)) or value != value


def test_every_format_has_a_section_and_elements_a_line() -> None:
    text = page()
    assert re.findall(r"(?m)^## (.*)$", text) == list(FORMATS)
    assert text.count("<svg") == len(FORMATS) - 1


def test_numbers_are_exact() -> None:
    assert [shown(v) for v in (0.013671875, -0.0, 57344.0, -(2.0**-127), 0.5)] == [
        "7·2^−9", "−0", "57344", "−2^−127", "0.5"
    ]  # fmt: skip
