"""ATen operations as the steps whose results can be bounded (clauses ADM-*)."""

from __future__ import annotations

from collections.abc import Mapping

from quant_conformance.gate.aten_calls import Call, Steps
from quant_conformance.gate.aten_elements import ELEMENTS
from quant_conformance.gate.aten_layers import LAYERS
from quant_conformance.gate.aten_selections import SELECTIONS
from quant_conformance.gate.recording import Operation
from quant_conformance.protocol import Array

TABLE = {**LAYERS, **ELEMENTS, **SELECTIONS}
"""Every ATen operation that is known."""


def steps_of(operation: Operation, values: Mapping[str, Array]) -> Steps | None:
    """Returns the steps of an operation, or None if its result cannot be bounded.

    Args:
        operation: what was recorded.
        values: recorded values by name.

    Raises:
        NotImplementedError: an argument that the steps cannot express, or that nothing reads.
    """
    make = TABLE.get(operation.name.strip("_"))
    if make is None:
        return None
    call = Call(operation, values)
    steps = make(call)
    call.check_read()
    return steps
