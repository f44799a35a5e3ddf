"""What the result of a region may be, and which of the results that a file gives may not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from quant_conformance.gate.regions.batch_norm_folding import folded
from quant_conformance.gate.regions.expected import Expected, to_half
from quant_conformance.gate.regions.region import Region
from quant_conformance.protocol import Array
from quant_reference.admissible import (
    VERDICTS,
    AdmissibleCodes,
    Arithmetic,
    Bounds,
    evaluate,
    judge_codes,
    judge_values,
)

_WRONG = VERDICTS.index("wrong")


def bounds_of(
    region: Region,
    expected: Expected,
    arithmetic: Arithmetic,
    scales: Mapping[str, float] | None = None,
) -> Bounds:
    """The exact result of a region, and what may be computed in its place (ADM-1).

    Args:
        region: the region.
        expected: what its operands are.
        arithmetic: what the program computes in.
        scales: result of a quantizer -> another scale that its codes are read with.

    Raises:
        QuantError: attributes or shapes that no clause covers.
    """
    other_scales = scales or {}
    found = _evaluated(region, expected, arithmetic, other_scales, cast=True)
    if arithmetic.values == "float32":
        return found
    found = _either(found, _evaluated(region, expected, arithmetic, other_scales, cast=False))
    recording = expected.recording
    without_norms = folded(region.steps, {n: recording.values[n] for n in recording.states})
    if without_norms is None:
        return found
    operands = {name: expected.bounds(name, other_scales.get(name)) for name in region.operands}
    constants = without_norms.constants.items()
    operands |= {name: Bounds.exact(to_half(array)) for name, array in constants}
    return _either(found, evaluate(without_norms.steps, operands, arithmetic)[region.target])


def wrong_codes(codes: Array, admissible: AdmissibleCodes) -> Array:
    """Marks the codes outside of the rigorous bound (ADM-12)."""
    return np.asarray(judge_codes(codes, admissible) == _WRONG)


def wrong_values(values: Array, bounds: Bounds, arithmetic: Arithmetic) -> Array:
    """Marks the values outside of the rigorous bound (ADM-12)."""
    return np.asarray(judge_values(values, bounds, arithmetic) == _WRONG)


def _evaluated(
    region: Region,
    expected: Expected,
    arithmetic: Arithmetic,
    scales: Mapping[str, float],
    *,
    cast: bool,
) -> Bounds:
    operands = {n: expected.bounds(n, scales.get(n), cast=cast) for n in region.operands}
    if not region.steps:
        return operands[region.target]
    return evaluate(region.steps, operands, arithmetic)[region.target]


def _either(one: Bounds, other: Bounds) -> Bounds:
    """Bounds that hold what either of two computations may give."""
    apart = np.abs(one.value - other.value)
    radii = [
        np.maximum(getattr(one, kind), apart + getattr(other, kind))
        for kind in ("rigorous", "probable")
    ]
    return Bounds(one.value, radii[0], radii[1])
