"""Whether a "wrong" rests on more than on how tensors were paired.

Tensors are known by values and qparams, and a pair may be a mistake. What was called wrong stays so
where the file itself says that the right tensor was judged:

- by its operations, the tensor is computed from just the tensors that the region begins at, or a
  region behind it, or an output of the model, reads it as the model does and passes;
- a quantizer is missing where what is computed behind it leaves what may be computed behind one;
- a quantizer is surplus where it is on the way to a tensor of the model;
- run as it is, the file gives an output that no right file can give;
- a weight is wrong where the layer that reads it reads a constant that holds other values, or none;
  see :mod:`.weight_verdicts`.

Everything else is "unpaired": it fails all the same, and says what was looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from quant_conformance.gate.alignment.paths import Path, Paths
from quant_conformance.gate.alignment.reading import Reading
from quant_conformance.gate.alignment.rescaled_sums import Rescaled
from quant_conformance.gate.alignment.stored_qparams import differing_qparams
from quant_conformance.gate.document import FAILING, Layer
from quant_conformance.gate.recording.recorder import Quantization
from quant_conformance.gate.regions.bounds import (
    behind_quantizer,
    bounds_of,
    wrong_codes,
    wrong_values,
)
from quant_conformance.gate.regions.propagation import Propagation
from quant_conformance.gate.regions.region import Region
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import Program, ProgramQuantizer, as_prepared, converted
from quant_reference import QuantError
from quant_reference.admissible import Arithmetic, Bounds, admissible_codes

_CLAMPS = ("clip", "clamp", "maximum", "minimum", "relu6")


class Evidence:
    """What a file says of the verdicts on it.

    Args:
        program: the file.
        reading: the file beside the recording.
        arithmetic: what it computes in.
        layers: the verdicts on the regions of the reading, in their order.
        paths: what the file computes its tensors from.
    """

    def __init__(
        self,
        program: Program,
        reading: Reading,
        arithmetic: Arithmetic,
        layers: Sequence[Layer],
        paths: Paths,
    ) -> None:
        self._program, self._reading, self._arithmetic = program, reading, arithmetic
        self._layers = dict(zip([r.name for r in reading.cut], layers, strict=False))
        self._paths = paths

    @cached_property
    def regions(self) -> dict[str, Layer]:
        """The verdicts on the regions by name: "unpaired" where only the pairing says "wrong"."""
        found = dict[str, Layer]()
        for region in self._reading.cut:  # in the order of computation
            layer = self._layers[region.name]
            said = self._doubt(region, found) if layer.verdict == "wrong" else ""
            if said:
                said = f"looked for a result of {region.operation}; {said}"
                layer = _unpaired(layer, said)
            found[region.name] = layer
        doubted = found != self._layers
        left = any(layer.verdict == "wrong" for layer in found.values())
        return self._layers if doubted and not left and self._is_wrong_as_a_whole() else found

    def _is_wrong_as_a_whole(self) -> bool:
        """Whether the file, run as it is, gives what no right file can, whatever is paired."""
        recording, reading = self._reading.recording, self._reading
        if reading.half:
            return False
        cuts = reading.regions.float_cuts()
        reached = Propagation(recording, reading.regions.build(cuts)).outputs()
        for output, name in zip(reading.outputs, recording.outputs, strict=True):
            reach, given = reached[name], reading.whole.get(output)
            if isinstance(reach, str) or given is None:
                continue
            values = given.astype(np.float64).reshape(reach.undecided.shape)
            inside = (values >= reach.values.low) & (values <= reach.values.high)
            known = ~reach.undecided & np.isfinite(recording.values[name])
            if (known & ~inside).any():
                return True
        return False

    def _doubt(self, region: Region, before: Mapping[str, Layer]) -> str:
        """Why a wrong result may be one of the pairing alone; empty where it is not."""
        quantization, result = region.quantization, self._paths.result(region)
        if result is None:
            missing = quantization is not None and self._misses(quantization)
            return "" if missing else "nothing computed behind it shows that it is missing"
        if self._is_unknown_sum(region):
            return "the operands of a sum with scales of its own were not found"
        whole = self._whole_regions[region.name]
        if self._absent_behind(whole) and not self._leaves(whole):
            return "it is what follows from a quantizer that was not found"
        kept = [self._reading.pairing.kept(name) for name in region.operands]
        operands = [name for name in kept if name in self._made_by]
        if any(before[self._made_by[name]].verdict == "unpaired" for name in operands):
            return "what it is computed from was not found for certain"
        if not self._is_found(region, result):
            return "by its operations the tensor it was paired with is another one"
        return ""

    @cached_property
    def _made_by(self) -> dict[str, str]:
        """Result of a region -> the region's name, of those that are judged."""
        return {_result_of(region): region.name for region in self._reading.cut}

    def settled_surplus(self, layer: Layer) -> Layer:
        """The same of a quantizer that only the file has, by whose codes the verdict is named."""
        if layer.verdict != "wrong":
            return layer
        for region in self._reading.cut:
            path = self._path(region)
            if path is None or layer.name not in path.between:
                continue
            if self.regions[region.name].verdict != "unpaired" and (
                not self._absent_behind(self._whole_regions[region.name])
                or self.regions[region.name].verdict == "wrong"
            ):
                return layer
        for output in self._reading.handed_on:
            if layer.name in self._paths.to(output).between:
                return layer
        return _unpaired(layer, "it is on the way to no tensor of the prepared model")

    def _path(self, region: Region) -> Path | None:
        return self._all_paths.get(region.name)

    @cached_property
    def _all_paths(self) -> dict[str, Path]:
        results = {region.name: self._paths.result(region) for region in self._reading.cut}
        return {name: self._paths.to(result) for name, result in results.items() if result}

    def _is_found(self, region: Region, result: str) -> bool:
        """Whether the file's operations, or what passes behind it, say that this is the tensor."""
        alone = self._paths.ours(self._paths.to(result)) == self._paths.wanted(region)
        if result in self._reading.handed_on or (alone and not self._fits_another(region, result)):
            return True
        recording, target = self._reading.recording, _result_of(region)
        for output, name in zip(self._reading.handed_on, recording.outputs, strict=False):
            if name == target and result in self._paths.to(output).ends:
                return True
        for other in self._reading.cut:
            behind = self._path(other)
            passes = self._layers[other.name].verdict not in FAILING
            reads = {self._reading.pairing.kept(name) for name in other.operands}
            if passes and target in reads and behind and result in behind.ends:
                return True
        return False

    def _fits_another(self, region: Region, result: str) -> bool:
        """Whether another tensor that was called wrong is what the region should give."""
        quantization = region.quantization
        if quantization is None:
            return False
        spec, qparams = quantization.facts.spec, self._reading.expected.qparams(quantization)
        for other in self._reading.cut:
            wrong = self._layers[other.name].verdict == "wrong"
            if not wrong or other.quantization is None or other.name == region.name:
                continue
            partner = self._reading.pairing.partners.get(other.quantization.result)
            if partner is None or partner.codes == result:
                continue
            if not differing_qparams(as_prepared(partner, spec.dtype), spec, qparams) and (
                not self._leaves(region, partner)
            ):
                return True
        return False

    def _is_unknown_sum(self, region: Region) -> bool:
        """Whether a result is a sum's whose scales nobody can check, its operands being unknown."""
        quantization = region.quantization
        if quantization is None or quantization.result not in self._reading.pairing.partners:
            return False
        codes = self._reading.pairing.partners[quantization.result].codes
        divided = any(found.codes == codes for found in self._reading.sums)
        return divided and self._reading.scaling(quantization, region.operands) is None

    # quantizers that the file seems to lack

    @cached_property
    def _whole_regions(self) -> dict[str, Region]:
        """The regions with every quantizer of the model, found or not, by name."""
        regions = self._reading.regions.build(list(self._reading.floats))
        by_result = {_result_of(region): region for region in regions}
        return {r.name: by_result[_result_of(r)] for r in self._reading.cut}

    def _absent_behind(self, region: Region) -> set[str]:
        return {*region.operands} & {*self._reading.absent}

    @cached_property
    def _behind_absent(self) -> dict[str, Bounds]:
        """Result of a quantizer that was not found -> what it may be, where that is known."""
        known, absent = dict[str, Bounds](), {*self._reading.absent}
        for region in self._whole_regions.values():
            quantization = region.quantization
            if quantization is None or quantization.result not in absent:
                continue
            before = self._bounds(region, known)
            if before is not None:
                expected = self._reading.expected
                known[quantization.result] = behind_quantizer(before, quantization, expected)
        return known

    def _bounds(self, region: Region, known: Mapping[str, Bounds]) -> Bounds | None:
        if region.lacking or not self._absent_behind(region) <= known.keys():
            return None
        try:
            return bounds_of(region, self._reading.expected, self._arithmetic, given=known)
        except (QuantError, NotImplementedError):
            return None

    def _misses(self, quantization: Quantization) -> bool:
        """Whether what the file computes behind a quantizer leaves what may be computed so."""
        name, reading = quantization.result, self._reading
        bounds = self._behind_absent.get(name)
        if bounds is None:
            return False
        for output, ours in zip(reading.outputs, reading.recording.outputs, strict=True):
            given = reading.computed.get(output)
            if ours == name and given is not None and self._are_wrong(given, bounds):
                return True
        behind = [r for r in self._whole_regions.values() if name in r.operands]
        return any(self._leaves(region) for region in behind)

    def _leaves(self, region: Region, partner: ProgramQuantizer | None = None) -> bool:
        """Whether the file's result of a region is shown not to follow from its operands.

        Args:
            region: with every quantizer of the model.
            partner: the file's quantizer behind it, where that is not the one it was paired with.
        """
        reading, quantization = self._reading, region.quantization
        bounds = self._bounds(region, self._behind_absent)
        if bounds is None or (partner is None and self._is_unknown_sum(region)):
            return False
        if quantization is None:
            got = reading.computed.get(reading.name_of(region.target))
            return got is not None and self._are_wrong(got, bounds)
        asked, partner = partner, partner or reading.pairing.partners.get(quantization.result)
        codes = None if partner is None else reading.computed.get(partner.codes)
        if partner is None or codes is None or codes.size != np.asarray(bounds.value).size:
            return asked is not None
        spec, qparams = quantization.facts.spec, reading.expected.qparams(quantization)
        scaling = reading.scaling(quantization, region.operands) if asked is None else None
        if isinstance(scaling, Rescaled):
            bounds = bounds_of(
                region, reading.expected, self._arithmetic, scaling.scales, self._behind_absent
            )
            qparams = replace(qparams, scale=np.full_like(qparams.scale, scaling.scale))
        got = converted(codes, partner.dtype, spec.dtype).reshape(bounds.shape)
        admissible = admissible_codes(bounds, spec, qparams, self._arithmetic)
        if wrong_codes(got, admissible).any():
            return True
        source = partner.source  # before it is quantized it shows more
        kind = reading.operations.get(source, ("", ()))[0]
        if asked or scaling or source not in self._program.floats or kind.endswith(_CLAMPS):
            return False
        feeds = [reading.recording.values[n] for n in reading.recording.inputs]
        found = self._program.run(feeds, [source], reading.replaced).get(source)
        return found is not None and self._are_wrong(found, bounds)

    def _are_wrong(self, got: Array, bounds: Bounds) -> bool:
        if got.size != np.asarray(bounds.value).size:
            return True
        values = got.astype(np.float32).reshape(bounds.shape)
        return bool(wrong_values(values, bounds, self._arithmetic).any())


def _unpaired(layer: Layer, said: str) -> Layer:
    detail = f"{said}; as it was paired: {layer.detail}"
    return replace(layer, verdict="unpaired", detail=detail)


def _result_of(region: Region) -> str:
    return region.target if region.quantization is None else region.quantization.result
