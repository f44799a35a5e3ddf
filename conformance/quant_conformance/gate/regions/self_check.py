"""Whether what a recording was read as is what the prepared model computes.

A verdict on a file rests on the steps that its operations were read as. Where the prepared model's
own result lies outside of the sets that those steps give it, they are other operations than the
model's, or torch computes them in a way that the clauses do not admit; of the file that says
nothing.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from quant_conformance.gate.recording.recorder import Recording
from quant_conformance.gate.regions.bounds import wrong_codes, wrong_values
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Region, Regions, arithmetic_of
from quant_conformance.protocol import Array
from quant_reference import QuantError
from quant_reference.admissible import (
    Arithmetic,
    Bounds,
    admissible_codes,
    evaluate,
)


class SelfCheck:
    """Holds the regions of one recording to the prepared model itself.

    Args:
        recording: one run of the prepared model.
        cuts: float results that are fixed, and judged.
    """

    def __init__(self, recording: Recording, cuts: list[str]) -> None:
        self._recording, self._cuts = recording, cuts
        self._expected = Expected(recording, half=False)
        self._faults: dict[str, str] = {}

    def fault(self, region: Region, bounds: Bounds | None = None) -> str:
        """Says that a region's steps do not give what the prepared model gives; empty if they do.

        Args:
            region: the region; it may have been built for a file that lacks quantizers.
            bounds: its result's in float32, on operands as a file has them, where they are known.
        """
        key = _result(region)
        if key not in self._faults:
            self._faults[key] = self._fault(region, bounds)
        return self._faults[key]

    def _fault(self, region: Region, bounds: Bounds | None) -> str:
        if region.lacking or not region.steps:
            return ""
        if bounds is not None and not self._outside(region, bounds, Arithmetic()):
            return ""
        own = self._as_recorded.get(_result(region), region)
        arithmetic = arithmetic_of(self._recording, own)
        try:
            found = evaluate(own.steps, {n: self._operand(n) for n in own.operands}, arithmetic)
        except QuantError:
            return ""  # who asks for bounds is told
        outside = self._outside(own, found[own.target], arithmetic)
        if not outside:
            return ""
        return (
            f"the prepared model's own result is not admissible in {outside} of "
            f"{self._recording.values[own.target].size} elements: "
            f"{own.operation} is not what it computes"
        )

    def _outside(self, region: Region, bounds: Bounds, arithmetic: Arithmetic) -> int:
        """How many elements of the prepared model's result are not in the sets of bounds."""
        recorded = self._recording.values[region.target]
        quantization = region.quantization
        if quantization is None:
            wrong = wrong_values(_float(recorded), bounds, arithmetic)
        else:
            spec, qparams = quantization.facts.spec, quantization.facts.qparams
            codes = self._expected.codes(quantization)
            wrong = wrong_codes(codes, admissible_codes(bounds, spec, qparams, arithmetic))
        return int(np.count_nonzero(wrong))

    def _operand(self, name: str) -> Bounds:
        """What the prepared model read, whatever its own quantizers make of codes."""
        return Bounds.exact(self._recording.values[name])

    @cached_property
    def _as_recorded(self) -> dict[str, Region]:
        return {_result(r): r for r in Regions(self._recording).build(self._cuts)}


def _result(region: Region) -> str:
    return region.target if region.quantization is None else region.quantization.result


def _float(array: Array) -> Array:
    return array if array.dtype.kind == "f" else array.astype(np.float32)
