"""Codes, one at a time, and their place in bytes (ENC-1 to ENC-7, DEC-1, PACK-1 to PACK-3)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from quant_reference.formats import Format, get_format
from quant_reference.oracle.arithmetic import clamp
from quant_reference.oracle.number import (
    NAN,
    Number,
    floor_log2,
    nearest,
    number,
    power,
    rint,
)

Overflow = Literal["saturate", "saturate_finite", "nonsaturate"]
NanInE2M1 = Literal["positive_zero", "negative_zero", "max", "min"]
_E2M1_NAN_CODES = {"positive_zero": 0, "negative_zero": 8, "max": 7, "min": 15}


def encode(
    x: Number,
    format: str | Format,
    *,
    overflow: Overflow = "saturate",
    nan_in_e2m1: NanInE2M1 = "positive_zero",
) -> int:
    """Code of one number (ENC-1 to ENC-7).

    Args:
        x: Any number.
        format: A format or its name.
        overflow: Policy of ENC-5, for the 8-bit float formats.
        nan_in_e2m1: Policy of ENC-4, for float4_e2m1fn.

    Raises:
        ArithmeticError: ENC-6 and ENC-7 refuse this number.
    """
    fmt = get_format(format)
    if fmt.is_integer:
        return _encode_integer(x, fmt)
    if fmt.kind == "scale":
        return _encode_scale(x, fmt)
    sign = int(x.negative) << (fmt.bits - 1)
    if x.is_nan:
        return _E2M1_NAN_CODES[nan_in_e2m1] if fmt.nan_code is None else sign | fmt.nan_code
    return sign | _encode_magnitude(x, fmt, overflow)


def _encode_integer(x: Number, fmt: Format) -> int:
    if x.is_nan:
        raise ArithmeticError(f"ENC-7: NaN has no code in {fmt.name}")
    return int(clamp(rint(x), number(fmt.quant_min), number(fmt.quant_max)).exact)


def _encode_scale(x: Number, fmt: Format) -> int:
    if x.is_nan:
        return 255
    if not x.is_infinite and not x.negative and x.magnitude > 0:
        exponent = floor_log2(x.magnitude)
        if power(exponent) == x.magnitude and -127 <= exponent <= 127:
            return exponent + 127
    raise ArithmeticError(f"ENC-6: {float(x)} is no power of two from 2^-127 to 2^127")


def _encode_magnitude(x: Number, fmt: Format, overflow: Overflow) -> int:
    largest = Fraction(fmt.quant_max)
    rounded = nearest(x.magnitude, fmt.mantissa_bits + 1, 1 - fmt.bias)
    if x.is_infinite or rounded > largest:
        saturates = overflow == "saturate" or (overflow == "saturate_finite" and not x.is_infinite)
        if not saturates and fmt.has_inf:
            return ((1 << fmt.exponent_bits) - 1) << fmt.mantissa_bits
        if not saturates and fmt.nan_code is not None:
            return fmt.nan_code
        rounded = largest
    if rounded < power(1 - fmt.bias):
        field = 0
        fraction = rounded / power(1 - fmt.bias)
    else:
        exponent = floor_log2(rounded)
        field = exponent + fmt.bias
        fraction = rounded / power(exponent) - 1
    return (field << fmt.mantissa_bits) + int(fraction * power(fmt.mantissa_bits))


def decode(code: int, format: str | Format) -> Number:
    """Exact value of one code (FMT-1 to FMT-3, DEC-1); bits above the width are not looked at."""
    fmt = get_format(format)
    if fmt.is_integer:
        return number(code)
    if fmt.kind == "scale":
        return NAN if code == 255 else number(power(code - 127))
    negative = bool(code >> (fmt.bits - 1) & 1)
    field = code >> fmt.mantissa_bits & ((1 << fmt.exponent_bits) - 1)
    fraction = Fraction(code % (1 << fmt.mantissa_bits), 1 << fmt.mantissa_bits)
    last_field = field == (1 << fmt.exponent_bits) - 1
    if fmt.has_inf and last_field:
        return Number(negative, Fraction(0), "nan" if fraction else "infinity")
    if code % (1 << (fmt.bits - 1)) == fmt.nan_code:
        return Number(negative, Fraction(0), "nan")
    if field == 0:
        return Number(negative, power(1 - fmt.bias) * fraction)
    return Number(negative, power(field - fmt.bias) * (1 + fraction))


def pack(codes: Sequence[int], format: str | Format, order: str) -> list[int]:
    """Bytes of a run of codes, written out as strings of bits (PACK-1 to PACK-3).

    Args:
        codes: In C order of their tensor.
        format: A format or its name.
        order: ``"low_first"`` or ``"high_first"``.
    """
    bits = get_format(format).bits
    per_byte = 8 // bits
    fields = [f"{code % (1 << bits):0{bits}b}" for code in codes]
    fields += ["0" * bits] * (-len(fields) % per_byte)
    return [
        int("".join(_in_order(fields[start : start + per_byte], order)), 2)
        for start in range(0, len(fields), per_byte)
    ]


def unpack(packed: Sequence[int], format: str | Format, order: str, count: int) -> list[int]:
    """The first ``count`` codes of a run of bytes; inverse of :func:`pack` (PACK-1 to PACK-3)."""
    fmt = get_format(format)
    fields: list[str] = []
    for byte in packed:
        text = f"{byte:08b}"
        split = [text[start : start + fmt.bits] for start in range(0, 8, fmt.bits)]
        fields += _in_order(split, order)
    codes = [int(field, 2) for field in fields[:count]]
    if fmt.kind == "int":  # PACK-2
        codes = [code - (1 << fmt.bits) if code >> (fmt.bits - 1) else code for code in codes]
    return codes


def _in_order(fields: list[str], order: str) -> list[str]:
    """Fields of one byte as they are written, most significant first."""
    return fields if order == "high_first" else fields[::-1]
