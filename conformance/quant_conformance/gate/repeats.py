"""Which values of a recorded model are one and the same computation, made twice."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from torch.utils import _pytree as pytree

from quant_conformance.gate.recording import Quantization, Recording, Ref


def first_alike(recording: Recording) -> dict[str, str]:
    """Finds for every result the first one that is computed alike from the same values.

    Converters compute a common subexpression once.

    Args:
        recording: one run of a prepared model.

    Returns:
        Name of a result of an operation or a quantizer -> the first name, often its own.
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
            quantization = quantizations[name]
            settle(name, (first(quantization.source), _facts(quantization)))
        return found.get(name, name)

    for operation in recording.operations:
        arguments: Any = pytree.tree_map_only(
            Ref, lambda ref: Ref(first(ref.name)), (operation.args, operation.kwargs)
        )
        for place, output in enumerate(operation.outputs):
            if output is not None:
                settle(output, (str(operation.function), repr(arguments), place))
    for quantization in recording.quantizations:
        first(quantization.result)
    return found


def _facts(quantization: Quantization) -> Hashable:
    facts = quantization.facts
    arrays = (facts.qparams.scale, facts.qparams.zero_point, facts.qparams.minval)
    return repr(facts.spec), *(None if a is None else a.tobytes() for a in arrays)
