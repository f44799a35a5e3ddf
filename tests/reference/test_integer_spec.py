"""The examples of SPEC.md's chapter on integer layers, through the reference and the oracle."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quant_reference
from quant_reference import integer
from quant_reference.oracle import integer_layers, integers

SPEC = (Path(quant_reference.__file__).parent / "SPEC.md").read_text(encoding="utf-8")
CHAPTER = SPEC.split("\n## 17 ")[1].split("\n## ")[0]
EXAMPLE = re.compile(r"^>>> (?P<call>.+)\n(?P<answer>.+)$", re.M)
HEX = re.compile(r"-?0x[0-9a-f.]+p[+-]?\d+")
EXAMPLES = [
    (title, found["call"], found["answer"])
    for title, text in re.findall(r"^### (INT-\d+) .*?\n(.*?)(?=^### |\Z)", CHAPTER, re.M | re.S)
    for found in EXAMPLE.finditer(text)
]
F32 = np.float32


def literal(text: str) -> Any:
    """A value of an example: Python literals, and hex floats."""
    return ast.literal_eval(HEX.sub(lambda number: repr(float.fromhex(number[0])), text))


def of_reference() -> Mapping[str, Callable[..., Any]]:
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

    def average(codes: Any, zero_point: int, rule: str) -> Any:
        return ran("mean", (tensor(codes, 1.0, zero_point),), 1.0, rule, zero_point)

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


def of_oracle() -> Mapping[str, Callable[..., Any]]:
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

    def average(codes: Any, zero_point: int, rule: str) -> Any:
        one = Fraction(1)
        return integer_layers.average(codes, 0, zero_point, (one, one), rule, zero_point)

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


WHO = {"reference": of_reference(), "oracle": of_oracle()}


def evaluated(call: str, functions: Mapping[str, Callable[..., Any]]) -> Any:
    """An example's call, its numbers in hexadecimal included."""
    plain = HEX.sub(lambda number: repr(float.fromhex(number[0])), call)
    return eval(plain, {"__builtins__": {}}, dict(functions))


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(("clause", "call", "answer"), EXAMPLES)
def test_an_example(who: str, clause: str, call: str, answer: str) -> None:
    assert evaluated(call, WHO[who]) == literal(answer), clause


def test_every_clause_has_an_example_and_every_part() -> None:
    clauses = re.findall(r"^### (INT-\d+) ", CHAPTER, re.M)
    assert {clause for clause, _, _ in EXAMPLES} == set(clauses)
    assert len(EXAMPLES) == CHAPTER.count(">>> ")
    for text in re.split(r"^### INT-", CHAPTER, flags=re.M)[1:]:
        for part in ("Rule", "Dtypes", "Refused", "Example"):
            assert f"**{part}.**" in text, text[:40]


def test_the_tables_name_every_rule_form_and_order() -> None:
    named = set(re.findall(r"^\| `(\w+)`", CHAPTER, re.M))
    assert named == {*integer.RULES, *integer.MULTIPLIER_ORDERS}
    assert all(
        f"`{rule}`" in CHAPTER
        for rule in (*integer.POOL_RULES, *integer.RULE_ALIASES)
        if not rule.startswith(("xnnpack", "fbgemm", "tosa_scale16", "tflite_int64"))
    )
    words = set(re.findall(r"`(\w+)`", CHAPTER))
    assert {*integer.FIXED_POINT_FORMS, *integer.BIAS_RULES} <= words


def test_an_answer_with_another_digit_fails() -> None:
    """Each digit of each answer counts, in the reference as in the oracle."""
    for (_, call, answer), functions in product(EXAMPLES, WHO.values()):
        got = evaluated(call, functions)
        for place, digit in enumerate(answer):
            if digit.isdigit() and "0x" not in answer:
                other = answer[:place] + str((int(digit) + 1) % 10) + answer[place + 1 :]
                try:
                    assert literal(other) != got, (call, other)
                except SyntaxError:
                    continue  # a number does not begin with 0
