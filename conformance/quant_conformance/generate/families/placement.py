"""placement: where quantizers belong in small models, as lists made by hand from SPEC.md.

The lists are in ``generate/placement/*.json``: title, clauses, and for each mode the tensors with
their specs as PLACE-12 writes them. Here they only become cases.
"""

from __future__ import annotations

from typing import Any

from quant_conformance.generate.builder import Builder
from quant_conformance.models import MODELS
from quant_conformance.placement import stated, stated_lines

MODES = ("graph", "eager")


def build(builder: Builder) -> None:
    """Add one case for each model and mode."""
    for model_id in MODELS:
        for mode in MODES:
            lines = stated_lines(model_id, mode)
            builder.add_stated(
                f"placement/{mode}-{model_id}",
                "placement",
                lines,
                clauses=stated(model_id)["clauses"][mode],
                flags=flags_of(lines, mode),
                comment=stated(model_id)["title"],
                arguments={"model_id": model_id, "mode": mode},
            )


def flags_of(lines: tuple[str, ...], mode: str) -> tuple[str, ...]:
    """Bugs that a list catches, by what is in it."""
    found: dict[str, Any] = {
        "QuantizerInsideRegion": mode == "graph",
        "SharedQParams": any(": = " in line for line in lines),
        "KnownRange": any(line.endswith("]") for line in lines),
        "EagerPlacement": mode == "eager",
    }
    return tuple(flag for flag, holds in found.items() if holds)
