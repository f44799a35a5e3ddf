"""Which quantizers of a prepared model a file has, which it leaves out, and how it reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from quant_conformance.gate.alignment.thresholds import THRESHOLDS, Thresholds
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


class Pairing:
    """The quantizers of a prepared model beside those of a file.

    Args:
        recording: one run of the prepared model.
        regions: its regions.
        program: the file.
        partners: result of a quantizer -> the file's quantizer that is it, where there is one.
        limits: the thresholds.

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
        limits: Thresholds = THRESHOLDS,
    ) -> None:
        self._limits = limits
        self._values = recording.values
        self._first = regions.first_alike
        self._activations = regions.activations
        self._quantized = regions.quantized
        self._dead_values = regions.dead_values
        self._constants = regions.constants
        self._program = program
        self.partners = dict(partners)
        self.left_out: dict[str, str] = {}
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
                if math.prod(other.shape) != size and alike(quantization, other, self._limits.like):
                    found[quantization.result] = other
                    left.remove(other)
                    break
        return found

    def redundant(self, regions: Iterable[Region]) -> set[str]:
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

    def _settle(self, regions: Iterable[Region]) -> None:
        """Of two quantizers that do the same, a file may keep either; the first is preferred.

        The first may be a constant's, which is no activation: the file has it among its weights.
        """
        activations = {q.result for q in self._activations}
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
                for operand in (name for name in moved if name in activations):
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


def alike(ours: Quantization, theirs: ProgramQuantizer, like: float = THRESHOLDS.like) -> bool:
    """Whether two quantizers have like scales and equal zero points.

    Args:
        ours: the prepared model's.
        theirs: the file's.
        like: how far from 1 the ratio of two scales may be.
    """
    spec, qparams = ours.facts.spec, ours.facts.qparams
    twin = as_prepared(theirs, spec.dtype)
    scale, given = (
        np.asarray(a, np.float64).reshape(-1) for a in (qparams.scale, twin.quantize.scale)
    )
    if twin.dtype != spec.dtype or scale.size != given.size:
        return False
    if not np.all(np.abs(given - scale) <= like * np.abs(scale)):
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
