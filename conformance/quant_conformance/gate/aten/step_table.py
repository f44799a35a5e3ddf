"""ATen operations as the steps whose results can be bounded (clauses ADM-*)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from quant_conformance.gate.aten.calls import Call, Steps
from quant_conformance.gate.aten.composed import COMPOSED
from quant_conformance.gate.aten.functional import LAYERS
from quant_conformance.gate.aten.indexing import SELECTIONS
from quant_conformance.gate.aten.moves import MOVES
from quant_conformance.gate.aten.pointwise import ELEMENTS
from quant_conformance.gate.aten.sampling import SAMPLING
from quant_conformance.gate.aten.scattering import SCATTERING
from quant_conformance.gate.recording.recorder import Operation
from quant_conformance.protocol import Array
from quant_reference.admissible import Step

TABLE = {**LAYERS, **ELEMENTS, **SELECTIONS, **MOVES, **COMPOSED, **SCATTERING, **SAMPLING}
"""Every ATen operation that is known."""

_ROUNDED = frozenset({"add", "sub", "mul", "sum", "matmul", "cumsum"})
"""Steps that round, which the same operations on whole numbers do not."""


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
    if call.output_dtype.kind in "iu" and steps[-1].op in _ROUNDED:
        return _whole(steps)
    return steps


def _whole(steps: Steps) -> Steps:
    """The nearest whole number, which below 2^23 the roundings of a float do not reach past."""
    last = steps[-1]
    rounded = replace(last, output=f"{last.output}/rounded")
    return [*steps[:-1], rounded, Step("round", (rounded.output,), last.output, {})]
