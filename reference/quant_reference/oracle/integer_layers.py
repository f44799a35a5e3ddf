"""Integer layers by their definitions, one element at a time (INT-1, INT-9 to INT-12)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from quant_reference.integer.codes import code_format
from quant_reference.integer.rules import Rule, get_rule
from quant_reference.oracle import sums, windows
from quant_reference.oracle.balls import Ball, Machine, Tensor
from quant_reference.oracle.integers import (
    ROUNDINGS,
    away,
    fixed_point,
    requantize,
    rounded,
    scaled,
)
from quant_reference.oracle.number import FLOAT32, FLOAT64

Bounds = tuple[int | None, int | None]
PLAIN: Bounds = (None, None)


def whole(shape: Sequence[int], values: Sequence[int]) -> Tensor:
    """A tensor of whole numbers, in C order."""
    return Tensor(tuple(shape), tuple(Ball(Fraction(value)) for value in values))


def sums_of_products(
    op: str, x: Tensor, weight: Tensor, bias: Tensor | None = None, **attributes: Any
) -> list[int]:
    """Accumulators of a layer from its codes less their zero points, in C order (INT-1)."""
    machine = Machine()
    if op == "matmul":
        found = sums.matmul(machine, x, weight)
    elif op == "linear":
        found = sums.linear(machine, x, weight, bias)
    else:
        layer = windows.conv_transpose if op.startswith("conv_transpose") else windows.conv
        found = layer(machine, x, weight, bias, **attributes)
    return [int(ball.value) for ball in found.items]


def add(
    a: int,
    b: int,
    scales: tuple[Fraction, Fraction, Fraction],
    rule: str | Rule,
    *,
    minus: bool = False,
    left: int = 20,
    zero_point: int = 0,
    dtype: str = "int8",
) -> int:
    """Code of a sum or difference of two codes less their zero points (INT-10)."""
    how = get_rule(rule)
    fmt = code_format(dtype)
    first, second, out = scales
    sign = -1 if minus else 1
    if how.kind in ("division", "float"):
        binary = FLOAT32 if how.dtype == "float32" else FLOAT64
        if how.kind == "division":
            total = rounded(rounded(a * first, binary) + rounded(sign * b * second, binary), binary)
            real = rounded(total / out, binary)
        else:
            one = rounded(a * rounded(first / out, binary), binary)
            other = rounded(sign * b * rounded(second / out, binary), binary)
            real = rounded(one + other, binary)
        if how.zero_point_first:
            code = ROUNDINGS[how.rounding](rounded(real + zero_point, binary))
        else:
            code = ROUNDINGS[how.rounding](real) + zero_point
    else:
        twice = 2 * max(first, second)
        parts = [
            scaled(value * 2**left, *fixed_point(rounded(scale / twice, FLOAT64), how.form), how)
            for value, scale in ((a, first), (b, second))
        ]
        multiplier = rounded(twice / (2**left * out), FLOAT64)
        code = scaled(parts[0] + sign * parts[1], *fixed_point(multiplier, how.form), how)
        code += zero_point
    return min(max(code, fmt.quant_min), fmt.quant_max)


def average(
    codes: Sequence[int],
    padding: int,
    zero_point: int,
    scales: tuple[Fraction, Fraction],
    rule: str | Rule,
    output_zero_point: int = 0,
    dtype: str = "int8",
) -> int:
    """Code of the mean of some codes and of so many that padding adds (INT-11)."""
    fmt = code_format(dtype)
    count = len(codes) + padding
    total = sum(code - zero_point for code in codes)
    if rule == "average_half_away":
        code = away(Fraction(total + count * zero_point, count))
    elif rule == "average_reciprocal":
        bits = 0
        while 2**bits < count:
            bits += 1
        multiplier = (2**30 + 1) * 2**bits // count
        code = ROUNDINGS["up"](Fraction(total * multiplier, 2 ** (30 + bits))) + output_zero_point
    else:
        share = rounded(Fraction(1, count), FLOAT32)
        return requantize(total, (scales[0], share, scales[1]), rule, output_zero_point, dtype)
    return min(max(code, fmt.quant_min), fmt.quant_max)


def moved(
    code: int,
    zero_point: int,
    scales: tuple[Fraction, Fraction],
    rule: str | Rule,
    output_zero_point: int = 0,
    dtype: str = "int8",
    bounds: Bounds = PLAIN,
) -> int:
    """A code in another scale and zero point (INT-12)."""
    given, out = scales
    return requantize(
        code - zero_point, (given, Fraction(1), out), rule, output_zero_point, dtype, bounds
    )
