"""The page of PyTorch's core operations, held to torch's own list."""

from __future__ import annotations

from pathlib import Path

from quant_conformance.gate.core_operations import UNREAD, core_operations, page
from quant_conformance.gate.steps import TABLE

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"


def test_every_core_operation_is_read_or_has_a_reason_and_none_has_both() -> None:
    unread = {name for name in core_operations() if name.strip("_") not in TABLE}
    assert unread == set(UNREAD)


def test_the_page_is_the_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
