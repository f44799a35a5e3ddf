"""By which qparams a file reads quantized tensors, where they are not the right ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from quant_conformance.gate.alignment.constants import Constants
from quant_conformance.gate.alignment.pairing import Pairing
from quant_conformance.gate.alignment.stored_qparams import differing_qparams, read_values
from quant_conformance.gate.recording.recorder import Quantization
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Regions
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import Program, ProgramQuantizer, as_prepared, converted
from quant_reference import dequantize


def wide_scales(pairing: Pairing, names: Mapping[str, str], program: Program) -> frozenset[str]:
    """Results of the quantizers whose scale is float32 in the file."""
    stored = program.weights
    found = {n for n, q in pairing.partners.items() if q.quantize.scale.dtype == np.float32}
    return frozenset(found | {n for n, c in names.items() if stored[c].scale.dtype == np.float32})


def missing_weights(regions: Regions, names: Mapping[str, str]) -> list[Quantization]:
    """The weights that the file should hold quantized, and does not."""
    dead = regions.dead_values
    return [q for q in regions.weights if q.result not in names and q.result not in dead]


def weight_values(
    regions: Regions,
    expected: Expected,
    program: Program,
    constants: Constants,
    computed: Mapping[str, Array],
) -> dict[str, Array]:
    """What readers get in the place of weights that are not held as they should be.

    Args:
        regions: those of the prepared model.
        expected: what weights have to be.
        program: the file.
        constants: its constants.
        computed: what the file computes when it runs as it is.
    """
    found = dict[str, Array]()
    missing = {q.result for q in missing_weights(regions, constants.names)}
    for quantization in regions.weights:
        name, codes = quantization.result, expected.codes(quantization)
        other = constants.at_run_time.get(name)
        if other is not None:
            if expected.half:  # the codes may be others than the prepared model's
                spec = quantization.facts.spec
                given = converted(computed[other.codes], other.dtype, spec.dtype)
                qparams = expected.qparams(quantization)
                found[name] = dequantize(given.reshape(codes.shape), spec, qparams)
        elif name in missing:
            found[name] = expected.operand(quantization.source)
        elif name in constants.differences and name not in constants.divided:
            stored = program.weights[constants.names[name]]
            found[name] = stored.dequantized().reshape(codes.shape)
    return found


def activation_values(regions: Regions, expected: Expected, pairing: Pairing) -> dict[str, Array]:
    """What readers get in the place of activations that are dequantized by other qparams."""
    found = dict[str, Array]()
    for quantization in regions.activations:
        partner = pairing.partners.get(pairing.kept(quantization.result))
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
                found[quantization.result] = values
    return found


def misshapen_values(
    regions: Regions,
    expected: Expected,
    misshapen: Mapping[str, ProgramQuantizer],
    computed: Mapping[str, Array],
) -> dict[str, Array]:
    """What readers get of tensors that have another shape in the file: what it computes there."""
    found = dict[str, Array]()
    for quantization in regions.activations:
        other = misshapen.get(quantization.result)
        if other is not None and other.codes in computed:
            spec, qparams = quantization.facts.spec, expected.qparams(quantization)
            codes = converted(computed[other.codes], other.dtype, spec.dtype)
            if codes.ndim == qparams.scale.ndim and qparams.scale.size == 1:
                found[quantization.result] = dequantize(codes, spec, qparams)
    return found


def zero_points_of_sums(regions: Regions, pairing: Pairing, program: Program) -> dict[str, int]:
    """The zero points of sums that read by one that is wrong, but the quantizer's own.

    That is told where the quantizer is judged; the sum is held to what it reads.
    """
    known = [q for q in regions.activations if q.result in pairing.partners]
    by_codes = {pairing.partners[q.result].codes: q for q in known}
    zero_points = dict[str, int]()
    for found in program.sums:
        for codes, zero_point in zip(found.operands, found.zero_points, strict=True):
            quantization = by_codes.get(codes)
            if quantization is None:
                continue
            partner, right = pairing.partners[quantization.result], quantization.facts
            twin = as_prepared(partner, right.spec.dtype).quantize.zero_point
            own, wanted = partner.quantize.zero_point, right.qparams.zero_point
            if own is None or twin is None or wanted is None or int(own) != zero_point:
                continue
            if int(twin) != int(wanted.reshape(-1)[0]):
                zero_points[quantization.result] = int(twin)
    return zero_points
