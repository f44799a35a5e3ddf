"""Verdicts on the tensors of a file as it was read: pure functions of a reading."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quant_conformance.gate.alignment.reading import Reading
from quant_conformance.gate.alignment.rescaled_sums import Rescaled
from quant_conformance.gate.alignment.stored_qparams import differing_qparams
from quant_conformance.gate.document import FAILING, Layer
from quant_conformance.gate.judging.region_verdicts import Judge, Judged
from quant_conformance.gate.judging.weight_verdicts import DEAD_VALUE
from quant_conformance.gate.recording.recorder import Quantization
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Region
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import ProgramQuantizer, as_prepared, converted
from quant_reference.admissible import Arithmetic


def judge(region: Region, expected: Expected, reading: Reading, arithmetic: Arithmetic) -> Judged:
    """The verdict on one region of a file.

    Args:
        region: one of those that the file is cut into.
        expected: what it is computed from.
        reading: the file.
        arithmetic: what the file computes in.
    """
    judges = Judge(expected, arithmetic, reading.self_check)
    quantization = region.quantization
    if quantization is None:
        name = reading.name_of(region.target)
        if name not in reading.computed:
            return _not_computed(region, reading)
        return replace(judges.values(region, reading.computed[name]), result=name)
    partner = reading.pairing.partners.get(quantization.result)
    if partner is None:
        return Judged(_without_partner(region, quantization, reading), region, dict)
    if partner.codes not in reading.computed:
        return _not_computed(region, reading)
    return replace(_codes(region, quantization, partner, judges, reading), result=partner.codes)


def judge_held_as_read(region: Region, reading: Reading, arithmetic: Arithmetic) -> Judged:
    """The verdict on one region, whatever a weight that is no quantized constant is held as.

    Args:
        region: one of those that the file is cut into.
        reading: the file.
        arithmetic: what the file computes in.
    """
    expected = reading.expected
    judged = judge(region, expected, reading, arithmetic)
    whole = expected.reads.whole & {*region.operands}
    if whole and judged.layer.verdict in FAILING:
        other = judge(region, expected.quantized_as_floats(whole), reading, arithmetic)
        judged = judged if other.layer.verdict in FAILING else other
    return judged


def _not_computed(region: Region, reading: Reading) -> Judged:
    """A tensor behind an operation that what runs the file lacks: nothing is known of it."""
    quantization = region.quantization
    dtype = "" if quantization is None else quantization.facts.spec.dtype
    layer = Layer(region.name, region.operation, [], "unsupported", dtype)
    layer.elements = reading.recording.values[region.target].size
    layer.detail = reading.not_computed
    return Judged(layer, region, dict)


def surplus_layer(quantizer: ProgramQuantizer, reading: Reading) -> Layer:
    """The verdict on a quantizer that only the file has."""
    layer = Layer(
        quantizer.codes,
        "quantize",
        ["PLACE-4"],
        "wrong",
        quantizer.dtype,
        int(np.prod(quantizer.shape)),
        detail="the file quantizes a tensor that the prepared model does not",
    )
    if quantizer.codes not in reading.computed:  # it may be one of the prepared model's
        layer.verdict, layer.detail = "unsupported", reading.not_computed
    return layer


def handed_on(reading: Reading, arithmetic: Arithmetic) -> list[Layer]:
    """Outputs that are not what the model hands on, such as a quantized tensor or an input.

    What computes such a tensor is judged where it is; here only the way to the output is left.

    Args:
        reading: the file.
        arithmetic: what it computes in.
    """
    layers, recording = [], reading.recording
    judges = Judge(reading.expected, arithmetic, reading.self_check)
    fixed = {*reading.regions.quantized, *reading.floats, *recording.inputs} - {*reading.absent}
    for index, name in enumerate(recording.outputs):
        if name in fixed:
            region = Region(f"output {index}", name, None, (), (name,))
            given = reading.computed.get(reading.outputs[index])
            if given is None:
                layers.append(_not_computed(region, reading).layer)
                continue
            # A program that was cast may hand on an input as it was given, unrounded.
            if name in recording.inputs and _is(given, recording.values[name]):
                continue
            judged = judges.values(region, given)
            if judged.layer.verdict in FAILING:
                layers.append(judged.layer)
    return layers


def _is(given: Array, wanted: Array) -> bool:
    return np.array_equal(given.reshape(-1), wanted.reshape(-1), equal_nan=True)


def _codes(
    region: Region,
    quantization: Quantization,
    partner: ProgramQuantizer,
    judges: Judge,
    reading: Reading,
) -> Judged:
    spec, qparams = quantization.facts.spec, judges.expected.qparams(quantization)
    given = converted(reading.computed[partner.codes], partner.dtype, spec.dtype)
    twin = as_prepared(partner, spec.dtype)
    scaling = reading.scaling(quantization, region.operands)
    said = scaling if isinstance(scaling, str) else ""
    checked = scaling if isinstance(scaling, Rescaled) else None
    judged = judges.codes(region, given, checked)
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


def _without_partner(region: Region, quantization: Quantization, reading: Reading) -> Layer:
    """A quantizer that the file lacks is wrong, unless it could change nothing."""
    spec, name = quantization.facts.spec, quantization.result
    shape = reading.recording.values[quantization.source].shape
    layer = Layer(region.name, region.operation, ["PLACE-4", "FQ-1"], "wrong", spec.dtype)
    layer.elements = int(np.prod(shape))
    if name in reading.pairing.left_out:
        layer.verdict = "exact"
        layer.detail = "left out of the file: another quantizer gives the same"
    elif name in reading.regions.dead_values:
        layer.verdict, layer.detail = "exact", DEAD_VALUE
    elif name in reading.misshapen:
        other = reading.misshapen[name].shape
        layer.detail = f"shape {other} in the file, {shape} in the prepared model"
    elif any(quantizer.codes not in reading.computed for quantizer in reading.surplus):
        layer.verdict, layer.detail = "unsupported", reading.not_computed
    else:
        layer.detail = f"the file has no {spec.dtype} quantizer for this tensor"
    return layer
