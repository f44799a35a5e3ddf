"""Verdicts on the tensors of a cut run: each result held to what correct arithmetic can produce."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from quant_conformance.gate.alignment.rescaled_sums import Rescaled
from quant_conformance.gate.document import Layer
from quant_conformance.gate.judging.measures import (
    ulps,
    worst_code,
    worst_code_at,
    worst_value,
)
from quant_conformance.gate.regions.bounds import bounds_of
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import SILENT, Region
from quant_conformance.gate.regions.self_check import SelfCheck
from quant_conformance.layers import quantize_clauses
from quant_conformance.protocol import Array
from quant_conformance.verdicts.bits import code_ordinals
from quant_conformance.verdicts.noise import sqnr
from quant_reference import QParams, QuantError, QuantizationSpec, dequantize
from quant_reference.admissible import (
    VERDICTS,
    Arithmetic,
    Bounds,
    admissible_codes,
    judge_codes,
    judge_values,
)
from quant_reference.admissible.operations import CLAUSES

_WORDS = ("wrong", "unlikely", "undecided")


@dataclass(frozen=True)
class Judged:
    """A verdict with what it rests on.

    Attributes:
        layer: the verdict.
        region: what was judged.
        operands: gives what the region was computed from, by name; only a reproduction asks.
        low: least admissible code or value of each element; None where no bound is known.
        high: greatest.
        result: name of the result in the file; empty where it has none.
    """

    layer: Layer
    region: Region
    operands: Callable[[], Mapping[str, Array]]
    low: Array | None = None
    high: Array | None = None
    result: str = ""


@dataclass(frozen=True)
class Judge:
    """Judges arrays as results of regions.

    Attributes:
        expected: the reference's answers to the recording.
        arithmetic: what the program computes in.
        self_check: the same regions, held to the prepared model itself.
    """

    expected: Expected
    arithmetic: Arithmetic
    self_check: SelfCheck

    def _known_bounds(
        self, region: Region, scales: Mapping[str, float] | None, layer: Layer
    ) -> Bounds | None:
        """The bounds, or None and the verdict that there are none."""
        lacking = ", ".join(region.lacking)
        if not lacking:
            try:
                return bounds_of(region, self.expected, self.arithmetic, scales)
            except QuantError as error:  # attributes or shapes that no clause covers
                lacking = str(error)
        layer.verdict = "unsupported"
        layer.detail = f"no bound is known for {lacking}"
        return None

    def codes(self, region: Region, given: Array, scaling: Rescaled | None = None) -> Judged:
        """The verdict on the codes of a region.

        Args:
            region: one with a quantizer behind it.
            given: the codes that the file computes.
            scaling: the scales that a sum has instead of the prepared model's.
        """
        quantization = region.quantization
        if quantization is None:
            raise ValueError(f"{region.name} has no quantizer")
        facts = quantization.facts
        spec, qparams = facts.spec, self.expected.qparams(quantization)
        layer = Layer(region.name, region.operation, _clauses(region), "exact", spec.dtype)
        prepared = self.expected.codes(quantization)
        given = given.reshape(prepared.shape)
        self._compare(layer, given, prepared, spec, qparams)
        bounds = self._known_bounds(region, None if scaling is None else scaling.scales, layer)
        if bounds is None:
            return Judged(layer, region, partial(self._operands, region))
        if scaling is not None:
            qparams = replace(qparams, scale=np.full_like(qparams.scale, scaling.scale))
        admissible = admissible_codes(bounds, spec, qparams, self.arithmetic)
        words = np.array(VERDICTS)[judge_codes(given, admissible)]
        self._count(layer, words)
        layer.single = admissible.single["probable"]
        self._check_reading(layer, region, None if scaling is not None else bounds)
        if not self.expected.agrees(quantization):
            layer.verdict = "wrong"
            layer.detail = "the prepared model's own fake-quantize is not the reference's (FQ-1)"
        if layer.verdict in _WORDS and layer.verdict != "undecided":
            at = worst_code_at(words, layer.verdict, code_ordinals(given, spec), admissible, spec)
            layer.worst = worst_code(at, bounds, given, admissible, prepared)
        return Judged(
            layer, region, partial(self._operands, region), admissible.low, admissible.high
        )

    def values(self, region: Region, given: Array) -> Judged:
        """The verdict on a float result.

        Args:
            region: one without a quantizer.
            given: what the file computes.
        """
        prepared = self.expected.recording.values[region.target]
        layer = Layer(region.name, region.operation, _clauses(region), "exact", given.dtype.name)
        given = given.reshape(prepared.shape).astype(np.float32)
        layer.elements = given.size
        layer.sqnr = sqnr(given, prepared)
        layer.flipped = float(np.mean(given != prepared))
        layer.ulp_errors = ulps(given, prepared.astype(np.float32))
        bounds = self._known_bounds(region, None, layer)
        if bounds is None:
            return Judged(layer, region, partial(self._operands, region))
        words = np.array(VERDICTS)[judge_values(given, bounds, self.arithmetic)]
        self._count(layer, words)
        if layer.verdict == "admissible" and layer.flipped == 0:
            layer.verdict = "exact"
        self._check_reading(layer, region, bounds)
        if layer.verdict in ("wrong", "unlikely"):
            layer.worst = worst_value(words == layer.verdict, bounds, given, prepared)
        low, high = bounds.ends("rigorous")
        return Judged(layer, region, partial(self._operands, region), low, high)

    def _check_reading(self, layer: Layer, region: Region, bounds: Bounds | None) -> None:
        """Takes a verdict back that rests on steps which are not what the model computes."""
        plain = self.arithmetic == Arithmetic()
        fault = self.self_check.fault(region, bounds if plain else None)
        if fault:
            layer.verdict, layer.detail = "unsupported", fault
            layer.wrong = layer.unlikely = layer.undecided = 0

    def _operands(self, region: Region) -> dict[str, Array]:
        return {name: self.expected.operand(name) for name in region.operands}

    def _compare(
        self,
        layer: Layer,
        given: Array,
        prepared: Array,
        spec: QuantizationSpec,
        qparams: QParams,
    ) -> None:
        """Beside the prepared model: flips, their sizes, and the noise that they make."""
        distances = code_ordinals(given, spec) - code_ordinals(prepared, spec)
        layer.elements = given.size
        layer.flipped = float(np.mean(distances != 0))
        counted = Counter(distances.reshape(-1).tolist())
        layer.code_errors = {str(n): counted[n] for n in sorted(counted)}
        layer.sqnr = sqnr(dequantize(given, spec, qparams), dequantize(prepared, spec, qparams))

    @staticmethod
    def _count(layer: Layer, words: Array) -> None:
        counts = {word: int(np.count_nonzero(words == word)) for word in _WORDS}
        layer.wrong, layer.unlikely, layer.undecided = (counts[word] for word in _WORDS)
        found = [word for word in _WORDS if counts[word]]
        if found:
            layer.verdict = found[0]
            share = f"{counts[found[0]]} of {layer.elements} elements {found[0]}"
            layer.detail = f"{layer.detail}; {share}".lstrip("; ")
        else:
            layer.verdict = "exact" if layer.flipped == 0 else "admissible"


def _clauses(region: Region) -> list[str]:
    named = [CLAUSES.get(step.op) for step in region.steps if step.op not in SILENT]
    operations = [clause for clause in named if clause is not None]
    if region.quantization is not None:
        operations += quantize_clauses(region.quantization.facts.spec)
    return list(dict.fromkeys(operations))
