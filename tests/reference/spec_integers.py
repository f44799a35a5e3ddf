"""Integer layers (chapter 17) in the examples of SPEC.md, by the numpy form and by the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from quant_reference import integer
from quant_reference.oracle import integer_layers, integers

F32 = np.float32


def numpy_integers() -> Mapping[str, Callable[..., Any]]:
    def accumulate(x: Any, weight: Any, bias: Any, x_zero_point: int = 0) -> Any:
        acc = integer.accumulate(
            "linear",
            np.array(x, np.int16),
            np.array(weight, np.int8),
            np.array(bias, np.int32),
            x_zero_point=x_zero_point,
        )
        return acc.tolist()

    def quantize_bias(bias: Any, scales: Any, rule: str) -> Any:
        a, w = (F32(scale) for scale in scales)
        return integer.quantize_bias(np.array(bias, F32), a, w, rule).tolist()

    def requantize(
        acc: Any,
        rule: str,
        scales: Any,
        zero_point: int = 0,
        dtype: str = "int8",
        bounds: tuple[int | None, int | None] = (None, None),
    ) -> Any:
        params = integer.Requantization(*(F32(s) for s in scales), zero_point, dtype, *bounds)
        return integer.requantize(np.array(acc, np.int32), params, rule).tolist()

    def tensor(codes: Any, scale: float, zero_point: int) -> integer.IntegerTensor:
        codes = np.array(codes, np.int8)
        return integer.IntegerTensor(codes, F32(scale), np.array(zero_point, np.int32))  # type: ignore[arg-type]

    def ran(op: str, operands: Any, out: float, rule: str, zero_point: int = 0) -> Any:
        asked = integer.IntegerLayer(op, operands, F32(out), zero_point)  # type: ignore[arg-type]
        return integer.integer_layer(asked, rule).tolist()

    def layer(
        op: str, x: Any, weight: Any, scales: Any, rule: str, zero_points: Any = (0, 0, 0)
    ) -> Any:
        operands = (tensor(x, scales[0], zero_points[0]), tensor(weight, scales[1], zero_points[1]))
        return ran(op, operands, scales[2], rule, zero_points[2])

    def add(a: Any, b: Any, scales: Any, rule: str) -> Any:
        return layer("add", a, b, scales, rule)

    def average(codes: Any, zero_point: int, rule: str, scale: float = 1.0) -> Any:
        return ran("mean", (tensor(codes, scale, zero_point),), scale, rule, zero_point)

    def moved(codes: Any, scales: Any, rule: str, zero_points: Any = (0, 0)) -> Any:
        operand = tensor(codes, scales[0], zero_points[0])
        return ran("cat", (operand,), scales[1], rule, zero_points[1])

    def fixed_point(multiplier: float, form: str) -> Any:
        found = integer.fixed_point(np.float64(multiplier), form)
        return [int(found.multiplier), int(found.shift)]

    return {
        "accumulate": accumulate,
        "quantize_bias": quantize_bias,
        "real_multiplier": lambda a, w, out, order: float(
            integer.real_multiplier(F32(a), F32(w), F32(out), order)
        ),
        "fixed_point": fixed_point,
        "requantize": requantize,
        "layer": layer,
        "add": add,
        "average": average,
        "moved": moved,
    }


def oracle_integers() -> Mapping[str, Callable[..., Any]]:
    def accumulate(x: Any, weight: Any, bias: Any, x_zero_point: int = 0) -> Any:
        return [
            [
                integers.accumulate(list(zip(row, channel, strict=True)), added, (x_zero_point, 0))
                for channel, added in zip(weight, bias, strict=True)
            ]
            for row in x
        ]

    def quantize_bias(bias: Any, scales: Any, rule: str) -> Any:
        a, w = map(Fraction, scales)
        return [integers.quantize_bias(Fraction(value), a, w, rule) for value in bias]

    def requantize(acc: Any, rule: str, scales: Any, **others: Any) -> Any:
        a, w, out = map(Fraction, scales)
        return [integers.requantize(value, (a, w, out), rule, **others) for value in acc]

    def layer(
        op: str, x: Any, weight: Any, scales: Any, rule: str, zero_points: Any = (0, 0, 0)
    ) -> Any:
        del op  # linear
        a, w, out = map(Fraction, scales)
        return [
            [
                integers.requantize(
                    integers.accumulate(list(zip(row, channel, strict=True)), 0, zero_points[:2]),
                    (a, w, out),
                    rule,
                    zero_points[2],
                )
                for channel in weight
            ]
            for row in x
        ]

    def add(a: Any, b: Any, scales: Any, rule: str) -> Any:
        first, second, out = map(Fraction, scales)
        pairs = zip(a, b, strict=True)
        return [integer_layers.add(*pair, (first, second, out), rule) for pair in pairs]

    def average(codes: Any, zero_point: int, rule: str, scale: float = 1.0) -> Any:
        both = Fraction(scale)
        return integer_layers.average(codes, 0, zero_point, (both, both), rule, zero_point)

    def moved(codes: Any, scales: Any, rule: str, zero_points: Any = (0, 0)) -> Any:
        given, out = map(Fraction, scales)
        return [
            integer_layers.moved(code, zero_points[0], (given, out), rule, zero_points[1])
            for code in codes
        ]

    return {
        "layer": layer,
        "add": add,
        "average": average,
        "moved": moved,
        "accumulate": accumulate,
        "quantize_bias": quantize_bias,
        "real_multiplier": lambda a, w, out, order: float(
            integers.real_multiplier(Fraction(a), Fraction(w), Fraction(out), order)
        ),
        "fixed_point": lambda m, form: list(integers.fixed_point(Fraction(m), form)),
        "requantize": requantize,
    }
