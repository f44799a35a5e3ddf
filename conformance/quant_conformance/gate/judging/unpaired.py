"""What was called wrong because tensors were paired wrongly, and is in the file all the same.

A tensor is judged by what the file computes once right values stand where its operands were found.
If they were looked for in the wrong places, a right file looks wrong. Such a file gives itself
away: run as it is, it has every output of the model; for every tensor that was called wrong, the
right values behind the right quantizer somewhere; and no quantizer that is not one of the model's.
Where one of the three fails, something is wrong whatever was paired with what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from quant_conformance.gate.alignment.matching import difference
from quant_conformance.gate.alignment.reading import Reading
from quant_conformance.gate.alignment.stored_qparams import differing_qparams
from quant_conformance.gate.document import Layer
from quant_conformance.gate.judging.region_verdicts import Judge
from quant_conformance.gate.recording.recorder import Quantization, Recording
from quant_conformance.gate.regions.region import Region
from quant_conformance.runtimes.program import (
    ProgramQuantizer,
    as_prepared,
    converted,
)


class Unpaired:
    """Looks for tensors in a file that ran as it is.

    Args:
        reading: the file beside the recording.
        judge: judges float results.
    """

    def __init__(self, reading: Reading, judge: Judge) -> None:
        self._reading, self._judge = reading, judge
        self._recording, self._expected = reading.recording, reading.expected
        self._whole = reading.whole
        self._weights = {
            q.result for q in self._recording.quantizations if q.facts.target == "weight"
        }
        self._rescaled = {found.codes for found in reading.sums}

    def settled(self, layers: Sequence[tuple[Layer, Region | None]]) -> list[Layer]:
        """The verdicts, with "unpaired" for "wrong" if each wrong one doubts the pairing alone.

        Args:
            layers: all verdicts with their regions; None for a quantizer that only the file has,
                by whose codes its verdict is named.
        """
        given = [layer for layer, _ in layers]
        bad = [
            (layer, region) for layer, region in layers if layer.verdict in ("wrong", "unlikely")
        ]
        if not bad or not self._is_right_as_a_whole():
            return given
        places = {id(layer): self._place(region) for layer, region in bad if region is not None}
        if not all(places.values()) or not self._all_are_the_models():
            return given
        taken = {*places.values()}
        if any(region is None and layer.name not in taken for layer, region in bad):
            return given
        told = {id(x): self._told(x, region, places.get(id(x))) for x, region in bad}
        return [told.get(id(layer), layer) for layer in given]

    def _told(self, layer: Layer, region: Region | None, place: str | None) -> Layer:
        if region is None:
            detail = "no tensor of the prepared model was found for it"
        else:
            detail = (
                f"looked for {_described(layer, self._recording, region)}; the file has it in "
                f"{place}, when it runs as it is; as it was paired: {layer.detail}"
            )
        return replace(layer, verdict="unpaired", detail=detail)

    def _is_right_as_a_whole(self) -> bool:
        limits = self._reading.limits
        same = limits.same_half if self._reading.half else limits.same
        for output, name in zip(self._reading.outputs, self._recording.outputs, strict=True):
            if output not in self._whole:
                return False
            given, wanted = (
                np.asarray(a, np.float64).reshape(-1)
                for a in (self._whole[output], self._recording.values[name])
            )
            if given.size != wanted.size or difference(given, wanted) > same:
                return False
        return True

    def _all_are_the_models(self) -> bool:
        """Whether every quantizer of the file is one of the model's, in its qparams and its codes.

        The values of a wrong one may be in the file a second time, behind a right one.
        """
        quantized = [q for q in self._recording.quantizations if q.result not in self._weights]
        return all(
            any(self._is(quantizer, ours) for ours in quantized)
            for quantizer in self._reading.quantizers
            if quantizer.codes not in self._rescaled
        )

    def _place(self, region: Region) -> str | None:
        """Where the file has what a region should give, or None."""
        if region.quantization is None:
            return self._float_place(region)
        quantizers = self._reading.quantizers
        found = (q.codes for q in quantizers if self._is(q, region.quantization))
        return next(found, None)

    def _is(self, quantizer: ProgramQuantizer, ours: Quantization) -> bool:
        """Whether a quantizer of the file, which ran as it is, does what the model's does."""
        spec, codes = ours.facts.spec, self._expected.codes(ours)
        twin = as_prepared(quantizer, spec.dtype)
        if differing_qparams(twin, spec, self._expected.qparams(ours)):
            return False
        if quantizer.codes not in self._whole:
            return False
        given = converted(self._whole[quantizer.codes], quantizer.dtype, spec.dtype)
        # In another layout the elements are the same ones in another order.
        return given.size == codes.size and np.array_equal(
            np.sort(given.reshape(-1)), np.sort(codes.reshape(-1))
        )

    def _float_place(self, region: Region) -> str | None:
        wanted = self._recording.values[region.target]
        flat = wanted.astype(np.float64).reshape(-1)
        for name in self._whole:
            given = self._whole.get(name)
            if given is None or given.size != flat.size:
                continue
            gap = difference(flat, given.astype(np.float64).reshape(-1))
            if gap > self._reading.limits.far_float:
                continue
            verdict = self._judge.values(region, given.astype(np.float32)).layer.verdict
            if verdict in ("exact", "admissible"):
                return name
        return None


def _described(layer: Layer, recording: Recording, region: Region) -> str:
    shape = recording.values[region.target].shape
    kind = "float result" if region.quantization is None else f"quantizer to {layer.dtype}"
    return f"a {kind} of shape {shape} behind {region.operation}"
