"""A region of a recorded model as a question with an answer, in the form of the vector sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quant_conformance.gate.recording.recorder import Recording
from quant_conformance.gate.regions.bounds import wrong_codes, wrong_values
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Region, arithmetic_of, needed
from quant_conformance.layers import (
    layer_arguments,
    layer_clauses,
    layer_inputs,
    quantize_clauses,
)
from quant_conformance.protocol import Array
from quant_reference import QParams, QuantError, quantize
from quant_reference.admissible import (
    AdmissibleCodes,
    AdmissibleValues,
    FloatLayer,
    Layer,
    QuantizedTensor,
)
from quant_reference.admissible.operations import CLAUSES
from quant_vectors.model import SETS


class LeftOutError(Exception):
    """A region that cannot be asked; the text says why."""


@dataclass(frozen=True)
class Question:
    """What a case asks and what is right, before it has an id.

    Attributes:
        operation: "layer", "float_layer", "quantize" where a quantizer reads a fixed value, or
            "model_output".
        clauses: clauses of SPEC.md that the answer follows from.
        rule: "exact", "admissible" or "information".
        inputs: argument name -> tensor.
        expected: output name -> tensor.
        spec: of the result, or None.
        arguments: further arguments.
        elements: how many the result has.
        single: share of elements with exactly one admissible code; None for a float result.
    """

    operation: str
    clauses: tuple[str, ...]
    rule: str
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]
    spec: Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    elements: int = 0
    single: float | None = 1.0


def question_of(recording: Recording, region: Region) -> Question:
    """Makes a case of a region, answered by the reference.

    Args:
        recording: one run of a prepared model.
        region: one of its regions.

    Raises:
        LeftOutError: It cannot be asked, or the prepared model's own result is not admissible.
    """
    if region.lacking:
        raise LeftOutError(f"no bound is known for {', '.join(region.lacking)}")
    region = needed(region)
    expected = Expected(recording, half=False)  # a new one, which keeps no codes of other regions
    try:
        if region.quantization is None:
            return _float_question(recording, region, expected)
        if not region.steps:
            return _quantize_question(recording, region, expected)
        return _layer_question(recording, region, expected)
    except QuantError as error:
        raise LeftOutError(" ".join(str(error).split())) from error


def _quantize_question(recording: Recording, region: Region, expected: Expected) -> Question:
    """A quantizer behind a fixed value: one right answer to the bit."""
    quantization = _of(region)
    spec, qparams = quantization.facts.spec, quantization.facts.qparams
    x = as_stored(region.target, expected.operand(region.target))
    if not np.isfinite(qparams.scale).all() or np.isnan(x).any():
        raise LeftOutError("a NaN, or a scale that is not finite: its code is a policy (Q-6)")
    return Question(
        "quantize",
        quantize_clauses(spec),
        "exact",
        {"x": x, **_fields(qparams)},
        {"codes": quantize(x, spec, qparams)},
        spec.to_dict(),
        elements=x.size,
    )


def _layer_question(recording: Recording, region: Region, expected: Expected) -> Question:
    quantization = _of(region)
    spec, qparams = quantization.facts.spec, quantization.facts.qparams
    operands = _operands(recording, region, expected)
    layer = Layer(region.steps, operands, spec, qparams, arithmetic_of(recording, region))
    admissible, codes = layer.admissible(), expected.codes(quantization)
    _check(wrong_codes(codes, admissible))
    return Question(
        "layer",
        layer_clauses(layer),
        "admissible",
        layer_inputs(layer),
        {"codes": codes, **sets_of(admissible)},
        spec.to_dict(),
        layer_arguments(layer),
        admissible.low.size,
        admissible.single["probable"],
    )


def _float_question(recording: Recording, region: Region, expected: Expected) -> Question:
    operands = _operands(recording, region, expected)
    layer = FloatLayer(region.steps, operands, arithmetic_of(recording, region))
    bounds = layer.bounds()
    recorded = recording.values[region.target]
    _check(wrong_values(recorded, bounds, layer.arithmetic))
    admissible = layer.admissible_values()
    return Question(
        "float_layer",
        ("ADM-1", *_step_clauses(region), "ADM-12", "ADM-13"),
        "admissible",
        layer_inputs(layer),
        {"values": recorded, **sets_of(admissible)},
        arguments=layer_arguments(layer),
        elements=recorded.size,
        single=None,
    )


def sets_of(admissible: AdmissibleCodes | AdmissibleValues) -> dict[str, Array]:
    """The four ends as expected tensors."""
    return {name: getattr(admissible, name) for name in SETS}


def _operands(
    recording: Recording, region: Region, expected: Expected
) -> dict[str, QuantizedTensor | Array]:
    quantized = {q.result: q for q in recording.quantizations}
    found: dict[str, QuantizedTensor | Array] = {}
    for name in region.operands:
        if name in quantized:
            facts = quantized[name].facts
            codes = expected.codes(quantized[name])
            found[name] = QuantizedTensor(codes, facts.spec, facts.qparams)
        else:
            found[name] = as_stored(name, recording.values[name])
    return found


def as_stored(name: str, array: Array) -> Array:
    """In a dtype that sets hold: float16 fits in float32, and most indices in int32.

    Raises:
        LeftOutError: Another dtype, or integers beyond int32.
    """
    if array.dtype in (np.float32, np.float16):
        return array.astype(np.float32)
    if array.dtype.kind in "iu":
        narrow = array.astype(np.int32)
        if np.array_equal(narrow, array):
            return narrow
    raise LeftOutError(f"{name} is {array.dtype}, which does not fit in float32 or int32")


def _check(wrong: Array) -> None:
    if wrong.any():
        raise LeftOutError(
            f"the prepared model's own result is not admissible in {wrong.sum()} of {wrong.size} "
            "elements"
        )


def _step_clauses(region: Region) -> tuple[str, ...]:
    return tuple(dict.fromkeys(CLAUSES[step.op] for step in region.steps))


def _fields(qparams: QParams) -> dict[str, Array]:
    given: dict[str, Array | None] = {
        "scale": qparams.scale,
        "zero_point": qparams.zero_point,
        "minval": qparams.minval,
    }
    return {name: array for name, array in given.items() if array is not None}


def _of(region: Region) -> Any:
    if region.quantization is None:
        raise ValueError(f"{region.name} has no quantizer")
    return region.quantization
