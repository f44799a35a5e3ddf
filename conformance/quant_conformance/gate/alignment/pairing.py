"""Which quantizers of a prepared model a file has, which it leaves out, and how it reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from quant_conformance.gate.alignment.rescaled_sums import Rescaled, rescaled
from quant_conformance.gate.alignment.stored_qparams import differing_qparams, read_values
from quant_conformance.gate.recording.quantizers import QuantizerFacts
from quant_conformance.gate.recording.recorder import Quantization, Recording
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Region, Regions
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import Program, ProgramQuantizer, as_prepared, converted
from quant_reference import QParams
from quant_reference.admissible import Step

MOVES = frozenset(
    {
        *("identity", "reshape", "transpose", "permute", "expand", "select", "slice", "cat"),
        *("max_pool1d", "max_pool2d", "max_pool3d", "amax", "amin"),
        *("index", "gather", "flip", "sort"),
    }
)
"""Steps that give elements of their inputs and no others."""


MEANS = frozenset({"mean", "avg_pool2d", "adaptive_avg_pool2d"})
"""Steps that give elements of their inputs where they average over one."""


_LIKE = 2.0**-10
"""Scales whose ratio is this close to 1 are alike: rounded to float16 they may be that far off."""


class Pairing:
    """The quantizers of a prepared model beside those of a file.

    Args:
        recording: one run of the prepared model.
        regions: its regions.
        program: the file.
        partners: result of a quantizer -> the file's quantizer that is it, where there is one.

    Attributes:
        partners: result of a quantizer -> the file's quantizer that is it.
        left_out: result of a quantizer that the file needs not have -> the one that stands for it.
    """

    def __init__(
        self,
        recording: Recording,
        regions: Regions,
        program: Program,
        partners: Mapping[str, ProgramQuantizer],
    ) -> None:
        self._values = recording.values
        self._first = regions.first_alike
        self._activations = regions.activations
        self._quantized = regions.quantized
        self._dead_values = regions.dead_values
        self._constants = regions.constants
        self._program = program
        self.partners = dict(partners)
        self.left_out: dict[str, str] = {}
        self.summands: dict[str, Quantization] = {}
        """Name of a stored constant that a sum with divided scales reads -> its quantizer."""
        self._settle(regions.build([]))

    @property
    def missing(self) -> list[str]:
        """Results of the quantizers that the file should have and does not."""
        found = {*self.partners, *self.left_out, *self._dead_values}
        return [q.result for q in self._activations if q.result not in found]

    @property
    def surplus(self) -> list[ProgramQuantizer]:
        """Quantizers of the file that the prepared model lacks."""
        matched = {q.codes for q in self.partners.values()}
        return [q for q in self._program.quantizers if q.codes not in matched]

    @property
    def misshapen(self) -> dict[str, ProgramQuantizer]:
        """Quantizers that are missing -> those of the file that are like them, on another shape."""
        found, left = dict[str, ProgramQuantizer](), self.surplus
        missing = {*self.missing}
        for quantization in self._activations:
            if quantization.result not in missing:
                continue
            size = self._values[quantization.result].size
            for other in left:
                if math.prod(other.shape) != size and alike(quantization, other):
                    found[quantization.result] = other
                    left.remove(other)
                    break
        return found

    def repeats(self, regions: Iterable[Region]) -> set[str]:
        """Results of quantizers that change nothing, or do again what an earlier one does.

        Args:
            regions: all of them, without float cuts.
        """
        found, seen = set[str](), list[Quantization]()
        for quantization in self._activations:
            if any(self._do_the_same(q, quantization) for q in seen):
                found.add(quantization.result)
            seen.append(quantization)
        for region in regions:
            quantized = region.quantization
            if quantized is not None and self._changes_nothing(region, quantized):
                found.add(quantized.result)
        return found

    def fixed_codes(self, expected: Expected) -> dict[str, Array]:
        """The prepared model's codes by their names in the file, as the file holds them."""
        return {
            self.partners[q.result].codes: converted(
                expected.codes(q), q.facts.spec.dtype, self.partners[q.result].dtype
            )
            for q in self._activations
            if q.result in self.partners
        }

    def kept(self, name: str) -> str:
        """The quantizer that stands for one in the file: itself if the file has it."""
        while name in self.left_out:
            name = self.left_out[name]
        return name

    def tell(self, expected: Expected) -> None:
        """Tells what the file reads otherwise than it should: float32 scales, other qparams."""
        expected.keep_wide(
            name for name, q in self.partners.items() if q.quantize.scale.dtype == np.float32
        )
        for quantization in self._activations:
            partner = self.partners.get(self.kept(quantization.result))
            spec = quantization.facts.spec
            if partner is None or as_prepared(partner, spec.dtype).dtype != spec.dtype:
                continue
            twin = as_prepared(partner, spec.dtype)
            if not twin.dequantize:
                continue
            reader = replace(twin, quantize=twin.dequantize[0])
            if differing_qparams(reader, spec, expected.qparams(quantization)):
                values = read_values(twin, expected.codes(quantization), spec)
                if values is not None:
                    expected.misread(quantization, values)
        self._tell_of_sums(expected)

    def _tell_of_sums(self, expected: Expected) -> None:
        """Tells of sums that read by a zero point that is wrong, but the quantizer's own.

        That is told where the quantizer is judged; the sum is held to what it reads.
        """
        known = [q for q in self._activations if q.result in self.partners]
        by_codes = {self.partners[q.result].codes: q for q in known}
        for found in self._program.sums:
            for codes, zero_point in zip(found.operands, found.zero_points, strict=True):
                quantization = by_codes.get(codes)
                if quantization is None:
                    continue
                partner, right = self.partners[quantization.result], quantization.facts
                twin = as_prepared(partner, right.spec.dtype).quantize.zero_point
                own, wanted = partner.quantize.zero_point, right.qparams.zero_point
                if own is None or twin is None or wanted is None or int(own) != zero_point:
                    continue
                if int(twin) != int(wanted.reshape(-1)[0]):
                    expected.count_from(quantization, int(twin))

    def scaling(
        self, quantization: Quantization, operands: Iterable[str], half: bool
    ) -> Rescaled | str | None:
        """What a converter made of the scales of a sum: checked, or what is wrong with them.

        Args:
            quantization: the quantizer behind the sum.
            operands: what its region reads.
            half: whether the program holds scales in float16.

        Returns:
            None for whatever is no such sum.
        """
        codes = self.partners[quantization.result].codes
        paired = [q for q in self._activations if q.result in self.partners]
        by_codes = self.summands | {self.partners[q.result].codes: q for q in paired}
        for found in self._program.sums:
            first, second = (by_codes.get(name) for name in found.operands)
            if found.codes != codes or first is None or second is None:
                continue
            one, two, result = (q.facts.qparams for q in (first, second, quantization))
            checked = rescaled(found, (first, second), (one, two, result), half)
            if isinstance(checked, str):
                return checked
            by_first = {self._first.get(n, n): scale for n, scale in checked.scales.items()}
            firsts = {name: self._first.get(self.kept(name), self.kept(name)) for name in operands}
            known = {n: by_first[first] for n, first in firsts.items() if first in by_first}
            return replace(checked, scales=known)
        return None

    def _settle(self, regions: Iterable[Region]) -> None:
        """Of two quantizers that do the same, a file may keep either; the first is preferred."""
        for region in reversed(list(regions)):
            quantization = region.quantization
            if quantization is None:
                continue
            name = quantization.result
            twin = None if name in self.partners else self._twin(quantization)
            if twin is not None:
                self.left_out[name] = twin
            elif self._changes_nothing(region, quantization):
                moved = self._moved(region)
                for operand in moved:
                    found = operand not in self.partners and name in self.partners
                    if found and self._in_one_order(operand, name):
                        self.partners[operand] = self.partners.pop(name)
                if name not in self.partners:
                    self.left_out[name] = moved[0]

    def _in_one_order(self, one: str, other: str) -> bool:
        """Whether two tensors, of whatever shapes, hold the same elements in the same order.

        What lies between them may have changed the shape; where it moved elements, codes of the
        one are not codes of the other.
        """
        x, y = (self._values[name].reshape(-1) for name in (one, other))
        return np.array_equal(x, y, equal_nan=True)

    def _changes_nothing(self, region: Region, quantization: Quantization) -> bool:
        """Whether only moved or chosen elements of equally quantized tensors come in."""
        facts = quantization.facts
        sources = [self._quantized.get(name) for name in self._moved(region)]
        return (
            bool(sources)
            and not region.lacking
            and all(
                step.op in MOVES or self._is_of_single_elements(step) or self._ones(step)
                for step in region.steps
            )
            and facts.spec.granularity.to_dict()["type"] == "per_tensor"
            and all(s is not None and _same(s.facts, facts) for s in sources)
        )

    def _moved(self, region: Region) -> list[str]:
        """What a region reads, but for the ones that it multiplies by."""
        ones = {name for step in region.steps for name in self._ones(step)}
        return [name for name in region.operands if name not in ones]

    def _ones(self, step: Step) -> list[str]:
        """The constant ones that a tensor is multiplied by, as a norm does that never learned.

        Converters leave such a product out.
        """
        result = self._values.get(step.output)
        if step.op not in ("mul", "div") or result is None:
            return []
        *first, second = (str(name) for name in step.inputs)
        for one, other in ((second, first[0]), (first[0], second)):
            changed = other not in self._values or self._values[other].shape != result.shape
            if one in self._constants and not changed and np.all(self._values[one] == 1):
                return [one] if step.op == "mul" or one == second else []
        return []

    def _is_of_single_elements(self, step: Step) -> bool:
        """Whether a mean has one element for each of its results."""
        source, result = (self._values.get(str(n)) for n in (step.inputs[0], step.output))
        return (
            step.op in MEANS
            and source is not None
            and result is not None
            and source.size == result.size
        )

    def _twin(self, quantization: Quantization) -> str | None:
        """Another quantizer that does the same to the same tensor, and that the file has."""
        for other in self._activations:
            if other.result in self.partners and self._do_the_same(other, quantization):
                return other.result
        return None

    def _do_the_same(self, one: Quantization, other: Quantization) -> bool:
        sources = [self._first.get(q.source, q.source) for q in (one, other)]
        return sources[0] == sources[1] and _same(one.facts, other.facts)


def alike(ours: Quantization, theirs: ProgramQuantizer) -> bool:
    """Whether two quantizers have like scales and equal zero points."""
    spec, qparams = ours.facts.spec, ours.facts.qparams
    twin = as_prepared(theirs, spec.dtype)
    scale, given = (
        np.asarray(a, np.float64).reshape(-1) for a in (qparams.scale, twin.quantize.scale)
    )
    if twin.dtype != spec.dtype or scale.size != given.size:
        return False
    if not np.all(np.abs(given - scale) <= _LIKE * np.abs(scale)):
        return False
    wanted, zero_point = qparams.zero_point, twin.quantize.zero_point
    if wanted is None or zero_point is None:
        return True
    return bool(np.all(np.asarray(zero_point).reshape(-1) == wanted.reshape(-1)))


def _same(one: QuantizerFacts, other: QuantizerFacts) -> bool:
    return one.spec == other.spec and _equal(one.qparams, other.qparams)


def _equal(one: QParams, other: QParams) -> bool:
    """Whether two sets of qparams of one number are the same, whatever their rank."""
    pairs = (
        (one.scale, other.scale),
        (one.zero_point, other.zero_point),
        (one.minval, other.minval),
    )
    return all(
        (a is None and b is None)
        or (a is not None and b is not None and np.array_equal(a.reshape(-1), b.reshape(-1)))
        for a, b in pairs
    )
