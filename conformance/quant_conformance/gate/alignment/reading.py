"""Reads a file beside a recording: which of its tensors is which, and by what it reads them.

A reading is made once and does not change; verdicts follow from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from quant_conformance.gate.alignment.aligner import Aligner
from quant_conformance.gate.alignment.constants import (
    Constants,
    paired_constants,
    quantized_at_run_time,
    read_constants,
)
from quant_conformance.gate.alignment.file_reads import (
    activation_values,
    misshapen_values,
    missing_weights,
    weight_values,
    wide_scales,
    zero_points_of_sums,
)
from quant_conformance.gate.alignment.pairing import Pairing
from quant_conformance.gate.alignment.rescaled_sums import Rescaled, rescaled
from quant_conformance.gate.alignment.thresholds import THRESHOLDS, Thresholds
from quant_conformance.gate.recording.recorder import Quantization, Recording
from quant_conformance.gate.regions.expected import Expected, FileReads
from quant_conformance.gate.regions.region import Region, Regions
from quant_conformance.gate.regions.self_check import SelfCheck
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import Program, ProgramQuantizer, RescaledSum
from quant_conformance.runtimes.stored import StoredTensor
from quant_reference.admissible import Arithmetic


@dataclass(frozen=True)
class Reading:
    """A file beside a recording.

    Attributes:
        recording: one run of the prepared model.
        regions: its regions, however they are cut.
        expected: what the file has to compute, given what it reads otherwise.
        pairing: the quantizers of both.
        floats: float results of the prepared model -> those of the file.
        constants: the weights of both.
        misshapen: result of a quantizer that is missing -> the file's that is like it, on another
            shape.
        cut: the regions that are judged, in the order of computation.
        quantizers: those of the file.
        sums: the file's sums with divided scales.
        outputs: the file's outputs, in order.
        handed_on: names of the values that are the outputs.
        operations: the file's, result -> kind and operands.
        stored: the quantized constants of the file.
        whole: what the file computes when it runs as it is.
        replaced: what was fixed when it ran cut.
        computed: what it computed then.
        lacking: operations that what runs the file lacks; what follows from them is not computed.
        limits: the thresholds that it was read by.
    """

    recording: Recording
    regions: Regions
    expected: Expected
    pairing: Pairing
    floats: Mapping[str, str]
    constants: Constants
    misshapen: Mapping[str, ProgramQuantizer]
    cut: tuple[Region, ...]
    quantizers: tuple[ProgramQuantizer, ...]
    sums: tuple[RescaledSum, ...]
    outputs: tuple[str, ...]
    handed_on: tuple[str, ...]
    operations: Mapping[str, tuple[str, tuple[str, ...]]]
    stored: Mapping[str, StoredTensor]
    whole: Mapping[str, Array]
    replaced: Mapping[str, Array]
    computed: Mapping[str, Array]
    lacking: tuple[str, ...]
    limits: Thresholds

    @property
    def half(self) -> bool:
        """Whether the program computes in 16 bits."""
        return self.expected.half

    @property
    def absent(self) -> list[str]:
        """Results of quantizers of which the file has nothing, not even on another shape."""
        return [name for name in self.pairing.missing if name not in self.misshapen]

    @property
    def surplus(self) -> list[ProgramQuantizer]:
        """Quantizers of the file that are nothing of the prepared model."""
        known = {q.codes for q in self.misshapen.values()}
        known |= {q.codes for q in self.constants.at_run_time.values()}
        return [q for q in self.pairing.surplus if q.codes not in known]

    @cached_property
    def self_check(self) -> SelfCheck:
        """The regions held to the prepared model itself."""
        return SelfCheck(self.recording, list(self.floats))

    @property
    def not_computed(self) -> str:
        """Why a tensor of the file is not known, for people."""
        return f"not computed: the evaluator lacks {', '.join(self.lacking)}"

    def name_of(self, target: str) -> str:
        """The file's value for a float result."""
        return self.floats.get(target) or self.outputs[self.recording.outputs.index(target)]

    def scaling(self, quantization: Quantization, operands: Iterable[str]) -> Rescaled | str | None:
        """What a converter made of the scales of a sum: checked, or what is wrong with them.

        Args:
            quantization: the quantizer behind the sum.
            operands: what its region reads.

        Returns:
            None for whatever is no such sum.
        """
        partners = self.pairing.partners
        codes, kept = partners[quantization.result].codes, self.pairing.kept
        paired = [q for q in self.regions.activations if q.result in partners]
        by_codes = {**self.constants.summands} | {partners[q.result].codes: q for q in paired}
        first_alike = self.regions.first_alike
        for found in self.sums:
            first, second = (by_codes.get(name) for name in found.operands)
            if found.codes != codes or first is None or second is None:
                continue
            one, two, result = (q.facts.qparams for q in (first, second, quantization))
            checked = rescaled(found, (first, second), (one, two, result), self.half)
            if isinstance(checked, str):
                return checked
            by_first = {first_alike.get(n, n): scale for n, scale in checked.scales.items()}
            firsts = {name: first_alike.get(kept(name), kept(name)) for name in operands}
            known = {n: by_first[first] for n, first in firsts.items() if first in by_first}
            return replace(checked, scales=known)
        return None


def read(
    program: Program,
    recording: Recording,
    arithmetic: Arithmetic,
    limits: Thresholds = THRESHOLDS,
) -> Reading:
    """Finds the tensors of a recording in a file, and what it reads otherwise than it should.

    The file runs as it is, to learn which tensor is which, and then cut.

    Args:
        program: the file.
        recording: one run of the prepared model.
        arithmetic: what the file computes in; float16 values mean that it was cast to 16 bits.
        limits: the thresholds that decide which tensor is which.
    """
    regions, half = Regions(recording), arithmetic.values == "float16"
    plain = Expected(recording, half)
    aligner = Aligner(recording, regions, plain, program, limits)
    found, whole = aligner.best(), aligner.whole
    pairing, misshapen = found.pairing, found.pairing.misshapen
    absent = [name for name in pairing.missing if name not in misshapen]
    cut = regions.build(list(found.floats), absent)
    names = paired_constants(regions, cut, plain, program, found, limits)
    wide = FileReads(wide=wide_scales(pairing, names, program))
    expected = plain.with_reads(wide)
    constants = read_constants(regions, cut, expected, program, found, names)
    missing = missing_weights(regions, names)
    constants = replace(
        constants,
        at_run_time=quantized_at_run_time(missing, expected, found, whole, arithmetic),
    )
    values = {
        **weight_values(regions, expected, program, constants, whole),
        **activation_values(regions, expected, pairing),
        **misshapen_values(regions, expected, misshapen, found.computed),
    }
    reads = replace(
        wide,
        values=values,
        zero_points=zero_points_of_sums(regions, pairing, program),
        whole=frozenset({q.result for q in missing} - constants.at_run_time.keys()),
    )
    return Reading(
        recording,
        regions,
        expected.with_reads(reads),
        pairing,
        found.floats,
        constants,
        misshapen,
        tuple(cut),
        tuple(program.quantizers),
        tuple(program.sums),
        tuple(program.outputs),
        tuple(program.handed_on),
        program.operations,
        program.weights,
        whole,
        found.replaced,
        found.computed,
        tuple(program.lacking),
        limits,
    )
