"""Verdicts on the constants of a file: each quantized weight, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quant_conformance.gate.alignment.constants import Constants
from quant_conformance.gate.alignment.paths import Paths
from quant_conformance.gate.alignment.reading import Reading
from quant_conformance.gate.alignment.stored_qparams import differing_weight
from quant_conformance.gate.document import Layer, Weight
from quant_conformance.gate.recording.recorder import Quantization
from quant_conformance.protocol import Array
from quant_reference import QuantizationSpec

DEAD_VALUE = "left out of the file: nothing reads it"
"""What is told of a tensor from which no output follows."""


def judge_weight(
    quantization: Quantization, codes: Array, constants: Constants, *, dead: bool
) -> Weight:
    """The verdict on one weight.

    Args:
        quantization: the weight's.
        codes: the right ones.
        constants: what the file has for the weights.
        dead: whether no output follows from it, so that the file may lack it.
    """
    facts, name = quantization.facts, quantization.result
    verdict, detail = "exact", ""
    if name in constants.at_run_time:
        detail = "quantized when the program runs"
    elif name not in constants.names and dead:
        detail = DEAD_VALUE
    elif name not in constants.names:
        # Where nothing was found of its layers, there is no telling what the file has for it.
        verdict = "unpaired" if name in constants.lost else "wrong"
        detail = f"no {facts.spec.dtype} weight of shape {codes.shape} in the file"
    elif name in constants.divided:
        detail = "with its scale divided as that of the sum"
    elif name in constants.differences:
        verdict, detail = "wrong", constants.differences[name]
    granularity = str(facts.spec.granularity.to_dict()["type"])
    return Weight(facts.name, verdict, facts.spec.dtype, granularity, _clauses(facts.spec), detail)


def with_evidence(
    quantization: Quantization, weight: Weight, reading: Reading, paths: Paths
) -> Weight:
    """The verdict on a weight: "unpaired" for "wrong" where the layers that read it do not say so.

    Args:
        quantization: the weight's.
        weight: the verdict.
        reading: the file beside the recording.
        paths: what the file computes its tensors from.
    """
    if weight.verdict != "wrong":
        return weight
    reads = [region for region in reading.cut if quantization.result in region.operands]
    results = [name for region in reads if (name := paths.result(region))]
    if not results:
        return replace(weight, verdict="unpaired")
    size = reading.expected.codes(quantization).size
    for name in results:
        ends = paths.to(name, reading.stored).ends
        held = [reading.stored[end] for end in ends if end in reading.stored]
        same_size = [constant for constant in held if constant.codes.size == size]
        if any(not differing_weight(quantization, reading.expected, c) for c in same_size):
            said = "a layer that reads it reads a constant with its values"
            return replace(weight, verdict="unpaired", detail=f"{said}; {weight.detail}")
    return weight


def with_folded(
    quantization: Quantization,
    weight: Weight,
    held: bool,
    readers: Sequence[Layer],
) -> Weight:
    """The verdict on a constant that is an activation, as a table of angles that a product reads.

    A converter may compute its quantizer beforehand: then the file has the values and no codes,
    and whoever reads it shows whether they are the right ones.

    Args:
        quantization: the constant's.
        weight: the verdict.
        held: whether the file has codes for it.
        readers: the verdicts on what reads it.
    """
    folded = quantization.facts.target == "activation" and not held
    passed = bool(readers) and all(layer.verdict in ("exact", "admissible") for layer in readers)
    if weight.verdict not in ("wrong", "unpaired") or not folded or not passed:
        return weight
    said = "computed before the program runs; what reads it computes with its values"
    return replace(weight, verdict="exact", detail=said)


def _clauses(spec: QuantizationSpec) -> list[str]:
    """Where scale, codes and values of a weight are defined, and what its codes count from."""
    if not spec.format.is_integer:
        return ["QP-6" if spec.scale_dtype is None else "QP-7", "Q-5", "DQ-3"]
    scale = ["QP-1", "QP-3" if spec.qscheme == "asymmetric" else "QP-2"]
    by_minval = spec.qformulation == "minval"
    return [*scale, *(("QP-5", "Q-4", "DQ-2") if by_minval else ("QP-4", "Q-3", "DQ-1"))]
