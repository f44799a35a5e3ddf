"""Runs a file on probes, cut at its quantizers, and says which regions get them wrong.

Two more runs: one in which what reads a quantizer gets probe codes, and one in which what every
quantizer reads is a probe. Only what is outside of the rigorous bound is told: the probable one is
about roundings that are independent, which those of repeated values are not. Where nothing is
known, as behind an overflow, nothing is judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from quant_conformance.gate.alignment.reading import Reading
from quant_conformance.gate.alignment.rescaled_sums import Rescaled
from quant_conformance.gate.alignment.weight_links import varying
from quant_conformance.gate.judging.probe_faults import Fault, fault_of
from quant_conformance.gate.judging.probes import EVERYTHING, Reaches, probe_codes, probe_values
from quant_conformance.gate.recording.recorder import Quantization
from quant_conformance.gate.regions.bounds import bounds_of, wrong_codes, wrong_values
from quant_conformance.gate.regions.expected import Expected, to_half
from quant_conformance.gate.regions.region import Region
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import Program, ProgramQuantizer, converted
from quant_conformance.verdicts.bits import code_ordinals
from quant_reference import QuantError, QuantizationSpec
from quant_reference.admissible import (
    Arithmetic,
    Bounds,
    admissible_codes,
    evaluate,
)

_CLAMPS = ("clip", "clamp", "maximum", "minimum", "relu6", "cast")
"""Kinds of operations that may stand between what a quantizer quantizes and the quantizer."""


class Probing:
    """One file on probes.

    Args:
        program: the file.
        reading: the file beside the recording.
        arithmetic: what the file computes in.
    """

    def __init__(self, program: Program, reading: Reading, arithmetic: Arithmetic) -> None:
        recording = reading.recording
        self._program, self._reading, self._arithmetic = program, reading, arithmetic
        self._recording, self._pairing, self._floats = recording, reading.pairing, reading.floats
        self._expected, self._half = reading.expected, reading.half
        self._reaches = Reaches(recording)
        self._operations = program.operations
        self._inputs = [name for name, (kind, _) in self._operations.items() if kind == "input"]
        self._quantized = {q.result: q for q in recording.quantizations}
        self._unclear = self._of_equal_codes()

    def _of_equal_codes(self) -> set[str]:
        """Results of quantizers whose recorded codes are another's: which is which is not known."""
        seen = dict[tuple[str, bytes], list[str]]()
        for name in self._pairing.partners:
            codes = self._expected.codes(self._quantized[name])
            seen.setdefault((self._spec(name).dtype, codes.tobytes()), []).append(name)
        return {name for names in seen.values() if len(names) > 1 for name in names}

    def faults(self, regions: Sequence[Region]) -> Iterator[Fault]:
        """Those regions that are wrong on probes.

        Args:
            regions: all of them, in the order of computation.
        """
        yield from self._of_codes(regions)
        yield from self._of_values(regions)

    # what reads quantizers

    def _of_codes(self, regions: Sequence[Region]) -> Iterator[Fault]:
        probes = self._codes(regions)
        replaced = {
            partner.codes: converted(probes[name], self._spec(name).dtype, partner.dtype)
            for name, partner in self._pairing.partners.items()
            if name in probes
        }
        fixed = {file: self._expected.operand(ours) for ours, file in self._floats.items()}
        wanted = [partner.codes for partner in self._pairing.partners.values()]
        wanted += [*self._floats.values(), *self._program.outputs]
        feeds = [self._recording.values[name] for name in self._recording.inputs]
        computed = self._program.run(feeds, list(dict.fromkeys(wanted)), {**replaced, **fixed})
        expected = self._expected.with_codes(probes)
        given = {**replaced, **fixed}
        for region in regions:
            if self._is_judged(region, probes):
                try:
                    found = self._on_codes(region, expected, computed, given)
                except QuantError:  # what was asked of the recorded batch, too
                    continue
                if found is not None:
                    yield found

    def _codes(self, regions: Sequence[Region]) -> dict[str, Array]:
        """Probe codes by the quantizer's result; of one that the file leaves out, what follows."""
        probes = dict[str, Array]()
        for turn, region in enumerate(regions):
            quantization = region.quantization
            if quantization is None:
                continue
            name = quantization.result
            shape = self._recording.values[quantization.source].shape
            if name in self._pairing.partners:
                if self._is_sound(quantization):
                    reach = self._reaches.of(region)
                    probes[name] = probe_codes(quantization, shape, reach, turn)
            elif name in self._pairing.left_out:
                codes = self._following(region, quantization, probes)
                if codes is not None:
                    probes[name] = codes
        return probes

    def _following(
        self, region: Region, quantization: Quantization, probes: Mapping[str, Array]
    ) -> Array | None:
        twin = self._pairing.kept(quantization.result)
        if twin in probes and self._quantized[twin].source == quantization.source:
            return probes[twin]
        if region.lacking or not all(
            n in probes or n not in self._quantized for n in region.operands
        ):
            return None
        expected = Expected(self._recording, half=False).with_codes(probes)
        operands = {n: expected.bounds(n) for n in region.operands}
        bounds = evaluate(region.steps, operands)[region.target] if region.steps else None
        if bounds is None or not bounds.is_exact:
            return None
        facts = quantization.facts
        return admissible_codes(bounds, facts.spec, facts.qparams).low

    def _is_judged(self, region: Region, probes: Mapping[str, Array]) -> bool:
        quantized = [name for name in region.operands if name in self._quantized]
        active = [name for name in quantized if name in probes]
        constant = {*quantized} - {q.result for q in self._activations(quantized)}
        known = all(name in probes or name in constant for name in quantized)
        sound = not any(name in self._expected.reads.otherwise for name in quantized)
        return bool(active) and known and sound and bool(region.steps) and not region.lacking

    def _activations(self, names: Sequence[str]) -> list[Quantization]:
        known = {*self._pairing.partners, *self._pairing.left_out, *self._pairing.missing}
        return [self._quantized[name] for name in names if name in known]

    def _on_codes(
        self,
        region: Region,
        expected: Expected,
        computed: Mapping[str, Array],
        given: Mapping[str, Array],
    ) -> Fault | None:
        quantization = region.quantization
        operands = {name: expected.operand(name) for name in region.operands}
        if quantization is None:
            name = self._reading.name_of(region.target)
            if name not in computed:
                return None
            bounds = bounds_of(region, expected, self._arithmetic)
            shape = self._recording.values[region.target].shape
            got = computed[name].reshape(shape).astype(np.float32)
            wrong = wrong_values(got, bounds, self._arithmetic)
            wrong &= np.isfinite(bounds.value)
            given = {**given, name: computed[name]}
            found = (got, *bounds.ends("rigorous"))
            return fault_of(region, name, given, operands, found, wrong)
        partner = self._pairing.partners.get(quantization.result)
        if partner is None or partner.codes not in computed or not self._is_sound(quantization):
            return None
        scaling = self._reading.scaling(quantization, region.operands)
        if isinstance(scaling, str):
            return None
        scales = scaling.scales if isinstance(scaling, Rescaled) else {}
        bounds = bounds_of(region, expected, self._arithmetic, scales)
        return self._on_bounds(
            region, quantization, partner, bounds, computed, given, operands, scaling
        )

    def _on_bounds(
        self,
        region: Region,
        quantization: Quantization,
        partner: ProgramQuantizer,
        bounds: Bounds,
        computed: Mapping[str, Array],
        given: Mapping[str, Array],
        operands: Mapping[str, Array],
        scaling: Rescaled | None,
    ) -> Fault | None:
        spec, qparams = quantization.facts.spec, self._expected.qparams(quantization)
        if scaling is not None:
            qparams = replace(qparams, scale=np.full_like(qparams.scale, scaling.scale))
        admissible = admissible_codes(bounds, spec, qparams, self._arithmetic)
        got = converted(computed[partner.codes], partner.dtype, spec.dtype).reshape(bounds.shape)
        wrong = wrong_codes(got, admissible)
        wrong &= np.isfinite(bounds.value)
        found = (got, admissible.low, admissible.high)
        given = {**given, partner.codes: computed[partner.codes]}
        order = partial(code_ordinals, spec=spec)
        return fault_of(region, partner.codes, given, operands, found, wrong, order)

    # quantizers

    def _of_values(self, regions: Sequence[Region]) -> Iterator[Fault]:
        sources, probes = self._sources(regions), dict[str, Array]()
        for region in regions:
            quantization = region.quantization
            source = None if quantization is None else sources.get(quantization.result)
            if quantization is not None and source is not None and source not in probes:
                shape = self._recording.values[quantization.source].shape
                reach = self._reaches.of(region) if region.steps else EVERYTHING
                values = probe_values(quantization, shape, reach)
                probes[source] = to_half(values) if self._half else values
        inputs = {name: index for index, name in enumerate(self._inputs)}
        feeds = [self._recording.values[name] for name in self._recording.inputs]
        for name in [n for n in probes if n in inputs]:
            feeds[inputs[name]] = probes[name].reshape(feeds[inputs[name]].shape)
        replaced = {n: a for n, a in probes.items() if n not in inputs}
        wanted = [self._pairing.partners[name].codes for name in sources]
        if not wanted:
            return
        computed = self._program.run(feeds, list(dict.fromkeys(wanted)), replaced)
        for region in regions:
            quantization = region.quantization
            if quantization is None or quantization.result not in sources:
                continue
            if self._pairing.partners[quantization.result].codes not in computed:
                continue
            shape = self._recording.values[quantization.source].shape
            values = probes[sources[quantization.result]].reshape(shape)
            alone = Region(region.name, region.target, quantization, (), (region.target,))
            found = self._on_bounds(
                alone,
                quantization,
                self._pairing.partners[quantization.result],
                Bounds.exact(values),
                computed,
                replaced,
                {region.target: values},
                None,
            )
            if found is not None:
                yield replace(found, region=region)

    def _sources(self, regions: Sequence[Region]) -> dict[str, str]:
        """Quantizer's result -> the value of the file that is its input, before any clamp."""
        varies = varying(self._operations)
        scaled = {found.codes for found in self._program.sums}
        found = dict[str, str]()
        for region in regions:
            quantization = region.quantization
            if quantization is None or not self._is_sound(quantization):
                continue
            partner = self._pairing.partners.get(quantization.result)
            if partner is None or partner.codes in scaled:
                continue
            name = self._before_clamps(partner.source, varies)
            size = self._recording.values[quantization.source].size
            if name in self._program.floats and np.prod(self._program.floats[name]) == size:
                found[quantization.result] = name
            elif name in self._inputs:
                recorded = self._recording.inputs[self._inputs.index(name)]
                values = self._recording.values[recorded]
                if values.dtype.kind == "f" and values.size == size:
                    found[quantization.result] = name
        return found

    def _before_clamps(self, name: str, varies: Collection[str]) -> str:
        """What a quantizer quantizes, before it is kept inside of the codes in use."""
        while name in self._operations:
            kind, operands = self._operations[name]
            read = [operand for operand in operands if operand in varies]
            if not kind.endswith(_CLAMPS) or len(read) != 1:
                break
            if read[0] not in self._program.floats and read[0] not in self._inputs:
                break
            name = read[0]
        return name

    def _is_sound(self, quantization: Quantization) -> bool:
        """Whether it is known in the file, and probes can be made of its scales."""
        if quantization.result in self._unclear:
            return False
        scale = self._expected.qparams(quantization).scale
        return bool(np.isfinite(scale).all() and (scale > 0).all())

    def _spec(self, name: str) -> QuantizationSpec:
        return self._quantized[name].facts.spec
