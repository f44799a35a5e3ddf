"""What the outputs of a whole model may be, from what each of its tensors may be.

Each region is on the inputs of its own; a whole model is not: a code that is admissible and not
the recorded one changes what follows. So the sets go through the model, region by region, as the
values would. They grow on the way, and where they come to hold everything, nothing is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quant_conformance.gate.recording.recorder import Quantization, Recording
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Region, arithmetic_of, needed
from quant_conformance.protocol import Array
from quant_reference import QuantError, dequantize
from quant_reference.admissible import (
    AdmissibleValues,
    Arithmetic,
    Bounds,
    admissible_codes,
    admissible_values,
    evaluate,
)


@dataclass(frozen=True)
class Reach:
    """What one output of the model may be.

    Attributes:
        values: the ends of the sets.
        undecided: marks the elements of which nothing is known.
        single: share of elements with exactly one right code; None where it is not quantized.
    """

    values: AdmissibleValues
    undecided: Array
    single: float | None


class Propagation:
    """Sets on their way through a model.

    Args:
        recording: one run of the prepared model.
        regions: all of its regions, in the order of computation.
    """

    def __init__(self, recording: Recording, regions: Sequence[Region]) -> None:
        self._recording = recording
        self._regions = [needed(region) for region in regions]
        self._quantized = {q.result: q for q in recording.quantizations}
        self._known: dict[str, Bounds] = {}
        self._reach: dict[str, Reach] = {}
        self._lost: dict[str, str] = {}  # value -> why nothing is known of it

    def outputs(self) -> dict[str, Reach | str]:
        """Sets of the model's outputs by name, or why there are none."""
        readers = Counter(name for region in self._regions for name in set(region.operands))
        for region in self._regions:
            lost = [self._lost[name] for name in region.operands if name in self._lost]
            if region.lacking:
                lost = [f"no bound is known for {', '.join(region.lacking)}"]
            if not lost:
                try:
                    self._step(region)
                except QuantError as error:
                    lost = [" ".join(str(error).split())]
            if lost:
                self._lost[_result(region)] = lost[0]
            for name in set(region.operands):
                readers[name] -= 1
                if not readers[name]:
                    self._known.pop(name, None)  # no longer needed
        return {name: self._reach_of(name) for name in self._recording.outputs}

    def _step(self, region: Region) -> None:
        arithmetic = arithmetic_of(self._recording, region)
        operands = {name: self._operand(name, arithmetic) for name in region.operands}
        if region.steps:
            bounds = evaluate(region.steps, operands, arithmetic)[region.target]
        else:
            bounds = operands[region.target]
        name = _result(region)
        if region.quantization is None:
            values, undecided = admissible_values(bounds, arithmetic), ~np.isfinite(bounds.probable)
        else:
            values, undecided = _quantized(bounds, region.quantization, arithmetic)
            bounds = _between(values)
        self._known[name] = bounds
        if name in self._recording.outputs:
            single = None
            if region.quantization is not None and values.low.size:
                single = float((values.likely_low == values.likely_high).mean())
            self._reach[name] = Reach(values, undecided, single)

    def _operand(self, name: str, arithmetic: Arithmetic) -> Bounds:
        if name in self._known:
            return self._known[name]
        array = Expected(self._recording, half=False).operand(name)
        narrow = arithmetic.value.dtype
        return Bounds.exact(array.astype(narrow) if array.dtype.kind == "f" else array)

    def _reach_of(self, name: str) -> Reach | str:
        if name in self._reach:
            return self._reach[name]
        if name in self._lost:
            return self._lost[name]
        # An input or a constant that the model hands on.
        array = Expected(self._recording, half=False).operand(name)
        values = AdmissibleValues(array, array, array, array)
        return Reach(values, np.zeros(array.shape, bool), 1.0)


def _result(region: Region) -> str:
    return region.target if region.quantization is None else region.quantization.result


def _quantized(
    bounds: Bounds, quantization: Quantization, arithmetic: Arithmetic
) -> tuple[AdmissibleValues, Array]:
    """The sets behind a quantizer, dequantized again."""
    spec, qparams = quantization.facts.spec, quantization.facts.qparams
    codes = admissible_codes(bounds, spec, qparams, arithmetic)
    ends = (codes.low, codes.high, codes.likely_low, codes.likely_high)
    dtype = arithmetic.value.dtype
    with np.errstate(over="ignore"):
        values = (dequantize(end, spec, qparams).astype(dtype) for end in ends)
        return AdmissibleValues(*values), codes.undecided


def _between(values: AdmissibleValues) -> Bounds:
    """Bounds around the middle of the probable set; exact where the set holds one value."""
    low, high, likely_low, likely_high = (
        end.astype(np.float64)
        for end in (values.low, values.high, values.likely_low, values.likely_high)
    )
    with np.errstate(invalid="ignore"):
        middle = np.where(likely_low == likely_high, likely_low, (likely_low + likely_high) / 2)
        radii = []
        for least, greatest in ((low, high), (likely_low, likely_high)):
            radius = np.maximum(greatest - middle, middle - least)
            # The middle and the difference were rounded in float64, each by less than an ulp of
            # the larger end; where there is one value nothing was.
            slack = 2 * np.spacing(np.maximum(np.abs(least), np.abs(greatest)))
            radius = np.where(radius == 0, 0.0, radius + slack)
            radii.append(np.where(np.isfinite(radius), radius, np.inf))
    return Bounds(middle, radii[0], np.minimum(radii[1], radii[0]))
