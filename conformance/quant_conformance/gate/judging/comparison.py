"""Judges an exported file beside the prepared model that it came from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from quant_conformance.gate.alignment.aligner import Aligner
from quant_conformance.gate.alignment.rescaled_sums import Rescaled
from quant_conformance.gate.alignment.shared_constants import Known, shared
from quant_conformance.gate.alignment.stored_qparams import (
    UNREAD,
    differing_qparams,
    differing_weight,
    judge_weights,
    pair_weights,
)
from quant_conformance.gate.document import FAILING, EndToEnd, Layer, Weight
from quant_conformance.gate.judging.probing import Probing
from quant_conformance.gate.judging.region_verdicts import Judge, Judged
from quant_conformance.gate.judging.self_check import Readings
from quant_conformance.gate.judging.unpaired import Doubts
from quant_conformance.gate.recording.recorder import Quantization, Recording
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Region, Regions
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import Program, ProgramQuantizer, as_prepared, converted
from quant_conformance.runtimes.stored import StoredTensor
from quant_conformance.verdicts.bits import code_ordinals
from quant_conformance.verdicts.noise import sqnr
from quant_reference import dequantize
from quant_reference.admissible import Arithmetic

Keep = Callable[[Judged, str, Mapping[str, Array]], str | None]
"""Saves a reproduction of a failed layer, with what stands in the program; returns its folder."""


@dataclass
class Findings:
    """What a file was found to do.

    Attributes:
        layers: in the order of computation.
        weights: the quantized weights.
        end_to_end: the whole program.
    """

    layers: list[Layer]
    weights: list[Weight]
    end_to_end: EndToEnd


def compare(
    recording: Recording, program: Program, arithmetic: Arithmetic, keep: Keep | None = None
) -> Findings:
    """Judges a file, layer by layer and as a whole.

    Args:
        recording: one run of the prepared model.
        program: the file.
        arithmetic: what it computes in; float16 values mean that it was cast to 16 bits.
        keep: saves reproductions, or None.
    """
    return _Comparison(recording, program, arithmetic, keep).run()


class _Comparison:
    """One run of the file as it is, to learn which tensor is which; then one run cut."""

    def __init__(
        self, recording: Recording, program: Program, arithmetic: Arithmetic, keep: Keep | None
    ) -> None:
        self.recording, self.program, self.keep = recording, program, keep
        self.half = arithmetic.values == "float16"
        self.regions = Regions(recording)
        self.expected = Expected(recording, self.half)
        aligner = Aligner(recording, self.regions, self.expected, program)
        self.whole = aligner.whole
        found = aligner.best()
        self.pairing, self.floats = found.pairing, found.floats
        self.replaced, self.computed = found.replaced, found.computed
        self.misshapen = self.pairing.misshapen
        readings = Readings(recording, list(self.floats))
        self.judge = Judge(recording, self.expected, arithmetic, readings)
        self.other_judge: Judge | None = None
        if self.half and arithmetic.accumulate == "float32":
            narrow = Arithmetic("float16", "float16")
            self.other_judge = Judge(recording, self.expected, narrow, readings)

    def run(self) -> Findings:
        stored = self.program.weights
        absent = [name for name in self.pairing.missing if name not in self.misshapen]
        regions = self.regions.build(list(self.floats), absent)
        pairs = pair_weights(self.regions.weights, self.expected, stored)
        pairs = self._shared(pairs, regions, stored)
        paired = {result: stored[name] for result, name in pairs.items()}
        weights = judge_weights(
            self.regions.weights,
            self.expected,
            paired,
            unread=self.regions.dead_values,
            lost=self._lost_weights(regions),
        )
        self._constants_of_sums(weights, pairs, stored)
        self.pairing.tell(self.expected)
        self._tell_of_shapes()
        at_run_time = self._constants_at_run_time(weights)
        layers = [self._layer(region) for region in regions]
        found: list[tuple[Layer, Region | None]] = [*zip(layers, regions, strict=True)]
        known = {quantizer.codes for quantizer in self.misshapen.values()} | at_run_time
        surplus = [q for q in self.pairing.surplus if q.codes not in known]
        found += [(_surplus(quantizer), None) for quantizer in surplus]
        handed_on = self._handed_on(absent)
        if not handed_on and not any(weight.verdict == "wrong" for weight in weights):
            self._doubts.settle(found)
        self._probe({r.name: layer for layer, r in found if r is not None}, regions)
        layers = [*(layer for layer, _ in found), *handed_on]
        return Findings(layers, weights, self._end_to_end())

    @property
    def _doubts(self) -> Doubts:
        return Doubts(
            self.recording, self.expected, self.judge, self.program, self.whole, self.half
        )

    def _shared(
        self,
        pairs: Mapping[str, str],
        regions: Sequence[Region],
        stored: Mapping[str, StoredTensor],
    ) -> dict[str, str]:
        """Lets equal constants have one of the file, where their layers read it."""
        results = dict[str, str]()
        for region in regions:
            quantization = region.quantization
            if quantization is None:
                results[region.target] = self._name_of(region.target)
                continue
            partner = self.pairing.partners.get(self.pairing.kept(quantization.result))
            if partner is not None:
                results[region.target] = partner.codes
        names = [*self.floats.values(), *(q.codes for q in self.program.quantizers)]
        fixed = {name: self.computed[name] for name in names}
        first = self.regions.first_alike
        alike = {q.result: first[q.result] for q in self.regions.weights}
        known = Known(self.program.operations, results, fixed, stored.keys())
        return shared(pairs, alike, regions, known, self.regions.repeated_weights)

    def _lost_weights(self, regions: Sequence[Region]) -> set[str]:
        """Results of weights' quantizers, of whose layers no result was found in the file."""
        found = set[str]()
        for region in regions:
            quantization = region.quantization
            result = region.target if quantization is None else quantization.result
            if quantization is None or self.pairing.kept(result) in self.pairing.partners:
                found.update(region.operands)
        return {q.result for q in self.regions.weights} - found

    def _constants_of_sums(
        self,
        weights: list[Weight],
        pairs: Mapping[str, str],
        stored: Mapping[str, StoredTensor],
    ) -> None:
        """Leaves the scales of constants that sums with divided scales read to those sums.

        Args:
            weights: the verdicts on the quantized constants, which are changed.
            pairs: result of a quantizer -> name of the constant in the file.
            stored: the constants in the file.
        """
        read = {name for found in self.program.sums for name in found.operands} & stored.keys()
        for index, quantization in enumerate(self.regions.weights):
            right = self.expected.qparams(quantization)
            if not read or right.scale.size != 1:
                continue
            paired = pairs.get(quantization.result)
            # One that others read, too, is in the file a second time, with its own scale.
            for name in read if paired is None or paired not in read else {paired}:
                if stored[name].codes.size != self.expected.codes(quantization).size:
                    continue
                scale = right.scale.reshape(stored[name].scale.shape)
                other = replace(stored[name], scale=scale)
                divided = not differing_weight(quantization, self.expected, other)
                if divided or name == paired:
                    self.pairing.summands.setdefault(name, quantization)
                if divided and name == paired and weights[index].verdict != "exact":
                    told = "with its scale divided as that of the sum"
                    weights[index] = replace(weights[index], verdict="exact", detail=told)
                    self.expected.is_quantized(quantization)

    def _constants_at_run_time(self, weights: list[Weight]) -> set[str]:
        """Codes of constants that the file quantizes when it runs, where it holds no codes of them.

        Args:
            weights: the verdicts on the quantized constants, which are changed.
        """
        found = set[str]()
        for index, quantization in enumerate(self.regions.weights):
            if quantization.result not in self.expected.whole:
                continue
            spec, codes = quantization.facts.spec, self.expected.codes(quantization)
            qparams = self.expected.qparams(quantization)
            for other in self.pairing.surplus:
                given = converted(self.whole[other.codes], other.dtype, spec.dtype)
                said = differing_qparams(as_prepared(other, spec.dtype), spec, qparams)
                if not said and self._may_be_codes_of(quantization, given):
                    told = "quantized when the program runs"
                    weights[index] = replace(weights[index], verdict="exact", detail=told)
                    self.expected.is_quantized(quantization)
                    if self.half:  # the codes may be others than the prepared model's
                        values = dequantize(given.reshape(codes.shape), spec, qparams)
                        self.expected.misread(quantization, values)
                    found.add(other.codes)
                    break
        return found

    def _may_be_codes_of(self, quantization: Quantization, given: Array) -> bool:
        """Whether a constant can have these codes; in 16 bits it is rounded before it gets them."""
        codes, source = self.expected.codes(quantization), quantization.source
        if given.size != codes.size or not self.half:
            return np.array_equal(given.reshape(-1), codes.reshape(-1))
        region = Region(quantization.facts.name, source, quantization, (), (source,))
        return self.judge.codes(region, given).layer.verdict not in FAILING

    def _tell_of_shapes(self) -> None:
        """Lets what is computed from a tensor of another shape be judged by what the file has."""
        for quantization in self.regions.activations:
            found = self.misshapen.get(quantization.result)
            if found is not None:
                spec, qparams = quantization.facts.spec, self.expected.qparams(quantization)
                codes = converted(self.computed[found.codes], found.dtype, spec.dtype)
                if codes.ndim == qparams.scale.ndim and qparams.scale.size == 1:
                    self.expected.misread(quantization, dequantize(codes, spec, qparams))

    def _handed_on(self, absent: Collection[str]) -> list[Layer]:
        """Outputs that are not what the model hands on, such as a quantized tensor or an input.

        What computes such a tensor is judged where it is; here only the way to the output is left.
        """
        layers = []
        fixed = {*self.regions.quantized, *self.floats, *self.recording.inputs} - {*absent}
        for index, name in enumerate(self.recording.outputs):
            if name in fixed:
                region = Region(f"output {index}", name, None, (), (name,))
                given = self.computed[self.program.outputs[index]]
                # A program that was cast may hand on an input as it was given, unrounded.
                if name in self.recording.inputs and self._is(given, name):
                    continue
                judged = self.judge.values(region, given)
                if judged.layer.verdict in FAILING:
                    layers.append(judged.layer)
        return layers

    def _is(self, given: Array, name: str) -> bool:
        wanted = self.recording.values[name]
        return np.array_equal(given.reshape(-1), wanted.reshape(-1), equal_nan=True)

    def _layer(self, region: Region) -> Layer:
        quantization = region.quantization
        if quantization is not None and quantization.result not in self.pairing.partners:
            return self._without_partner(region, quantization)
        name, judged = self._judged(region)
        whole = self.expected.whole & {*region.operands}
        if whole and judged.layer.verdict in FAILING:
            with self.expected.quantized_as_floats(whole):
                _, other = self._judged(region)
            judged = judged if other.layer.verdict in FAILING else other
        if judged.layer.verdict == "wrong" and self._narrow_sums_give(region):
            judged.layer.detail += "; sums in float16 allow it"
        if self.keep is not None and judged.layer.verdict in ("wrong", "unlikely"):
            given = {**self.replaced, name: self.computed[name]}
            judged.layer.repro = self.keep(judged, name, given)
        return judged.layer

    def _probe(self, layers: Mapping[str, Layer], regions: Sequence[Region]) -> None:
        """Judges what passes on the recorded batch on probes, too; changes its verdict."""
        parts = (self.recording, self.program, self.pairing, self.floats, self.expected)
        # Probes make the largest sums there are; how they are rounded the recorded batch shows.
        judge = self.other_judge or self.judge
        for fault in Probing(*parts, judge).faults(regions):
            layer = layers[fault.region.name]
            if layer.verdict in FAILING:
                continue
            layer.verdict, layer.detail = "wrong", fault.text
            layer.wrong = int(np.count_nonzero(fault.wrong))
            if self.keep is not None:
                judged = Judged(
                    layer, fault.region, partial(dict, fault.operands), fault.low, fault.high
                )
                layer.repro = self.keep(judged, fault.name, fault.given)

    def _narrow_sums_give(self, region: Region) -> bool:
        """Whether a wrong result of a 16-bit program is not wrong once sums are in float16, too."""
        if self.other_judge is None:
            return False
        kept, self.judge = self.judge, self.other_judge
        try:
            return self._judged(region)[1].layer.verdict not in ("wrong", "unsupported")
        finally:
            self.judge = kept

    def _judged(self, region: Region) -> tuple[str, Judged]:
        """The name of a region's result in the file, and the verdict on it."""
        if region.quantization is None:
            name = self._name_of(region.target)
            return name, self.judge.values(region, self.computed[name])
        partner = self.pairing.partners[region.quantization.result]
        return partner.codes, self._codes(region, region.quantization, partner)

    def _codes(
        self, region: Region, quantization: Quantization, partner: ProgramQuantizer
    ) -> Judged:
        spec, qparams = quantization.facts.spec, self.expected.qparams(quantization)
        given = converted(self.computed[partner.codes], partner.dtype, spec.dtype)
        twin = as_prepared(partner, spec.dtype)
        scaling = self.pairing.scaling(quantization, region.operands, self.half)
        said = scaling if isinstance(scaling, str) else ""
        checked = scaling if isinstance(scaling, Rescaled) else None
        judged = self.judge.codes(region, given, checked)
        details = [judged.layer.detail]
        if checked is not None:
            # What the sum is quantized by was checked as a quotient of the right scale.
            twin = replace(twin, quantize=replace(twin.quantize, scale=qparams.scale.reshape(-1)))
            details.append("the scales of the sum are quotients")
        said = said or differing_qparams(twin, spec, qparams)
        if said:
            judged.layer.verdict = "wrong"
            judged.layer.clauses.append("FQ-1")
            details.insert(0, said)
        judged.layer.detail = "; ".join(filter(None, details))
        return judged

    def _without_partner(self, region: Region, quantization: Quantization) -> Layer:
        """A quantizer that the file lacks is wrong, unless it could change nothing."""
        spec = quantization.facts.spec
        layer = Layer(region.name, region.operation, ["PLACE-4", "FQ-1"], "wrong", spec.dtype)
        layer.elements = self.recording.values[quantization.source].size
        if quantization.result in self.pairing.left_out:
            layer.verdict = "exact"
            layer.detail = "left out of the file: another quantizer gives the same"
        elif quantization.result in self.regions.dead_values:
            layer.verdict, layer.detail = "exact", UNREAD
        elif quantization.result in self.misshapen:
            shapes = (
                self.misshapen[quantization.result].shape,
                self.recording.values[quantization.source].shape,
            )
            layer.detail = f"shape {shapes[0]} in the file, {shapes[1]} in the prepared model"
        else:
            layer.detail = f"the file has no {spec.dtype} quantizer for this tensor"
        return layer

    def _name_of(self, target: str) -> str:
        """The file's value for a float result."""
        found = self.floats.get(target)
        return found or self.program.outputs[self.recording.outputs.index(target)]

    def _end_to_end(self) -> EndToEnd:
        flipped = total = 0
        for quantization in self.regions.activations:
            partner = self.pairing.partners.get(quantization.result)
            if partner is None:
                continue
            spec, codes = quantization.facts.spec, self.expected.codes(quantization)
            found = converted(self.whole[partner.codes], partner.dtype, spec.dtype)
            different = code_ordinals(found.reshape(codes.shape), spec) != code_ordinals(
                codes, spec
            )
            flipped += int(np.count_nonzero(different))
            total += codes.size
        wanted = [self.recording.values[name] for name in self.recording.outputs]
        given = [
            self.whole[name].astype(np.float32).reshape(right.shape)
            for name, right in zip(self.program.outputs, wanted, strict=True)
        ]
        ratios = [sqnr(a, b) for a, b in zip(given, wanted, strict=True)]
        known = [ratio for ratio in ratios if ratio is not None]
        return EndToEnd(
            min(known) if known else None,
            flipped / total if total else 0.0,
            _top1(given[0], wanted[0]) if len(given) == 1 else None,
            len(given),
        )


def _surplus(quantizer: ProgramQuantizer) -> Layer:
    return Layer(
        quantizer.codes,
        "quantize",
        ["PLACE-4"],
        "wrong",
        quantizer.dtype,
        int(np.prod(quantizer.shape)),
        detail="the file quantizes a tensor that the prepared model does not",
    )


def _top1(given: Array, wanted: Array) -> float | None:
    """Share of rows with the same greatest entry; None for what is no row of scores."""
    if wanted.ndim != 2 or wanted.shape[1] < 2:
        return None
    return float(np.mean(np.argmax(given, 1) == np.argmax(wanted, 1)))
