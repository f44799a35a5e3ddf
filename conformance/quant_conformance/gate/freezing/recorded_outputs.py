"""The outputs of a whole model as questions: end to end, as far as its tensors can be bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quant_conformance.gate.freezing.recorded_cases import Question, as_stored, sets_of
from quant_conformance.gate.recording.recorder import Recording
from quant_conformance.gate.regions.propagation import Propagation, Reach
from quant_conformance.gate.regions.region import Region
from quant_conformance.protocol import Array

CLAUSES = ("ADM-1", "ADM-11", "ADM-12")


def output_questions(
    recording: Recording, regions: Sequence[Region]
) -> Iterator[tuple[Question, str]]:
    """Yields a question for each output, and why it cannot be judged ("" where it can).

    What cannot be judged is information: the inputs and the recorded output, without sets.

    Args:
        recording: one run of a prepared model.
        regions: all of its regions, in the order of computation.

    Raises:
        LeftOutError: An input or output of a dtype that sets do not hold.
    """
    inputs = {
        f"input_{index}": as_stored(name, recording.values[name])
        for index, name in enumerate(recording.inputs)
    }
    outputs = [_as_compared(name, recording.values[name]) for name in recording.outputs]
    dtypes = [recording.values[name].dtype.name for name in recording.inputs]
    reached = Propagation(recording, regions).outputs()
    for index, (name, values) in enumerate(zip(recording.outputs, outputs, strict=True)):
        reach, ends, single = reached[name], dict[str, Array](), None
        why_not = reach if isinstance(reach, str) else _why_not(reach, values)
        if not isinstance(reach, str) and not why_not:
            ends = {end: _as_compared(name, array) for end, array in sets_of(reach.values).items()}
            single = reach.single
        question = Question(
            "model_output",
            CLAUSES,
            "admissible" if ends else "information",
            inputs,
            {"values": values, **ends},
            arguments={"output": index, "dtypes": dtypes},
            elements=values.size,
            single=single,
        )
        yield question, why_not


def _why_not(reach: Reach, values: Array) -> str:
    """Why a model's output cannot be judged, or nothing."""
    if reach.undecided.any():
        return "the model is too deep for a bound"
    if not np.all((values >= reach.values.low) & (values <= reach.values.high)):
        # A quantizer in the model that is not the specification's.
        return "the model's own output is not admissible"
    return ""


def _as_compared(name: str, values: Array) -> Array:
    """An output as it is compared: floats in the model's own dtype."""
    return values if values.dtype == np.float16 else as_stored(name, values)
