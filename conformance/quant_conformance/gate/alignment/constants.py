"""Which constants of a file are the prepared model's quantized weights, and how it holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from quant_conformance.gate.alignment.aligner import Alignment
from quant_conformance.gate.alignment.shared_constants import Known, shared
from quant_conformance.gate.alignment.stored_qparams import (
    differing_qparams,
    differing_weight,
    pair_weights,
)
from quant_conformance.gate.alignment.thresholds import Thresholds
from quant_conformance.gate.recording.recorder import Quantization
from quant_conformance.gate.regions.bounds import bounds_of
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Region, Regions
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import Program, ProgramQuantizer, as_prepared, converted
from quant_conformance.runtimes.stored import StoredTensor
from quant_reference.admissible import VERDICTS, Arithmetic, admissible_codes, judge_codes

_PASSING = VERDICTS.index("admissible")


@dataclass(frozen=True)
class Constants:
    """The quantized weights of a prepared model in a file; a weight is named by its result.

    Attributes:
        names: weight -> constant in the file.
        differences: weight -> how its constant differs, where it does.
        divided: weights whose constant has its scale divided as that of the sum that reads it.
        summands: constant in the file that a sum with divided scales reads -> the weight.
        at_run_time: weights that the file quantizes when it runs -> the codes and their quantizer.
        lost: weights of whose layers no result was found in the file.
    """

    names: Mapping[str, str]
    differences: Mapping[str, str] = field(default_factory=dict)
    divided: frozenset[str] = frozenset()
    summands: Mapping[str, Quantization] = field(default_factory=dict)
    at_run_time: Mapping[str, ProgramQuantizer] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()


def paired_constants(
    regions: Regions,
    cut: Sequence[Region],
    expected: Expected,
    program: Program,
    found: Alignment,
    limits: Thresholds,
) -> Mapping[str, str]:
    """Finds the constant of each weight: by its values, equal ones by what the file computes.

    Args:
        regions: those of the prepared model.
        cut: the regions that are judged.
        expected: what weights have to be.
        program: the file.
        found: its tensors.
        limits: the thresholds.
    """
    pairs = pair_weights(regions.weights, expected, program.weights, limits.weight_order)
    results = dict[str, str]()
    for region in cut:
        quantization = region.quantization
        if quantization is None:
            results[region.target] = name_of(region.target, found.floats, program, regions)
            continue
        partner = found.pairing.partners.get(found.pairing.kept(quantization.result))
        if partner is not None:
            results[region.target] = partner.codes
    names = [*found.floats.values(), *(q.codes for q in program.quantizers)]
    fixed = {name: found.computed[name] for name in names if name in found.computed}
    first = regions.first_alike
    alike = {q.result: first[q.result] for q in regions.weights}
    known = Known(program.operations, results, fixed, program.weights.keys())
    return shared(pairs, alike, cut, known, regions.repeated_weights)


def name_of(target: str, floats: Mapping[str, str], program: Program, regions: Regions) -> str:
    """The file's value for a float result."""
    return floats.get(target) or program.outputs[regions.outputs.index(target)]


def read_constants(
    regions: Regions,
    cut: Sequence[Region],
    expected: Expected,
    program: Program,
    found: Alignment,
    names: Mapping[str, str],
) -> Constants:
    """Compares each weight's constant with what it has to be, but for those quantized at run time.

    Args:
        regions: those of the prepared model.
        cut: the regions that are judged.
        expected: what weights have to be, with scales as wide as the file has them.
        program: the file.
        found: its tensors.
        names: weight -> constant in the file.
    """
    stored = program.weights
    differences = dict[str, str]()
    for quantization in regions.weights:
        name = names.get(quantization.result)
        if name is not None:
            said = differing_weight(quantization, expected, stored[name])
            if said:
                differences[quantization.result] = said
    summands, divided = _of_sums(regions, expected, program, names, differences)
    return Constants(
        names, differences, divided, summands, lost=frozenset(_lost(regions, cut, found))
    )


def _lost(regions: Regions, cut: Sequence[Region], found: Alignment) -> set[str]:
    """Weights of whose layers no result was found in the file."""
    read = set[str]()
    for region in cut:
        quantization = region.quantization
        result = region.target if quantization is None else quantization.result
        if quantization is None or found.pairing.kept(result) in found.pairing.partners:
            read.update(region.operands)
    return {q.result for q in regions.weights} - read


def _of_sums(
    regions: Regions,
    expected: Expected,
    program: Program,
    names: Mapping[str, str],
    differences: Mapping[str, str],
) -> tuple[dict[str, Quantization], frozenset[str]]:
    """The constants that sums with divided scales read, whose scales are left to those sums."""
    stored: Mapping[str, StoredTensor] = program.weights
    read = {name for found in program.sums for name in found.operands} & stored.keys()
    summands, divided = dict[str, Quantization](), set[str]()
    for quantization in regions.weights:
        right = expected.qparams(quantization)
        if not read or right.scale.size != 1:
            continue
        paired = names.get(quantization.result)
        # One that others read, too, is in the file a second time, with its own scale.
        for name in read if paired is None or paired not in read else {paired}:
            if stored[name].codes.size != expected.codes(quantization).size:
                continue
            scale = right.scale.reshape(stored[name].scale.shape)
            same = not differing_weight(quantization, expected, replace(stored[name], scale=scale))
            if same or name == paired:
                summands.setdefault(name, quantization)
            if same and name == paired and quantization.result in differences:
                divided.add(quantization.result)
    return summands, frozenset(divided)


def quantized_at_run_time(
    whole: Sequence[Quantization],
    expected: Expected,
    found: Alignment,
    computed: Mapping[str, Array],
    arithmetic: Arithmetic,
) -> dict[str, ProgramQuantizer]:
    """Finds weights of which the file holds no codes among what it quantizes when it runs.

    Args:
        whole: the weights that the file does not hold quantized.
        expected: what they have to be.
        found: the file's tensors.
        computed: what the file computes when it runs as it is.
        arithmetic: what it computes in.
    """
    at_run_time = dict[str, ProgramQuantizer]()
    for quantization in whole:
        spec, qparams = quantization.facts.spec, expected.qparams(quantization)
        for other in found.pairing.surplus:
            if other.codes not in computed:
                continue
            given = converted(computed[other.codes], other.dtype, spec.dtype)
            said = differing_qparams(as_prepared(other, spec.dtype), spec, qparams)
            if not said and _may_be_codes_of(quantization, given, expected, arithmetic):
                at_run_time[quantization.result] = other
                break
    return at_run_time


def _may_be_codes_of(
    quantization: Quantization, given: Array, expected: Expected, arithmetic: Arithmetic
) -> bool:
    """Whether a constant can have these codes; in 16 bits it is rounded before it gets them."""
    codes, source = expected.codes(quantization), quantization.source
    if given.size != codes.size or not expected.half:
        return np.array_equal(given.reshape(-1), codes.reshape(-1))
    region = Region(quantization.facts.name, source, quantization, (), (source,))
    bounds, qparams = bounds_of(region, expected, arithmetic), expected.qparams(quantization)
    admissible = admissible_codes(bounds, quantization.facts.spec, qparams, arithmetic)
    return bool((judge_codes(given.reshape(codes.shape), admissible) == _PASSING).all())
