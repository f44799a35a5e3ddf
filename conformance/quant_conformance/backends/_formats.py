"""Formats that a backend has; a case about another one is unsupported, and not a crash."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quant_vectors import Case


def lacking(case: Case, formats: Container[str], system: str) -> str | None:
    """Returns why a case about a format cannot be asked, or None.

    Args:
        case: the case.
        formats: names of the formats that the system has.
        system: its name.
    """
    name = case.arguments.get("format")
    return None if name is None or name in formats else f"{system} has no {name}"
