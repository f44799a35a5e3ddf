"""What the result of a region may be, and which of the results that a file gives may not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from quant_conformance.gate.recording.recorder import Quantization
from quant_conformance.gate.regions.batch_norm_folding import folded
from quant_conformance.gate.regions.expected import Expected, to_half
from quant_conformance.gate.regions.region import Region
from quant_conformance.protocol import Array
from quant_reference import dequantize
from quant_reference.admissible import (
    VERDICTS,
    AdmissibleCodes,
    Arithmetic,
    Bounds,
    admissible_codes,
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
    given: Mapping[str, Bounds] | None = None,
) -> Bounds:
    """The exact result of a region, and what may be computed in its place (ADM-1).

    Args:
        region: the region.
        expected: what its operands are.
        arithmetic: what the program computes in.
        scales: result of a quantizer -> another scale that its codes are read with.
        given: operand -> what it may be, where that is not what is expected.

    Raises:
        QuantError: attributes or shapes that no clause covers.
    """
    other_scales, others = scales or {}, given or {}

    def operands(cast: bool) -> dict[str, Bounds]:
        return {
            name: others[name]
            if name in others
            else expected.bounds(name, other_scales.get(name), cast=cast)
            for name in region.operands
        }

    found = _evaluated(region, operands(cast=True), arithmetic)
    if arithmetic.values == "float32":
        return found
    found = _either(found, _evaluated(region, operands(cast=False), arithmetic))
    recording = expected.recording
    without_norms = folded(region.steps, {n: recording.values[n] for n in recording.states})
    if without_norms is None:
        return found
    constants = {n: Bounds.exact(to_half(array)) for n, array in without_norms.constants.items()}
    read = {**operands(cast=True), **constants}
    return _either(found, evaluate(without_norms.steps, read, arithmetic)[region.target])


def behind_quantizer(bounds: Bounds, quantization: Quantization, expected: Expected) -> Bounds:
    """What may stand behind a quantizer of which the operand is known within bounds.

    Args:
        bounds: of what is quantized.
        quantization: the quantizer.
        expected: its qparams.
    """
    spec, qparams = quantization.facts.spec, expected.qparams(quantization)
    arithmetic = Arithmetic("float16" if expected.half else "float32")
    codes = admissible_codes(bounds, spec, qparams, arithmetic)
    low, high = (dequantize(c, spec, qparams).astype(np.float64) for c in (codes.low, codes.high))
    middle = np.where(low == high, low, (low + high) / 2)
    radius = np.maximum(high - middle, middle - low)
    slack = 2 * np.spacing(np.maximum(np.abs(low), np.abs(high)))
    radius = np.where(low == high, 0.0, radius + slack)
    radius = np.where(codes.undecided, np.inf, radius)
    return Bounds(middle, radius, radius)


def wrong_codes(codes: Array, admissible: AdmissibleCodes) -> Array:
    """Marks the codes outside of the rigorous bound (ADM-12)."""
    return np.asarray(judge_codes(codes, admissible) == _WRONG)


def wrong_values(values: Array, bounds: Bounds, arithmetic: Arithmetic) -> Array:
    """Marks the values outside of the rigorous bound (ADM-12)."""
    return np.asarray(judge_values(values, bounds, arithmetic) == _WRONG)


def _evaluated(region: Region, operands: Mapping[str, Bounds], arithmetic: Arithmetic) -> Bounds:
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
