"""Chapter 15 in the examples of SPEC.md: regions, codes and verdicts, each in two ways."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.reference.spec_questions import params_for, single

from quant_conformance.verdicts.admissible import beyond
from quant_reference import (
    QParams,
    QuantizationSpec,
    oracle,
)
from quant_reference.admissible import (
    VERDICTS,
    AdmissibleCodes,
    Arithmetic,
    Bounds,
    Layer,
    QuantizedTensor,
    Step,
    admissible_codes,
    evaluate,
    judge_codes,
)
from quant_reference.oracle import Machine, balls, layers
from quant_vectors.model import SETS

Array = NDArray[Any]
F32 = np.float32
ROUNDED_TO = 11
"""Bits of a bound of chapter 15 that an example shows: the rest is float64's own error."""


def layer_of(
    op: str,
    operands: Any,
    given: dict[str, Any],
) -> tuple[dict[str, Array], Step, Arithmetic, QuantizationSpec, dict[str, Array], Any]:
    """What `codes` asks: the region, the arithmetic, and the quantization of its result."""
    names = ("values", "accumulate", "scale", "zero_point", "minval")
    own = {name: given.pop(name) for name in names if name in given}
    fields = {name: given.pop(name) for name in ("dtype", "qscheme") if name in given}
    named, step = region(op, operands, given)
    arithmetic = Arithmetic(own.pop("values", "float32"), own.pop("accumulate", "float32"))
    spec = QuantizationSpec.from_dict(fields)
    return named, step, arithmetic, spec, {}, own


def numpy_codes(op: str, *operands: Any, **given: Any) -> Any:
    named, step, arithmetic, spec, _, own = layer_of(op, operands, given)
    exact: dict[str, Bounds | Array] = {**named}
    found = evaluate([step], exact, arithmetic)["y"]
    params = QParams(
        **params_for(own["scale"], own.get("zero_point", 0), None, found.value.ndim, {})
    )
    sets = admissible_codes(found, spec, params, arithmetic)
    return [single(getattr(sets, end)) for end in SETS]


def oracle_codes(op: str, *operands: Any, **given: Any) -> Any:
    named, step, arithmetic, spec, _, own = layer_of(op, operands, given)
    machine = Machine.named(arithmetic.values, arithmetic.accumulate)
    exact = {name: exact_of(array) for name, array in named.items()}
    found = layers.evaluate([step], exact, machine)["y"]
    params = oracle.BlockQParams(oracle.number(float(own["scale"])), own.get("zero_point", 0))
    sets = [oracle.code_set(ball, spec, params, machine) for ball in found.items]
    return [single(list(end)) for end in zip(*sets, strict=True)]


def operands_of_layer(operands: Any, scales: Any, zero_points: Any) -> list[Any]:
    """The values of int8 codes, by the oracle's DQ-1."""
    return [
        [
            float(oracle.dequantize(code, QuantizationSpec(), oracle.BlockQParams(
                oracle.number(float(scale)), zero_point)))
            for code in codes
        ]
        for codes, scale, zero_point in zip(operands, scales, zero_points, strict=True)
    ]  # fmt: skip


def oracle_layer(op: str, *operands: Any, scales: Any, zero_points: Any) -> Any:
    values = operands_of_layer(operands, scales[:-1], zero_points[:-1])
    return oracle_codes(op, *values, scale=scales[-1], zero_point=zero_points[-1])


def numpy_layer(op: str, *operands: Any, scales: Any, zero_points: Any) -> Any:
    given = {
        f"x{i}": QuantizedTensor(
            np.array(codes, np.int8),
            QuantizationSpec(),
            QParams(np.array([scale], F32), np.array([zero_point], np.int32)),
        )
        for i, (codes, scale, zero_point) in enumerate(
            zip(operands, scales[:-1], zero_points[:-1], strict=True)
        )
    }
    output = QParams(np.array([scales[-1]], F32), np.array([zero_points[-1]], np.int32))
    step = Step(op, tuple(given), "y")
    sets = Layer((step,), given, QuantizationSpec(), output).admissible()
    return [single(getattr(sets, end)) for end in SETS]


def numpy_verdicts(codes: Any, *ends: Any, dtype: str = "int8") -> Any:
    spec = QuantizationSpec(dtype)
    held_ends = [np.array(end, spec.format.code_dtype) for end in ends]
    sets = AdmissibleCodes(*held_ends, spec=spec)
    found = judge_codes(np.array(codes, spec.format.code_dtype), sets)
    return [VERDICTS[index] for index in found]


def suite_verdicts(codes: Any, *ends: Any, dtype: str = "int8") -> Any:
    """By the distance to the sets, as the suite tells it."""
    spec = QuantizationSpec(dtype)
    given = np.array(codes, spec.format.code_dtype)
    named = dict(zip(SETS, (np.array(end, given.dtype) for end in ends), strict=True))
    outside = [(beyond(given, named, prefix, None)[0] != 0).tolist() for prefix in ("", "likely_")]
    open_ones = [
        low == spec.quant_min and high == spec.quant_max
        for low, high in zip(*ends[2:], strict=True)
    ]
    return [
        "undecided" if undecided else "wrong" if wrong else "unlikely" if unlikely else "admissible"
        for undecided, wrong, unlikely in zip(open_ones, *outside, strict=True)
    ]


def region(op: str, operands: Any, given: Mapping[str, Any]) -> tuple[dict[str, Array], Step]:
    named = {f"x{i}": np.asarray(v, np.float64) for i, v in enumerate(operands)
             if isinstance(v, list)}  # fmt: skip
    inputs = [f"x{i}" if isinstance(v, list) else v for i, v in enumerate(operands)]
    return named, Step(op, tuple(inputs), "y", dict(given))


def exact_of(array: Array) -> balls.Tensor:
    flat = [balls.Ball(fraction(v)) for v in array.ravel().tolist()]
    return balls.Tensor(array.shape, tuple(flat))


def fraction(value: float) -> Fraction:
    if np.isinf(value):
        return balls.INFINITY if value > 0 else -balls.INFINITY
    return Fraction(value)


def shown_bits(value: Any) -> float:
    """A value or radius with the first bits that an example shows."""
    if isinstance(value, Fraction) and balls.infinite(value):
        return float("inf") if value > 0 else float("-inf")
    mantissa, exponent = np.frexp(float(value))
    return float(np.ldexp(np.rint(mantissa * 2**ROUNDED_TO), int(exponent) - ROUNDED_TO))


def oracle_bounds(
    op: str, *operands: Any, values: str = "float32", accumulate: str = "float32", **given: Any
) -> Any:
    named, step = region(op, operands, given)
    exact = {name: exact_of(array) for name, array in named.items()}
    found = layers.evaluate([step], exact, Machine.named(values, accumulate))["y"]
    columns = zip(*((b.value, b.rigorous, b.probable) for b in found.items), strict=True)
    shown = [[shown_bits(v) for v in column] for column in columns]
    return [column[0] if len(column) == 1 else column for column in shown]


def numpy_bounds(
    op: str, *operands: Any, values: str = "float32", accumulate: str = "float32", **given: Any
) -> Any:
    named, step = region(op, operands, given)
    exact: dict[str, Bounds | Array] = {**named}
    found = evaluate([step], exact, Arithmetic(values, accumulate))["y"]
    columns = (found.value, found.rigorous, found.probable)
    shown = [[shown_bits(v) for v in column.ravel().tolist()] for column in columns]
    return [column[0] if len(column) == 1 else column for column in shown]
