"""Multipliers and requantization on exact fractions, one number at a time (INT-1 to INT-8)."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor

from quant_reference.integer.codes import code_format
from quant_reference.integer.rules import Rule, get_rule
from quant_reference.oracle.number import FLOAT32, FLOAT64, Binary, number, power, round_to

HALF = Fraction(1, 2)


def rounded(value: Fraction, binary: Binary) -> Fraction:
    """Rounded once to a binary format."""
    return round_to(number(value), binary).exact


def real_multiplier(a: Fraction, w: Fraction, out: Fraction, order: str) -> Fraction:
    """M of three scales that are float32 values (INT-3)."""
    if order == "float32_product_division":
        return rounded(rounded(a * w, FLOAT32) / out, FLOAT32)
    if order == "float32_division_product":
        return rounded(rounded(a / out, FLOAT32) * w, FLOAT32)
    if order == "float32_weight_division_product":
        return rounded(rounded(w / out, FLOAT32) * a, FLOAT32)
    if order == "float32_product_reciprocal":
        return rounded(rounded(a * w, FLOAT32) * rounded(1 / out, FLOAT32), FLOAT32)
    if order == "float32_product_float64_division":
        return rounded(rounded(a * w, FLOAT32) / out, FLOAT64)
    wide = rounded(rounded(a * w, FLOAT64) / out, FLOAT64)
    if order == "float64":
        return wide
    if order == "float64_to_float32":
        return rounded(wide, FLOAT32)
    raise ArithmeticError(f"INT-3 has no order {order}")


def up(value: Fraction) -> int:
    """The nearest integer, of two the greater one (INT-4, INT-6)."""
    return floor(value + HALF)


def away(value: Fraction) -> int:
    """The nearest integer, of two the one farther from zero (INT-5 to INT-7)."""
    return up(value) if value >= 0 else -up(-value)


def odd(value: Fraction) -> int:
    """The value if it is whole, else the odd one of its two neighbours (INT-6)."""
    low = floor(value)
    return low if low == value or low % 2 else low + 1


def toward_zero(value: Fraction) -> int:
    """The whole part (INT-6)."""
    return floor(value) if value >= 0 else ceil(value)


ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "up": up,
    "away": away,
    "even": round,
    "odd": odd,
    "floor": floor,
    "toward_zero": toward_zero,
}


def fixed_point(multiplier: Fraction, form: str) -> tuple[int, int]:
    """The integer and the right shift of a positive multiplier below 2^30 (INT-4)."""
    if form == "q15_reduced":
        wide, shift = fixed_point(multiplier, "q31")
        return (0, 15) if wide == 0 else (min(up(Fraction(wide, 2**16)), 2**15 - 1), shift - 16)
    bits = {"q31": 31, "q15": 15, "power_of_two": 1}[form]
    shift = bits
    while multiplier * power(shift) < 2 ** (bits - 1):
        shift += 1
    while multiplier * power(shift) >= 2**bits:
        shift -= 1
    mantissa = up(multiplier * power(shift))
    if mantissa == 2**bits:
        mantissa, shift = mantissa // 2, shift - 1
    if shift > 62 - (31 - bits):
        mantissa, shift = 0, bits
    if form == "power_of_two":
        mantissa, shift = mantissa * 2**30, shift + 30
    return mantissa, shift


def requantize(
    acc: int,
    scales: tuple[Fraction, Fraction, Fraction],
    rule: str | Rule,
    zero_point: int = 0,
    dtype: str = "int8",
    bounds: tuple[int | None, int | None] = (None, None),
) -> int:
    """Code of one accumulator (INT-5 to INT-8).

    Args:
        acc: The accumulator.
        scales: Of the input, of the weight's channel and of the output; float32 values.
        rule: A rule or its name.
        zero_point: Of the output.
        dtype: Format of the code.
        bounds: Least and greatest code, the format's where None.
    """
    how = get_rule(rule)
    fmt = code_format(dtype)
    low = fmt.quant_min if bounds[0] is None else bounds[0]
    high = fmt.quant_max if bounds[1] is None else bounds[1]
    if how.kind == "division":
        code = _divided(acc, scales, how) + zero_point
    else:
        multiplier = real_multiplier(*scales, how.order)
        if how.kind == "float":
            code = _floating(acc, multiplier, how, zero_point)
        else:
            code = scaled(acc, *fixed_point(multiplier, how.form), how) + zero_point
    return min(max(code, low), high)


def _divided(acc: int, scales: tuple[Fraction, Fraction, Fraction], rule: Rule) -> int:
    a, w, out = scales
    real = rounded(rounded(Fraction(acc), FLOAT32) * rounded(a * w, FLOAT32), FLOAT32)
    return ROUNDINGS[rule.rounding](rounded(real / out, FLOAT32))


def _floating(acc: int, multiplier: Fraction, rule: Rule, zero_point: int) -> int:
    binary = FLOAT32 if rule.dtype == "float32" else FLOAT64
    real = rounded(Fraction(acc), binary) * rounded(multiplier, binary)
    real = rounded(real, binary)
    if rule.zero_point_first:
        return ROUNDINGS[rule.rounding](rounded(real + zero_point, binary))
    return ROUNDINGS[rule.rounding](real) + zero_point


def scaled(acc: int, mantissa: int, shift: int, rule: Rule) -> int:
    """A whole number times a fixed-point multiplier (INT-6, INT-7)."""
    if rule.kind == "single":
        code = ROUNDINGS[rule.rounding](Fraction(acc * mantissa, 2**shift))
        return _in_32_bits(code, rule.overflow)
    # Left shift, high multiplication, right shift, each in 32 bits.
    left, right = max(31 - shift, 0), max(shift - 31, 0)
    high = Fraction(_in_32_bits(acc * 2**left, rule.overflow) * mantissa, 2**31)
    if rule.rounding == "nearest_away":
        return away(Fraction(up(high), 2**right))
    return up(Fraction(floor(high), 2**right))


def _in_32_bits(value: int, overflow: str) -> int:
    if overflow == "wrap":
        return (value + 2**31) % 2**32 - 2**31
    if overflow == "saturate":
        return min(max(value, -(2**31)), 2**31 - 1)
    return value


def quantize_bias(bias: Fraction, a: Fraction, w: Fraction, rule: str) -> int:
    """A bias as a multiple of a·w (INT-2)."""
    binary, nearest = (FLOAT32, round) if rule == "float32_even" else (FLOAT64, away)
    code = nearest(rounded(bias / rounded(a * w, binary), binary))
    return min(max(code, -(2**31)), 2**31 - 1)


def accumulate(pairs: list[tuple[int, int]], bias: int, zero_points: tuple[int, int]) -> int:
    """One accumulator from the codes whose products it sums (INT-1)."""
    return sum((a - zero_points[0]) * (w - zero_points[1]) for a, w in pairs) + bias
