"""Cases that ask for a range or for qparams of one tensor."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder, Words
from quant_reference import QuantizationSpec

_FAMILIES = {"value_range": "range", "qparams": "qparams"}


def add_case(
    builder: Builder,
    case: str,
    x: NDArray[Any],
    spec: QuantizationSpec,
    clauses: Words,
    flags: Words,
    comment: str,
    target: str = "activation",
    *,
    operation: str,
    **more: Any,
) -> None:
    """Add one case of the family of the operation; ``more`` is as in ``Builder.add``."""
    builder.add(
        f"{_FAMILIES[operation]}/{case}",
        operation,
        clauses=clauses,
        flags=flags,
        comment=comment,
        spec=spec,
        target=target,
        inputs={"x": x},
        **more,
    )
