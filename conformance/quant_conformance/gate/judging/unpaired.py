"""What was called wrong because tensors were paired wrongly, and is in the file all the same.

A tensor is judged by what the file computes once right values stand where its operands were found.
If they were looked for in the wrong places, a right file looks wrong. Such a file gives itself
away: run as it is, it has every output of the model; for every tensor that was called wrong, the
right values behind the right quantizer somewhere; and no quantizer that is not one of the model's.
Where one of the three fails, something is wrong whatever was paired with what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quant_conformance.gate.alignment.matching import FAR_FLOAT, difference
from quant_conformance.gate.alignment.stored_qparams import differing_qparams
from quant_conformance.gate.document import Layer
from quant_conformance.gate.judging.region_verdicts import Judge
from quant_conformance.gate.recording.recorder import Quantization, Recording
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Region
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import (
    Program,
    ProgramQuantizer,
    as_prepared,
    converted,
)

_SAME = {False: 2.0**-16, True: 2.0**-8}
"""How far apart outputs may be by roundings alone, in 32 and in 16 bits, relative to both norms."""


class Doubts:
    """Looks for tensors in a file that ran as it is.

    Args:
        recording: one run of the prepared model.
        expected: the reference's answers to it.
        judge: judges float results.
        program: the file.
        whole: what the file computes when it runs uncut.
        half: whether the program computes in 16 bits.
    """

    def __init__(
        self,
        recording: Recording,
        expected: Expected,
        judge: Judge,
        program: Program,
        whole: Mapping[str, Array],
        half: bool,
    ) -> None:
        self._recording, self._expected, self._judge = recording, expected, judge
        self._program, self._whole, self._half = program, whole, half
        self._weights = {q.result for q in recording.quantizations if q.facts.target == "weight"}
        self._rescaled = {found.codes for found in program.sums}

    def settle(self, layers: Sequence[tuple[Layer, Region | None]]) -> None:
        """Calls what is wrong "unpaired", if each of it is a doubt about the pairing alone.

        Args:
            layers: all verdicts with their regions; None for a quantizer that only the file has,
                by whose codes its verdict is named. The verdicts are changed.
        """
        bad = [
            (layer, region) for layer, region in layers if layer.verdict in ("wrong", "unlikely")
        ]
        if not bad or not self._is_right_as_a_whole():
            return
        places = {id(layer): self._place(region) for layer, region in bad if region is not None}
        if not all(places.values()) or not self._all_are_the_models():
            return
        taken = {*places.values()}
        if any(region is None and layer.name not in taken for layer, region in bad):
            return
        for layer, region in bad:
            kept = layer.detail
            layer.verdict = "unpaired"
            if region is None:
                layer.detail = "no tensor of the prepared model was found for it"
            else:
                layer.detail = (
                    f"looked for {_described(layer, self._recording, region)}; the file has it in "
                    f"{places[id(layer)]}, when it runs as it is; as it was paired: {kept}"
                )

    def _is_right_as_a_whole(self) -> bool:
        for output, name in zip(self._program.outputs, self._recording.outputs, strict=True):
            given, wanted = (
                np.asarray(a, np.float64).reshape(-1)
                for a in (self._whole[output], self._recording.values[name])
            )
            if given.size != wanted.size or difference(given, wanted) > _SAME[self._half]:
                return False
        return True

    def _all_are_the_models(self) -> bool:
        """Whether every quantizer of the file is one of the model's, in its qparams and its codes.

        The values of a wrong one may be in the file a second time, behind a right one.
        """
        quantized = [q for q in self._recording.quantizations if q.result not in self._weights]
        return all(
            any(self._is(quantizer, ours) for ours in quantized)
            for quantizer in self._program.quantizers
            if quantizer.codes not in self._rescaled
        )

    def _place(self, region: Region) -> str | None:
        """Where the file has what a region should give, or None."""
        if region.quantization is None:
            return self._float_place(region)
        quantizers = self._program.quantizers
        found = (q.codes for q in quantizers if self._is(q, region.quantization))
        return next(found, None)

    def _is(self, quantizer: ProgramQuantizer, ours: Quantization) -> bool:
        """Whether a quantizer of the file, which ran as it is, does what the model's does."""
        spec, codes = ours.facts.spec, self._expected.codes(ours)
        twin = as_prepared(quantizer, spec.dtype)
        if differing_qparams(twin, spec, self._expected.qparams(ours)):
            return False
        given = converted(self._whole[quantizer.codes], quantizer.dtype, spec.dtype)
        # In another layout the elements are the same ones in another order.
        return given.size == codes.size and np.array_equal(
            np.sort(given.reshape(-1)), np.sort(codes.reshape(-1))
        )

    def _float_place(self, region: Region) -> str | None:
        wanted = self._recording.values[region.target]
        flat = wanted.astype(np.float64).reshape(-1)
        for name in dict.fromkeys([*self._program.floats, *self._program.outputs]):
            given = self._whole.get(name)
            if given is None or given.size != flat.size:
                continue
            if difference(flat, given.astype(np.float64).reshape(-1)) > FAR_FLOAT:
                continue
            verdict = self._judge.values(region, given.astype(np.float32)).layer.verdict
            if verdict in ("exact", "admissible"):
                return name
        return None


def _described(layer: Layer, recording: Recording, region: Region) -> str:
    shape = recording.values[region.target].shape
    kind = "float result" if region.quantization is None else f"quantizer to {layer.dtype}"
    return f"a {kind} of shape {shape} behind {region.operation}"
