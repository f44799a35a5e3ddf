"""Figures that go with a verdict: distances of codes and values, noise, the worst element."""

from __future__ import annotations

from collections import Counter

import numpy as np

from quant_conformance.gate.document import Worst
from quant_conformance.protocol import Array
from quant_conformance.verdicts.bits import code_ordinals, ordinals
from quant_reference import QuantizationSpec
from quant_reference.admissible import AdmissibleCodes, Bounds


def worst_code_at(
    words: Array, word: str, given: Array, admissible: AdmissibleCodes, spec: QuantizationSpec
) -> tuple[int, ...]:
    """Where the code with a verdict is that is furthest outside of its bound."""
    low, high = (code_ordinals(a, spec) for a in (admissible.low, admissible.high))
    if word == "unlikely":
        low, high = (
            code_ordinals(a, spec) for a in (admissible.likely_low, admissible.likely_high)
        )
    beyond = np.maximum(low - given, given - high)
    beyond = np.where(words == word, beyond, -1)
    return tuple(int(n) for n in np.unravel_index(int(np.argmax(beyond)), beyond.shape))


def worst_code(
    at: tuple[int, ...],
    bounds: Bounds,
    given: Array,
    admissible: AdmissibleCodes,
    prepared: Array,
) -> Worst:
    """The element of a quantized tensor that is furthest off."""
    return Worst(
        list(at),
        float(np.asarray(bounds.value)[at]),
        float(given[at]),
        float(admissible.low[at]),
        float(admissible.high[at]),
        float(admissible.likely_low[at]),
        float(admissible.likely_high[at]),
        float(prepared[at]),
    )


def worst_value(chosen: Array, bounds: Bounds, given: Array, prepared: Array) -> Worst:
    """The element of a float result that is furthest off, of those that are chosen."""
    beyond = np.nan_to_num(np.abs(given - bounds.value) - bounds.rigorous, nan=np.inf)
    at = np.unravel_index(int(np.argmax(np.where(chosen, beyond, -np.inf))), given.shape)
    low, high, likely_low, likely_high = (
        float(end[at]) for kind in ("rigorous", "probable") for end in bounds.ends(kind)
    )
    value, got, wanted = (float(np.asarray(a)[at]) for a in (bounds.value, given, prepared))
    return Worst([int(n) for n in at], value, got, low, high, likely_low, likely_high, wanted)


def ulps(given: Array, wanted: Array) -> dict[str, int]:
    """Distances in float32 units in the last place, in powers of two, -> elements."""
    (a, _), (b, _) = ordinals(given.astype(np.float32)), ordinals(wanted.astype(np.float32))
    steps = np.abs(a - b)
    labels = np.where(steps == 0, 0, 2 ** np.ceil(np.log2(np.maximum(steps, 1))))
    counted = Counter(labels.reshape(-1).astype(np.int64).tolist())
    return {str(n): counted[n] for n in sorted(counted)}
