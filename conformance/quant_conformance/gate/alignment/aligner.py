"""Finds the tensors of a prepared model in a file, whatever is wrong with the file.

A file that runs as it is tells little behind its first mistake. So what was found is fixed to the
right values, the file runs again, and what it computes from them is compared anew, until nothing
changes; in a correct file that is one run uncut and one cut. Where mistakes remain there may be
two accounts of them, such as wrong qparams or another tensor: the one that needs fewer mistakes
is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from quant_conformance.gate.alignment.matching import (
    BY_ORDER,
    BY_VALUES,
    difference,
    match,
    match_floats,
    match_order,
)
from quant_conformance.gate.alignment.pairing import Pairing, alike
from quant_conformance.gate.alignment.thresholds import THRESHOLDS, Thresholds
from quant_conformance.gate.alignment.weight_links import linked_results
from quant_conformance.gate.recording.recorder import Quantization, Recording
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Regions
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import Program, ProgramQuantizer
from quant_reference import decode


@dataclass(frozen=True)
class Alignment:
    """What of the prepared model is what in the file.

    Attributes:
        pairing: the quantizers.
        floats: float results of the prepared model -> those of the file.
        replaced: what was fixed in the last run.
        computed: what the file computed in it.
        mistakes: tensors that are missing, or do not hold what they should; outputs count in parts.
        rest: how far outputs, quantized tensors and results of layers that are known by their
            weights are off, however many mistakes that makes.
    """

    pairing: Pairing
    floats: Mapping[str, str]
    replaced: Mapping[str, Array]
    computed: Mapping[str, Array]
    mistakes: float
    rest: Mapping[str, float]


class Aligner:
    """Finds the tensors of one recording in one file.

    Args:
        recording: one run of the prepared model.
        regions: its regions.
        expected: the reference's answers to it.
        program: the file.
        limits: the thresholds.

    Attributes:
        whole: what the file computes when it runs uncut.
    """

    def __init__(
        self,
        recording: Recording,
        regions: Regions,
        expected: Expected,
        program: Program,
        limits: Thresholds = THRESHOLDS,
    ) -> None:
        self._limits = limits
        self._recording, self._regions = recording, regions
        self._expected, self._program = expected, program
        self._feeds = [recording.values[name] for name in recording.inputs]
        self._cuts = {name: recording.values[name] for name in regions.float_cuts()}
        self._quantizers = list(program.quantizers)
        self._wanted = [q.codes for q in self._quantizers]
        self._wanted += [*(program.floats if self._cuts else ()), *program.outputs]
        sums = {found.codes for found in program.sums}
        self._alike = np.array(
            [
                [t.codes in sums or alike(q, t, limits.like) for t in self._quantizers]
                for q in self._ours
            ],
            bool,
        )
        redundant = Pairing(recording, regions, program, {}).redundant(regions.build([]))
        self._spare = [q.result in redundant for q in self._ours]
        self.whole = program.run(self._feeds, list(dict.fromkeys(self._wanted)), {})

    def best(self) -> Alignment:
        """The account of the file that needs the fewest mistakes."""
        found = self._settled(self.whole, BY_VALUES, {})
        for trust in (BY_ORDER, self._limits.by_both, self._limits.by_qparams):
            if found.mistakes >= 1 and self._quantizers:
                other = self._settled(self.whole, trust, {})
                found = min(found, other, key=lambda a: a.mistakes)
        if found.mistakes >= 1 + self._limits.noise:  # a single one hides nothing behind it
            found = self._with_linked(found)
        for name in self._cuts:
            if name not in found.floats and found.mistakes >= 1 + self._limits.noise:
                found = self._with_hidden(found, name)
        return found

    @cached_property
    def _links(self) -> Mapping[str, str]:
        return linked_results(self._regions, self._expected, self._program, self._limits)

    @property
    def _ours(self) -> list[Quantization]:
        return self._regions.activations

    def _settled(
        self, values: Mapping[str, Array], trust: float, given: Mapping[str, str]
    ) -> Alignment:
        """Matches and runs until what is found no longer changes."""
        last: tuple[dict[str, ProgramQuantizer], dict[str, str]] | None = None
        for _ in range(self._limits.rounds):
            found = self._matched(values, trust), self._matched_floats(values, given)
            if last is not None and _names(found) == _names(last):
                break
            last = found
            pairing = Pairing(self._recording, self._regions, self._program, found[0], self._limits)
            replaced = pairing.fixed_codes(self._expected)
            replaced |= {file: self._expected.operand(ours) for ours, file in found[1].items()}
            values = self._program.run(self._feeds, list(dict.fromkeys(self._wanted)), replaced)
        mistakes = self._mistakes(pairing, found[1], values)
        rest = self._rest(pairing, found[1], values) if mistakes >= 1 else {}
        return Alignment(pairing, found[1], replaced, values, mistakes, rest)

    def _with_hidden(self, found: Alignment, name: str) -> Alignment:
        """Tries what in the file may be a float result that a mistake changed."""
        wanted = self._recording.values[name].astype(np.float64).reshape(-1)
        taken = set(found.floats.values())
        gaps = {
            other: difference(wanted, found.computed[other].astype(np.float64).reshape(-1))
            for other, shape in self._program.floats.items()
            if other not in taken and other in found.computed and int(np.prod(shape)) == wanted.size
        }
        for other in sorted(gaps, key=lambda other: gaps[other])[: self._limits.trials]:
            tried = self._settled(found.computed, BY_VALUES, {**found.floats, name: other})
            beside = name not in self._links and any(n in self._links for n in found.floats)
            if tried.mistakes < found.mistakes or (
                beside and _tells_more(tried, found, self._limits)
            ):
                found = tried
        return found

    def _with_linked(self, found: Alignment) -> Alignment:
        """Tries the results of layers where the file computes them from those layers' weights.

        Two wrong layers in a row are told as two by it: of the values of the first nothing is left
        in the file that one would know it by, but its weight is there, to the bit.
        """
        taken = set(found.floats.values())
        linked = {
            name: where
            for name, where in self._links.items()
            if name not in found.floats and where not in taken
        }
        if not linked:
            return found
        tried = self._settled(found.computed, BY_VALUES, {**found.floats, **linked})
        return tried if _tells_more(tried, found, self._limits) else found

    def _matched(self, values: Mapping[str, Array], trust: float) -> dict[str, ProgramQuantizer]:
        if trust == BY_ORDER:
            sizes = [self._recording.values[q.result].size for q in self._ours]
            pairs = match_order(sizes, [int(np.prod(q.shape)) for q in self._quantizers])
            return self._named(pairs)
        pairs = match(
            [self._recording.values[q.result] for q in self._ours],
            [_approximately(q, values.get(q.codes)) for q in self._quantizers],
            self._alike,
            trust,
            self._spare,
            self._limits,
        )
        return self._named(pairs)

    def _named(self, pairs: Mapping[int, int]) -> dict[str, ProgramQuantizer]:
        return {self._ours[i].result: self._quantizers[j] for i, j in sorted(pairs.items())}

    def _matched_floats(
        self, values: Mapping[str, Array], given: Mapping[str, str]
    ) -> dict[str, str]:
        theirs = {name: values[name] for name in self._program.floats if name in values}
        ours = {name: array for name, array in self._cuts.items() if name not in given}
        found = {**given, **match_floats(ours, theirs, given.values(), self._limits)}
        return {name: found[name] for name in self._cuts if name in found}

    def _mistakes(
        self, pairing: Pairing, floats: Mapping[str, str], values: Mapping[str, Array]
    ) -> float:
        """How many tensors are missing, surplus, or not what they should be."""
        count = float(len(pairing.missing) + len(pairing.surplus))
        told = set(pairing.missing)
        indices = {q.codes: j for j, q in enumerate(self._quantizers)}
        for i, quantization in enumerate(self._ours):
            partner = pairing.partners.get(quantization.result)
            if partner is not None:
                known = partner.codes in values
                given = _approximately(partner, values.get(partner.codes))
                alike = bool(self._alike[i, indices[partner.codes]])
                if not alike or (
                    known and self._is_off(given, quantization.result, self._limits.clean)
                ):
                    told.add(quantization.result)
                    count += 1
        for name in self._cuts:
            count += name not in floats or self._is_off(
                values[floats[name]], name, self._limits.far_float
            )
        for output, name in zip(self._program.outputs, self._recording.outputs, strict=False):
            if name not in told and output in values:
                count += min(1.0, self._gap(values[output], name) / self._limits.far_float)
        return count

    def _rest(
        self, pairing: Pairing, floats: Mapping[str, str], values: Mapping[str, Array]
    ) -> dict[str, float]:
        where = {
            q: _approximately(p, values[p.codes])
            for q, p in pairing.partners.items()
            if p.codes in values
        }
        for output, name in zip(self._program.outputs, self._recording.outputs, strict=False):
            if output in values:
                where.setdefault(name, values[output])
        known = {name for name in floats if self._links.get(name) == floats[name]}
        where |= {name: values[floats[name]] for name in known}
        return {name: self._gap(given, name) for name, given in where.items()}

    def _is_off(self, given: Array, name: str, far: float) -> bool:
        return self._gap(given, name) > far

    def _gap(self, given: Array, name: str) -> float:
        x, y = (
            np.asarray(a, np.float64).reshape(-1) for a in (given, self._recording.values[name])
        )
        return difference(x, y) if x.size == y.size else 1.0


def _tells_more(one: Alignment, other: Alignment, limits: Thresholds) -> bool:
    """Whether an account that needs no more mistakes leaves less that is off behind them.

    Where nothing is off behind them they are none: a converter need not keep every result.
    """
    before = sum(other.rest.values())
    after = sum(one.rest.get(name, gap) for name, gap in other.rest.items())
    return (
        before > limits.far_float
        and one.mistakes <= other.mistakes
        and after < limits.nearer * before
    )


def _names(found: tuple[Mapping[str, ProgramQuantizer], Mapping[str, str]]) -> object:
    return {name: q.codes for name, q in found[0].items()}, found[1]


def _approximately(quantizer: ProgramQuantizer, codes: Array | None) -> Array:
    """The values of a file's codes, good enough to tell which tensor they are; NaN if unknown."""
    if codes is None:
        return np.full(quantizer.shape, np.nan)
    readout, shape = quantizer.quantize, [1] * codes.ndim
    scale = np.asarray(readout.scale, np.float64)
    if scale.size > 1:
        shape[readout.axis] = scale.size
    values: Array = decode(codes, quantizer.dtype).astype(np.float64)
    if readout.zero_point is not None:
        values = values - np.broadcast_to(readout.zero_point, scale.shape).reshape(shape)
    values = values * scale.reshape(shape)
    if readout.offset is not None:
        values = values + np.broadcast_to(readout.offset, scale.shape).reshape(shape)
    return values
