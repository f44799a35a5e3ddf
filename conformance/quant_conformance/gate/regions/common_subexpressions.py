"""Which values of a recorded model are one and the same computation, made twice."""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import blake2b
from typing import Any

import numpy as np
from torch.utils import _pytree as pytree

from quant_conformance.gate.aten.step_table import steps_of
from quant_conformance.gate.recording.recorder import Operation, Quantization, Recording, Ref


def first_alike(recording: Recording) -> dict[str, str]:
    """Finds for every result the first one that is computed alike from the same values.

    Converters compute a common subexpression once, and keep equal constants once.

    Args:
        recording: one run of a prepared model.

    Returns:
        Name of a state, or of a result of an operation or a quantizer -> the first name, often its
        own.
    """
    quantizations = {q.result: q for q in recording.quantizations}
    found, seen = dict[str, str](), dict[Hashable, str]()

    def settle(name: str, key: Hashable) -> None:
        other = seen.setdefault(key, name)
        one, two = recording.values[name], recording.values[other]
        # Random numbers are made alike, and are no repetition.
        found[name] = other if np.array_equal(one, two, equal_nan=True) else name

    def first(name: str) -> str:
        if name not in found and name in quantizations:
            source, facts = first(quantizations[name].source), _facts(quantizations[name])
            settle(name, (source, facts))
            before = quantizations.get(source)
            if found[name] == name and before is not None and _facts(before) == facts:
                settle(name, (first(before.source), facts))  # quantized so already
        return found.get(name, name)

    for name in sorted(recording.states):
        array = recording.values[name]
        content = blake2b(np.ascontiguousarray(array).tobytes()).digest()
        settle(name, (array.dtype.str, array.shape, content))
    for operation in recording.operations:
        arguments: Any = pytree.tree_map_only(
            Ref, lambda ref: Ref(first(ref.name)), (operation.args, operation.kwargs)
        )
        handed_on = _handed_on(operation, recording)
        for place, output in enumerate(operation.outputs):
            if output is None:
                continue
            settle(output, (str(operation.function), repr(arguments), place))
            if handed_on is not None and found[output] == output:
                found[output] = first(handed_on)
    for quantization in recording.quantizations:
        first(quantization.result)
    return found


def _handed_on(operation: Operation, recording: Recording) -> str | None:
    """What an operation hands on as it is, such as a product with 1, which no file has."""
    try:
        steps = steps_of(operation, recording.values) or []
    except NotImplementedError:
        return None
    if len(steps) != 1 or steps[0].op != "identity":
        return None
    source = str(steps[0].inputs[0])
    one, two = (recording.values[name] for name in (source, steps[0].output))
    return source if one.dtype == two.dtype and one.shape == two.shape else None


def _facts(quantization: Quantization) -> Hashable:
    facts = quantization.facts
    arrays = (facts.qparams.scale, facts.qparams.zero_point, facts.qparams.minval)
    return repr(facts.spec), *(None if a is None else a.tobytes() for a in arrays)
