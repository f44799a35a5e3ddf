"""Codes, one at a time, and their place in bytes (ENC-1 to ENC-11, DEC-1, PACK-1 to PACK-4)."""

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
Mxint8Least = Literal["used", "unused"]


def encode(
    x: Number,
    format: str | Format,
    *,
    overflow: Overflow = "saturate",
    nan_in_e2m1: NanInE2M1 = "positive_zero",
    nan_in_fp6: NanInE2M1 = "positive_zero",
    mxint8_least: Mxint8Least = "used",
) -> int:
    """Code of one number (ENC-1 to ENC-11).

    Args:
        x: Any number.
        format: A format or its name.
        overflow: Policy of ENC-5, for the 8-bit float formats.
        nan_in_e2m1: Policy of ENC-4, for float4_e2m1fn.
        nan_in_fp6: Likewise, for the formats of six bits.
        mxint8_least: Policy of ENC-9.

    Raises:
        ArithmeticError: ENC-6, ENC-7 and ENC-9 to ENC-11 refuse this number.
    """
    fmt = get_format(format)
    if fmt.is_integer:
        return _encode_integer(x, fmt)
    if fmt.kind == "scale":
        return _encode_scale(x, fmt)
    if fmt.kind == "table":
        return _encode_table(x, fmt)
    if fmt.kind == "fixed":
        return _encode_fixed(x, fmt, mxint8_least)
    if not fmt.signed:
        if x.negative and x.kind != "nan" and (x.is_infinite or x.magnitude > 0):
            raise ArithmeticError(f"ENC-10: {float(x)} has a sign, {fmt.name} has none")
        x = Number(False, x.magnitude, x.kind)
    if not fmt.negative_zero:
        return _without_negative_zero(x, fmt, overflow)
    sign = int(x.negative) << (fmt.bits - 1)
    if x.is_nan:
        if fmt.nan_code is not None:
            return sign | fmt.nan_code
        top = 1 << (fmt.bits - 1)
        stored = {"positive_zero": 0, "negative_zero": top, "max": top - 1, "min": 2 * top - 1}
        return stored[nan_in_e2m1 if fmt.bits == 4 else nan_in_fp6]
    return sign | _encode_magnitude(x, fmt, overflow)


def _encode_integer(x: Number, fmt: Format) -> int:
    if x.is_nan:
        raise ArithmeticError(f"ENC-7: NaN has no code in {fmt.name}")
    return int(clamp(rint(x), number(fmt.quant_min), number(fmt.quant_max)).exact)


def _without_negative_zero(x: Number, fmt: Format, overflow: Overflow) -> int:
    """FMT-5, ENC-8: the sign bit alone is the NaN, whatever the sign of the number."""
    nan = 1 << (fmt.bits - 1)
    if x.is_nan:
        return nan
    code = _encode_magnitude(x, fmt, overflow)
    if code == fmt.nan_code or code == 0:
        return code
    return nan | code if x.negative else code


def _encode_fixed(x: Number, fmt: Format, least: Mxint8Least) -> int:
    """ENC-9: steps of 2^-6."""
    if x.is_nan:
        raise ArithmeticError(f"ENC-9: NaN has no code in {fmt.name}")
    low = -127 if least == "unused" else -128
    if x.is_infinite:
        return low if x.negative else 127
    return max(low, min(127, round(x.exact * 64)))


def _encode_table(x: Number, fmt: Format) -> int:
    """ENC-11: the least distance, and of two the lower code."""
    if x.is_nan:
        raise ArithmeticError(f"ENC-11: NaN has no code in {fmt.name}")
    if x.is_infinite:
        return 0 if x.negative else len(fmt.values) - 1
    distances = [abs(Fraction(value) - x.exact) for value in fmt.values]
    return distances.index(min(distances))


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
    """Exact value of one code (FMT-1 to FMT-3, FMT-5 to FMT-8, DEC-1)."""
    fmt = get_format(format)
    if fmt.kind == "fixed":
        return number(Fraction(code, 64))
    if fmt.kind == "table":
        return number(fmt.values[code])
    if fmt.is_integer:
        return number(code)
    if fmt.kind == "scale":
        return NAN if code == 255 else number(power(code - 127))
    if not fmt.negative_zero and code == 1 << (fmt.bits - 1):
        return NAN
    negative = fmt.signed and bool(code >> (fmt.bits - 1) & 1)
    field = code >> fmt.mantissa_bits & ((1 << fmt.exponent_bits) - 1)
    fraction = Fraction(code % (1 << fmt.mantissa_bits), 1 << fmt.mantissa_bits)
    last_field = field == (1 << fmt.exponent_bits) - 1
    if fmt.has_inf and last_field:
        return Number(negative, Fraction(0), "nan" if fraction else "infinity")
    if fmt.nan_code is not None and code % (1 << (fmt.bits - fmt.signed)) == fmt.nan_code:
        return Number(negative, Fraction(0), "nan")
    if field == 0:
        return Number(negative, power(1 - fmt.bias) * fraction)
    return Number(negative, power(field - fmt.bias) * (1 + fraction))


def pack(codes: Sequence[int], format: str | Format, order: str) -> list[int]:
    """Bytes of a run of codes, written out as strings of bits (PACK-1 to PACK-4).

    Args:
        codes: In C order of their tensor.
        format: A format or its name.
        order: ``"low_first"`` or ``"high_first"``.
    """
    bits = _packed_bits(get_format(format))
    if 8 % bits:
        return _stream([f"{code:0{bits}b}" for code in codes], order)
    per_byte = 8 // bits
    fields = [f"{code % (1 << bits):0{bits}b}" for code in codes]
    fields += ["0" * bits] * (-len(fields) % per_byte)
    return [
        int("".join(_in_order(fields[start : start + per_byte], order)), 2)
        for start in range(0, len(fields), per_byte)
    ]


def unpack(packed: Sequence[int], format: str | Format, order: str, count: int) -> list[int]:
    """The first ``count`` codes of a run of bytes; inverse of :func:`pack` (PACK-1 to PACK-4)."""
    fmt = get_format(format)
    bits = _packed_bits(fmt)
    if 8 % bits:
        return _from_stream(packed, bits, order)[:count]
    fields: list[str] = []
    for byte in packed:
        text = f"{byte:08b}"
        split = [text[start : start + bits] for start in range(0, 8, bits)]
        fields += _in_order(split, order)
    codes = [int(field, 2) for field in fields[:count]]
    if fmt.kind in ("int", "fixed"):  # PACK-2
        codes = [code - (1 << fmt.bits) if code >> (fmt.bits - 1) else code for code in codes]
    return codes


def _packed_bits(fmt: Format) -> int:
    """A code of seven bits fills a byte (PACK-4)."""
    return 8 if fmt.bits == 7 else fmt.bits


def _stream(fields: list[str], order: str) -> list[int]:
    """One string of bits, cut into bytes; low_first writes it from right to left (PACK-4)."""
    if order == "high_first":
        text = "".join(fields)
        text += "0" * (-len(text) % 8)
        return [int(text[start : start + 8], 2) for start in range(0, len(text), 8)]
    text = "".join(reversed(fields))
    text = "0" * (-len(text) % 8) + text
    return [int(text[start : start + 8], 2) for start in range(len(text) - 8, -1, -8)]


def _from_stream(packed: Sequence[int], bits: int, order: str) -> list[int]:
    whole = len(packed) * 8 // bits
    if order == "high_first":
        text = "".join(f"{byte:08b}" for byte in packed)
        return [int(text[bits * i : bits * i + bits], 2) for i in range(whole)]
    stream = sum(byte << 8 * place for place, byte in enumerate(packed))
    return [stream >> bits * i & ((1 << bits) - 1) for i in range(whole)]


def _in_order(fields: list[str], order: str) -> list[str]:
    """Fields of one byte as they are written, most significant first."""
    return fields if order == "high_first" else fields[::-1]
