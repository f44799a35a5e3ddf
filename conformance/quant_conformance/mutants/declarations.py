"""Answers that the reference has no function for, as steps like its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quant_conformance.placement import Placed, read, stated_lines
from quant_reference.spec import QuantizationSpec


def placement(model_id: str, mode: str) -> list[Placed]:
    """PLACE-1 to PLACE-12, from the lists made by hand."""
    return placed(read(stated_lines(model_id, mode)), mode)


def placed(quantizers: list[Placed], mode: str) -> list[Placed]:
    """The quantizers of a model; a mutant misplaces some here."""
    return quantizers


def validate_spec(mapping: Mapping[str, Any]) -> None:
    """SPEC-1 to SPEC-7."""
    QuantizationSpec.from_dict(tolerated(dict(mapping)))


def tolerated(mapping: dict[str, Any]) -> Mapping[str, Any]:
    """The spec as it is read; a mutant overlooks something here."""
    return mapping
