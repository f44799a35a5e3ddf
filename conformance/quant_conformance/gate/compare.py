"""Judges an exported file beside the prepared model that it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from quant_conformance.gate.document import EndToEnd, Layer, Weight
from quant_conformance.gate.expected import Expected
from quant_conformance.gate.judge import Judge, Judged, ordinals, sqnr
from quant_conformance.gate.matching import match, match_floats
from quant_conformance.gate.programs import (
    Program,
    ProgramQuantizer,
    as_prepared,
    converted,
)
from quant_conformance.gate.qparams import differing_qparams, judge_weights, read_values
from quant_conformance.gate.recording import Quantization, Recording
from quant_conformance.gate.regions import Region, Regions
from quant_conformance.gate.sums import Rescaled, rescaled
from quant_conformance.protocol import Array
from quant_reference import QParams, decode
from quant_reference.admissible import Arithmetic

MOVES = frozenset(
    {
        *("identity", "reshape", "transpose", "permute", "expand", "select", "slice", "cat"),
        *("max_pool1d", "max_pool2d", "max_pool3d"),
    }
)
"""Steps that give elements of their inputs and no others."""

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
    def __init__(
        self, recording: Recording, program: Program, arithmetic: Arithmetic, keep: Keep | None
    ) -> None:
        self.recording, self.program, self.keep = recording, program, keep
        self.half = arithmetic.values == "float16"
        self.regions = Regions(recording)
        self.expected = Expected(recording, self.half)
        self.judge = Judge(recording, self.expected, arithmetic)
        self.left_out: dict[str, str] = {}  # a quantizer that changes nothing -> the one before it
        self.feeds = [recording.values[name] for name in recording.inputs]

    def run(self) -> Findings:
        activations = self.regions.activations
        cuts = self.regions.float_cuts()
        whole = self._run_whole(bool(cuts))
        theirs = list(self.program.quantizers)
        pairs = match(
            [self.recording.values[q.result] for q in activations],
            [_approximately(q, whole[q.codes]) for q in theirs],
        )
        partners = {activations[i].result: theirs[j] for i, j in pairs.items()}
        self._prefer_makers(partners)
        self.expected.keep_wide(
            name for name, partner in partners.items() if partner.quantize.scale.dtype == np.float32
        )
        floats = match_floats(
            {name: self.recording.values[name] for name in cuts},
            {name: whole[name] for name in self.program.floats if name in whole},
        )
        replaced = {
            partners[q.result].codes: converted(
                self.expected.codes(q), q.facts.spec.dtype, partners[q.result].dtype
            )
            for q in activations
            if q.result in partners
        }
        replaced |= {file: self.expected.operand(ours) for ours, file in floats.items()}
        computed = self.program.run(self.feeds, self.program.outputs, replaced)
        weights = judge_weights(self.regions.weights, self.expected, self.program.weights)
        self._read_as_the_file(activations, partners)
        layers = []
        for region in self.regions.build(list(floats)):
            layers.append(self._layer(region, partners, floats, computed, replaced))
        matched = {q.codes for q in partners.values()}
        layers += [_surplus(q) for q in theirs if q.codes not in matched]
        return Findings(layers, weights, self._end_to_end(whole, pairs, activations, theirs))

    def _read_as_the_file(
        self, activations: list[Quantization], partners: Mapping[str, ProgramQuantizer]
    ) -> None:
        """Where the file has other qparams, its readers get other values than they should."""
        for quantization in activations:
            partner = partners.get(self._kept(quantization.result))
            spec = quantization.facts.spec
            if partner is None or as_prepared(partner, spec.dtype).dtype != spec.dtype:
                continue
            twin = as_prepared(partner, spec.dtype)
            if differing_qparams(
                replace(twin, quantize=twin.dequantize[0]) if twin.dequantize else twin,
                spec,
                self.expected.qparams(quantization),
            ):
                values = read_values(twin, self.expected.codes(quantization), spec)
                if values is not None:
                    self.expected.misread(quantization, values)

    def _prefer_makers(self, partners: dict[str, ProgramQuantizer]) -> None:
        """Of two quantizers of which one changes nothing, the file may keep either: the first."""
        for region in reversed(self.regions.build([])):
            quantization = region.quantization
            if quantization is None or not self._changes_nothing(region, quantization):
                continue
            for name in region.operands:
                if name not in partners and quantization.result in partners:
                    partners[name] = partners.pop(quantization.result)
            if quantization.result not in partners:
                self.left_out[quantization.result] = region.operands[0]

    def _run_whole(self, with_floats: bool) -> dict[str, Array]:
        wanted = [q.codes for q in self.program.quantizers]
        if with_floats:
            wanted += self.program.floats
        return self.program.run(self.feeds, [*wanted, *self.program.outputs], {})

    def _layer(
        self,
        region: Region,
        partners: Mapping[str, ProgramQuantizer],
        floats: Mapping[str, str],
        computed: Mapping[str, Array],
        replaced: Mapping[str, Array],
    ) -> Layer:
        if region.quantization is None:
            name = floats.get(region.target) or self._output(region.target)
            judged = self.judge.values(region, computed[name])
        else:
            facts = region.quantization.facts
            partner = partners.get(region.quantization.result)
            if partner is None:
                return self._without_partner(region, region.quantization)
            name = partner.codes
            dtype = facts.spec.dtype
            scaling = self._rescaled(region.quantization, partner, partners)
            given = converted(computed[name], partner.dtype, dtype)
            judged = self.judge.codes(
                region,
                given,
                self._as_read(scaling, region) if isinstance(scaling, Rescaled) else None,
            )
            twin, qparams = as_prepared(partner, dtype), self.expected.qparams(region.quantization)
            layer = judged.layer
            if isinstance(scaling, Rescaled):
                right = replace(twin.quantize, scale=qparams.scale.reshape(-1))
                twin = replace(twin, quantize=right)
                layer.detail = f"{layer.detail}; the scales of the sum are quotients".lstrip("; ")
            said = scaling if isinstance(scaling, str) else ""
            said = said or differing_qparams(twin, facts.spec, qparams)
            if said:
                layer.verdict = "wrong"
                layer.detail = "; ".join(filter(None, [said, layer.detail]))
                layer.clauses.append("FQ-1")
        if self.keep is not None and judged.layer.verdict in ("wrong", "unlikely"):
            judged.layer.repro = self.keep(judged, name, {**replaced, name: computed[name]})
        return judged.layer

    def _rescaled(
        self,
        quantization: Quantization,
        partner: ProgramQuantizer,
        partners: Mapping[str, ProgramQuantizer],
    ) -> Rescaled | str | None:
        """What is known of a sum whose scales the converter divided, or None for any other."""
        by_codes = {
            partners[q.result].codes: q for q in self.regions.activations if q.result in partners
        }
        for found in self.program.sums:
            operands = [by_codes.get(name) for name in found.operands]
            first, second = operands
            if found.codes == partner.codes and first is not None and second is not None:
                scales = [q.facts.qparams for q in (first, second, quantization)]
                return rescaled(
                    found, (first, second), (scales[0], scales[1], scales[2]), self.half
                )
        return None

    def _as_read(self, scaling: Rescaled, region: Region) -> Rescaled:
        """The scales by the operands of a region, through quantizers that the file left out."""
        scales = {name: scaling.scales.get(self._kept(name)) for name in region.operands}
        found = {name: scale for name, scale in scales.items() if scale is not None}
        return replace(scaling, scales=found)

    def _kept(self, name: str) -> str:
        while name in self.left_out:
            name = self.left_out[name]
        return name

    def _without_partner(self, region: Region, quantization: Quantization) -> Layer:
        """A quantizer that the file lacks is wrong, unless it could change nothing."""
        spec = quantization.facts.spec
        layer = Layer(region.name, region.operation, ["PLACE-4", "FQ-1"], "wrong", spec.dtype)
        layer.elements = self.recording.values[quantization.source].size
        if self._changes_nothing(region, quantization):
            layer.verdict = "exact"
            layer.detail = "left out of the file: its input has these qparams already"
        else:
            layer.detail = f"the file has no {spec.dtype} quantizer for this tensor"
        return layer

    def _changes_nothing(self, region: Region, quantization: Quantization) -> bool:
        """Whether only moved or chosen elements of equally quantized tensors come in."""
        moves = all(step.op in MOVES for step in region.steps)
        facts = quantization.facts
        sources = [self.regions.quantized.get(name) for name in region.operands]
        return moves and all(
            source is not None
            and source.facts.spec == facts.spec
            and facts.spec.granularity.to_dict()["type"] == "per_tensor"
            and _equal(source.facts.qparams, facts.qparams)
            for source in sources
        )

    def _output(self, target: str) -> str:
        return self.program.outputs[self.recording.outputs.index(target)]

    def _end_to_end(
        self,
        whole: Mapping[str, Array],
        pairs: Mapping[int, int],
        ours: list[Quantization],
        theirs: list[ProgramQuantizer],
    ) -> EndToEnd:
        flipped = total = 0
        for i, j in pairs.items():
            spec = ours[i].facts.spec
            codes = self.expected.codes(ours[i])
            found = ordinals(whole[theirs[j].codes].reshape(codes.shape), spec)
            flipped += int(np.count_nonzero(found != ordinals(codes, spec)))
            total += codes.size
        wanted = [self.recording.values[name] for name in self.recording.outputs]
        given = [
            whole[name].astype(np.float32).reshape(right.shape)
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


def _approximately(quantizer: ProgramQuantizer, codes: Array) -> Array:
    """The values of a file's codes, good enough to tell which tensor they are."""
    readout, shape = quantizer.quantize, [1] * codes.ndim
    scale = np.asarray(readout.scale, np.float64)
    if scale.size > 1:
        shape[readout.axis] = scale.size
    values = decode(codes, quantizer.dtype).astype(np.float64)
    if readout.zero_point is not None:
        values = values - np.broadcast_to(readout.zero_point, scale.shape).reshape(shape)
    values = values * scale.reshape(shape)
    if readout.offset is not None:
        values = values + np.broadcast_to(readout.offset, scale.shape).reshape(shape)
    return values


def _equal(one: QParams, other: QParams) -> bool:
    """Whether two sets of qparams of one number are the same, whatever their rank."""
    pairs = [(one.scale, other.scale), (one.zero_point, other.zero_point)]
    pairs.append((one.minval, other.minval))
    return all(
        (a is None and b is None)
        or (a is not None and b is not None and np.array_equal(a.reshape(-1), b.reshape(-1)))
        for a, b in pairs
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
