"""Judges an exported file beside the prepared model that it came from.

The file is read once (which tensor is which); every verdict follows from that reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from quant_conformance.gate.alignment.paths import Paths
from quant_conformance.gate.alignment.reading import Reading, read
from quant_conformance.gate.alignment.thresholds import THRESHOLDS, Thresholds
from quant_conformance.gate.document import FAILING, EndToEnd, Layer, Weight
from quant_conformance.gate.judging.end_to_end import end_to_end
from quant_conformance.gate.judging.evidence import Evidence
from quant_conformance.gate.judging.file_verdicts import (
    handed_on,
    judge_held_as_read,
    surplus_layer,
)
from quant_conformance.gate.judging.probing import Probing
from quant_conformance.gate.judging.region_verdicts import Judge, Judged
from quant_conformance.gate.judging.unpaired import Unpaired
from quant_conformance.gate.judging.weight_verdicts import (
    judge_weight,
    with_evidence,
    with_folded,
)
from quant_conformance.gate.recording.recorder import Recording
from quant_conformance.gate.regions.region import Region
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import Program
from quant_reference.admissible import Arithmetic

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
    recording: Recording,
    program: Program,
    arithmetic: Arithmetic,
    keep: Keep | None = None,
    limits: Thresholds = THRESHOLDS,
) -> Findings:
    """Judges a file, layer by layer and as a whole.

    Args:
        recording: one run of the prepared model.
        program: the file.
        arithmetic: what it computes in; float16 values mean that it was cast to 16 bits.
        keep: saves reproductions, or None.
        limits: the thresholds that decide which tensor is which.
    """
    reading = read(program, recording, arithmetic, limits)
    expected, dead = reading.expected, reading.regions.dead_values
    weights = [
        judge_weight(q, expected.codes(q), reading.constants, dead=q.result in dead)
        for q in reading.regions.weights
    ]
    found: list[tuple[Layer, Region | None]] = [
        (_layer(region, reading, arithmetic, keep), region) for region in reading.cut
    ]
    found += [(surplus_layer(quantizer, reading), None) for quantizer in reading.surplus]
    outputs = handed_on(reading, arithmetic)
    layers = [layer for layer, _ in found]
    if not outputs and not any(weight.verdict == "wrong" for weight in weights):
        layers = Unpaired(reading, Judge(expected, arithmetic, reading.self_check)).settled(found)
    layers = _probed(layers, program, reading, arithmetic, keep)
    paths = Paths(reading)
    evidence = Evidence(program, reading, arithmetic, layers, paths)
    layers = [
        evidence.settled_surplus(layer) if region is None else evidence.regions[region.name]
        for layer, (_, region) in zip(layers, found, strict=True)
    ]
    readers = [
        [layer for layer, (_, r) in zip(layers, found, strict=True) if r and q.result in r.operands]
        for q in reading.regions.weights
    ]
    weights = [
        with_folded(q, with_evidence(q, w, reading, paths), q.result in reading.constants.names, by)
        for q, w, by in zip(reading.regions.weights, weights, readers, strict=True)
    ]
    return Findings([*layers, *outputs], weights, end_to_end(reading))


def _layer(region: Region, reading: Reading, arithmetic: Arithmetic, keep: Keep | None) -> Layer:
    judged = judge_held_as_read(region, reading, arithmetic)
    layer = judged.layer
    if (
        layer.verdict == "wrong"
        and judged.result
        and _narrow_sums_give(region, reading, arithmetic)
    ):
        layer = replace(layer, detail=f"{layer.detail}; sums in float16 allow it")
    if keep is not None and judged.result and layer.verdict in ("wrong", "unlikely"):
        given = {**reading.replaced, judged.result: reading.computed[judged.result]}
        layer = replace(layer, repro=keep(replace(judged, layer=layer), judged.result, given))
    return layer


def _narrow(arithmetic: Arithmetic) -> Arithmetic:
    """The same with sums in float16, in a program that computes in 16 bits."""
    if arithmetic.values == "float16" and arithmetic.accumulate == "float32":
        return Arithmetic("float16", "float16")
    return arithmetic


def _narrow_sums_give(region: Region, reading: Reading, arithmetic: Arithmetic) -> bool:
    """Whether a wrong result of a 16-bit program is not wrong once sums are in float16, too."""
    narrow = _narrow(arithmetic)
    if narrow == arithmetic:
        return False
    other = judge_held_as_read(region, reading, narrow)
    return other.layer.verdict not in ("wrong", "unsupported")


def _probed(
    layers: list[Layer],
    program: Program,
    reading: Reading,
    arithmetic: Arithmetic,
    keep: Keep | None,
) -> list[Layer]:
    """The verdicts, with those that pass on the recorded batch and are wrong on probes."""
    # Probes make the largest sums there are; how they are rounded the recorded batch shows.
    probing, found = Probing(program, reading, _narrow(arithmetic)), list(layers)
    places = {region.name: index for index, region in enumerate(reading.cut)}
    for fault in probing.faults(reading.cut):
        index = places[fault.region.name]
        if found[index].verdict in FAILING:
            continue
        count = int(np.count_nonzero(fault.wrong))
        layer = replace(found[index], verdict="wrong", detail=fault.text, wrong=count)
        if keep is not None:
            judged = Judged(
                layer,
                fault.region,
                partial(dict, fault.operands),
                fault.low,
                fault.high,
                fault.name,
            )
            layer = replace(layer, repro=keep(judged, fault.name, fault.given))
        found[index] = layer
    return found
