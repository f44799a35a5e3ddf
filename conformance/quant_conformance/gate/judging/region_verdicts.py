"""Verdicts on the tensors of a cut run: each result held to what correct arithmetic can produce."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from quant_conformance.gate.alignment.rescaled_sums import Rescaled
from quant_conformance.gate.document import Layer, Worst
from quant_conformance.gate.judging.self_check import Readings
from quant_conformance.gate.recording.recorder import Recording
from quant_conformance.gate.regions.batch_norm_folding import folded
from quant_conformance.gate.regions.expected import Expected, to_half
from quant_conformance.gate.regions.region import SILENT, Region
from quant_conformance.layers import quantize_clauses
from quant_conformance.protocol import Array
from quant_conformance.verdicts.bits import code_ordinals, ordinals
from quant_conformance.verdicts.noise import sqnr
from quant_reference import QParams, QuantError, QuantizationSpec, dequantize
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
    """

    layer: Layer
    region: Region
    operands: Callable[[], Mapping[str, Array]]
    low: Array | None = None
    high: Array | None = None


class Judge:
    """Judges the regions of one recording.

    Args:
        recording: one run of the prepared model.
        expected: the reference's answers to it.
        arithmetic: what the program computes in.
        readings: the same regions, held to the prepared model itself.
    """

    def __init__(
        self,
        recording: Recording,
        expected: Expected,
        arithmetic: Arithmetic,
        readings: Readings,
    ) -> None:
        self._recording = recording
        self._expected = expected
        self._arithmetic = arithmetic
        self._readings = readings

    @property
    def arithmetic(self) -> Arithmetic:
        """What the program computes in."""
        return self._arithmetic

    def on(self, expected: Expected) -> Judge:
        """The same judge where the program computes with other codes."""
        return Judge(self._recording, expected, self._arithmetic, self._readings)

    def bounds(self, region: Region, scales: Mapping[str, float] | None = None) -> Bounds:
        """The exact result of a region, and what may be computed in its place (ADM-1).

        Args:
            region: the region.
            scales: result of a quantizer -> another scale that its codes are read with.
        """
        found = self._evaluated(region, scales or {}, cast=True)
        if self._arithmetic.values == "float32":
            return found
        found = _either(found, self._evaluated(region, scales or {}, cast=False))
        states = {n: self._recording.values[n] for n in self._recording.states}
        other = folded(region.steps, states)
        if other is None:
            return found
        operands = {
            name: self._expected.bounds(name, (scales or {}).get(name)) for name in region.operands
        }
        operands |= {n: Bounds.exact(to_half(array)) for n, array in other.constants.items()}
        return _either(found, evaluate(other.steps, operands, self._arithmetic)[region.target])

    def _known_bounds(
        self, region: Region, scales: Mapping[str, float] | None, layer: Layer
    ) -> Bounds | None:
        """The bounds, or None and the verdict that there are none."""
        lacking = ", ".join(region.lacking)
        if not lacking:
            try:
                return self.bounds(region, scales)
            except QuantError as error:  # attributes or shapes that no clause covers
                lacking = str(error)
        layer.verdict = "unsupported"
        layer.detail = f"no bound is known for {lacking}"
        return None

    def _evaluated(self, region: Region, scales: Mapping[str, float], *, cast: bool) -> Bounds:
        operands = {
            name: self._expected.bounds(name, scales.get(name), cast=cast)
            for name in region.operands
        }
        if not region.steps:
            return operands[region.target]
        return evaluate(region.steps, operands, self._arithmetic)[region.target]

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
        spec, qparams = facts.spec, self._expected.qparams(quantization)
        layer = Layer(region.name, region.operation, _clauses(region), "exact", spec.dtype)
        prepared = self._expected.codes(quantization)
        given = given.reshape(prepared.shape)
        self._compare(layer, given, prepared, spec, qparams)
        bounds = self._known_bounds(region, None if scaling is None else scaling.scales, layer)
        if bounds is None:
            return Judged(layer, region, partial(self._operands, region))
        if scaling is not None:
            qparams = replace(qparams, scale=np.full_like(qparams.scale, scaling.scale))
        admissible = admissible_codes(bounds, spec, qparams, self._arithmetic)
        words = np.array(VERDICTS)[judge_codes(given, admissible)]
        self._count(layer, words)
        layer.single = admissible.single["probable"]
        self._check_reading(layer, region, None if scaling is not None else bounds)
        if not self._expected.agrees(quantization):
            layer.verdict = "wrong"
            layer.detail = "the prepared model's own fake-quantize is not the reference's (FQ-1)"
        if layer.verdict in _WORDS and layer.verdict != "undecided":
            at = _worst(words, layer.verdict, code_ordinals(given, spec), admissible, spec)
            layer.worst = _worst_code(at, bounds, given, admissible, prepared)
        return Judged(
            layer, region, partial(self._operands, region), admissible.low, admissible.high
        )

    def values(self, region: Region, given: Array) -> Judged:
        """The verdict on a float result.

        Args:
            region: one without a quantizer.
            given: what the file computes.
        """
        prepared = self._recording.values[region.target]
        layer = Layer(region.name, region.operation, _clauses(region), "exact", given.dtype.name)
        given = given.reshape(prepared.shape).astype(np.float32)
        layer.elements = given.size
        layer.sqnr = sqnr(given, prepared)
        layer.flipped = float(np.mean(given != prepared))
        layer.ulp_errors = _ulps(given, prepared.astype(np.float32))
        bounds = self._known_bounds(region, None, layer)
        if bounds is None:
            return Judged(layer, region, partial(self._operands, region))
        words = np.array(VERDICTS)[judge_values(given, bounds, self._arithmetic)]
        self._count(layer, words)
        if layer.verdict == "admissible" and layer.flipped == 0:
            layer.verdict = "exact"
        self._check_reading(layer, region, bounds)
        if layer.verdict in ("wrong", "unlikely"):
            layer.worst = _worst_value(words == layer.verdict, bounds, given, prepared)
        low, high = bounds.ends("rigorous")
        return Judged(layer, region, partial(self._operands, region), low, high)

    def _check_reading(self, layer: Layer, region: Region, bounds: Bounds | None) -> None:
        """Takes a verdict back that rests on steps which are not what the model computes."""
        plain = self._arithmetic == Arithmetic()
        fault = self._readings.fault(region, bounds if plain else None)
        if fault:
            layer.verdict, layer.detail = "unsupported", fault
            layer.wrong = layer.unlikely = layer.undecided = 0

    def _operands(self, region: Region) -> dict[str, Array]:
        return {name: self._expected.operand(name) for name in region.operands}

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


def _either(one: Bounds, other: Bounds) -> Bounds:
    """Bounds that hold what either of two computations may give."""
    apart = np.abs(one.value - other.value)
    radii = [
        np.maximum(getattr(one, kind), apart + getattr(other, kind))
        for kind in ("rigorous", "probable")
    ]
    return Bounds(one.value, radii[0], radii[1])


def _clauses(region: Region) -> list[str]:
    named = [CLAUSES.get(step.op) for step in region.steps if step.op not in SILENT]
    operations = [clause for clause in named if clause is not None]
    if region.quantization is not None:
        operations += quantize_clauses(region.quantization.facts.spec)
    return list(dict.fromkeys(operations))


def _worst(
    words: Array, word: str, given: Array, admissible: AdmissibleCodes, spec: QuantizationSpec
) -> tuple[int, ...]:
    low, high = (code_ordinals(a, spec) for a in (admissible.low, admissible.high))
    if word == "unlikely":
        low, high = (
            code_ordinals(a, spec) for a in (admissible.likely_low, admissible.likely_high)
        )
    beyond = np.maximum(low - given, given - high)
    beyond = np.where(words == word, beyond, -1)
    return tuple(int(n) for n in np.unravel_index(int(np.argmax(beyond)), beyond.shape))


def _worst_code(
    at: tuple[int, ...],
    bounds: Bounds,
    given: Array,
    admissible: AdmissibleCodes,
    prepared: Array,
) -> Worst:
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


def _worst_value(chosen: Array, bounds: Bounds, given: Array, prepared: Array) -> Worst:
    beyond = np.nan_to_num(np.abs(given - bounds.value) - bounds.rigorous, nan=np.inf)
    at = np.unravel_index(int(np.argmax(np.where(chosen, beyond, -np.inf))), given.shape)
    low, high, likely_low, likely_high = (
        float(end[at]) for kind in ("rigorous", "probable") for end in bounds.ends(kind)
    )
    value, got, wanted = (float(np.asarray(a)[at]) for a in (bounds.value, given, prepared))
    return Worst([int(n) for n in at], value, got, low, high, likely_low, likely_high, wanted)


def _ulps(given: Array, wanted: Array) -> dict[str, int]:
    """Distances in float32 units in the last place, in powers of two, -> elements."""
    (a, _), (b, _) = ordinals(given.astype(np.float32)), ordinals(wanted.astype(np.float32))
    steps = np.abs(a - b)
    labels = np.where(steps == 0, 0, 2 ** np.ceil(np.log2(np.maximum(steps, 1))))
    counted = Counter(labels.reshape(-1).astype(np.int64).tolist())
    return {str(n): counted[n] for n in sorted(counted)}
