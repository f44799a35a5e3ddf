"""encode and decode: numbers to codes and back (SPEC.md, ENC-1 to ENC-11 and DEC-1)."""

from __future__ import annotations

import numpy as np

from quant_reference._arrays import Array, Float32, float_array, native, widen
from quant_reference._fast import cast_from_codes, cast_to_codes, enabled, in_chunks, over
from quant_reference.errors import FormatError, InputError
from quant_reference.formats import Format, codec_format


def encode(x: Array, format: str | Format) -> Array:
    """Round numbers to the nearest code of a format, ties to the even code.

    Clauses ENC-1 (rounding), ENC-2 (subnormals), ENC-3 (sign of zero), ENC-4 (NaN), ENC-5
    (overflow and infinities saturate), ENC-6 (e8m0), ENC-7 (integers), ENC-8 (formats without
    -0), ENC-9 (mxint8), ENC-10 (unsigned E4M3), ENC-11 (tables).

    Args:
        x: Any shape; float16, bfloat16 or float32.
        format: Name of the format, or the format.

    Returns:
        Codes in the shape of x: int8 for signed integers and mxint8, uint8 for the rest; FP4 and
        FP6 codes are in the low bits.

    Raises:
        FormatError: Unknown format (FMT-4); a value that a scale format cannot hold (ENC-6,
            ENC-10).
        InputError: Another dtype (ENC-1); a NaN for a format that has none and no policy for it
            (ENC-7, ENC-9, ENC-11).
    """
    fmt = codec_format(format)
    values = widen(float_array(x, "x", "ENC-1"))
    if fmt.kind == "scale":
        check_scale_values(values)
        return encode_scale(values, fmt)
    # numpy's kernels for SSE2 raise the flag for values beyond int32.
    with np.errstate(invalid="ignore"):
        if fmt.kind == "float":
            if not fmt.signed:
                check_not_negative(values, fmt)
                values = np.abs(values)
            return in_chunks(lambda part: encode_element(saturate(part, fmt), fmt), values)
        if fmt.kind == "fixed":
            return encode_fixed(values, fmt)
        if fmt.kind == "table":
            return encode_table(values, fmt)
        check_not_nan(values)
        rounded = round_code(values.copy())
        return np.asarray(cast_code(clamp(rounded, fmt.quant_min, fmt.quant_max), fmt))


def check_not_negative(values: Float32, fmt: Format) -> None:
    """Refuse negative numbers for a format without a sign; -0 is no such number (ENC-10)."""
    negative = values < 0
    if negative.any():
        raise FormatError(
            f"{fmt.name} has no sign",
            given=float(values[negative].flat[0]),
            allowed="numbers from 0, and NaN",
            clause="ENC-10",
        )


def fixed_unit(fmt: Format) -> float:
    """The value of the code 1 of a fixed-point format (FMT-6)."""
    return float(2.0**-fmt.mantissa_bits)


def encode_fixed(values: Float32, fmt: Format) -> Array:
    """Whole numbers of units, ties to even, clamped to the codes of the format (ENC-9)."""
    check_not_nan(values, "ENC-9")
    with np.errstate(over="ignore"):
        steps = fixed_steps(values, fmt)
    return np.clip(steps, *fixed_bounds(fmt)).astype(fmt.code_dtype)


def fixed_steps(values: Float32, fmt: Format) -> Float32:
    """Values counted in units, rounded to the nearest whole number, ties to even (ENC-9)."""
    return np.asarray(np.rint(values * np.float32(1 / fixed_unit(fmt))), np.float32)


def fixed_bounds(fmt: Format) -> tuple[float, float]:
    """Least and greatest code of a fixed-point format (FMT-6)."""
    return -(2.0 ** (fmt.bits - 1)), 2.0 ** (fmt.bits - 1) - 1


def encode_table(values: Float32, fmt: Format) -> Array:
    """The code of the nearest value; of two equally near ones the lower (ENC-11)."""
    check_not_nan(values, "ENC-11")
    return np.searchsorted(table_limits(fmt), values.astype(np.float64)).astype(np.uint8)


def table_limits(fmt: Format) -> Array:
    """The midpoints of neighbouring values of a table, exact in float64 (ENC-11)."""
    table = np.array(fmt.values, np.float64)
    return np.asarray((table[:-1] + table[1:]) / 2)


def round_code(values: Float32) -> Float32:
    """Round to an integer, ties to even (Q-2, ENC-7); may overwrite values."""
    return over(np.rint, values)


def clamp(values: Float32, least: float, greatest: float) -> Float32:
    """Clamp in floating point, before any cast; NaN stays (Q-3, Q-4, Q-7); may overwrite values."""
    return over(np.clip, values, least, greatest)


def cast_code(values: Float32, fmt: Format) -> Array:
    """From whole float32 numbers in range to codes (FMT-1, Q-7)."""
    return values.astype(fmt.code_dtype)


def check_not_nan(values: Float32, clause: str = "ENC-7") -> None:
    """Refuse NaN for an integer, fixed-point or table format (ENC-7, ENC-9, ENC-11)."""
    if np.isnan(values).any():
        what = "an integer format" if clause == "ENC-7" else "the format"
        raise InputError(
            f"{what} has no code for NaN",
            given="NaN in x",
            allowed="numbers and infinities",
            clause=clause,
        )


def saturate(values: Float32, fmt: Format) -> Float32:
    """Values beyond ±max and infinities become ±max (ENC-5)."""
    return np.clip(values, fmt.quant_min, fmt.quant_max)


def encode_element(values: Float32, fmt: Format) -> Array:
    """Codes of values within ±max, or NaN (ENC-1 to ENC-4).

    The values are clamped first because casts disagree beyond ±max.
    """
    codes = cast_to_codes(values, fmt) if enabled() else nearest_code(values, fmt)
    if not fmt.negative_zero and not enabled():
        codes = without_negative_zero(codes, fmt)
    nan = np.isnan(values)
    if nan.any():
        codes = np.where(nan, nan_code(sign_bit(values, fmt), fmt), codes)
    return codes.astype(np.uint8, copy=False)


def nearest_code(values: Float32, fmt: Format) -> Array:
    """Codes of numbers within ±max, built from exponent and fraction (ENC-1 to ENC-3)."""
    magnitude = np.abs(values)
    # Of a subnormal the step is that of the least normal number (ENC-2).
    least = least_exponent(fmt)
    exponent = np.maximum(np.where(magnitude > 0, np.frexp(magnitude)[1] - 1, least), least)
    exact = np.ldexp(magnitude, fmt.mantissa_bits - exponent)
    steps = np.where(np.isnan(exact), 0, round_element(exact, fmt)).astype(np.int32)
    return np.asarray(sign_bit(values, fmt) | magnitude_code(exponent, steps, fmt))


def round_element(steps: Float32, fmt: Format) -> Float32:
    """Round a magnitude counted in units in the last place, ties to even (ENC-1)."""
    return np.rint(steps)


def magnitude_code(exponent: Array, steps: Array, fmt: Format) -> Array:
    """The code without its sign, from the exponent and the rounded magnitude in steps (FMT-2)."""
    # The leading one of a normal number carries into the exponent field, as rounding up does.
    return np.asarray(((exponent + fmt.bias - 1) << fmt.mantissa_bits) + steps)


def least_exponent(fmt: Format) -> int:
    """Exponent of the least normal number, and of the subnormals (FMT-2)."""
    return 1 - fmt.bias


def sign_bit(values: Float32, fmt: Format) -> Array:
    """The sign in its place: set for negative numbers, -0 and negative NaN (ENC-3, ENC-4)."""
    if not fmt.signed:
        return np.zeros(values.shape, np.int32)
    return np.signbit(values).astype(np.int32) << (fmt.bits - 1)


def nan_code(sign: Array, fmt: Format) -> Array:
    """What is stored for NaN: the canonical code, or +0 in a format without NaN (ENC-4)."""
    if not fmt.negative_zero:
        return np.full_like(sign, fmt.nan_code)
    return sign * 0 if fmt.nan_code is None else sign | fmt.nan_code


def without_negative_zero(codes: Array, fmt: Format) -> Array:
    """The code of the sign alone, which is NaN in some formats, becomes that of zero (ENC-8)."""
    return np.where(codes == fmt.nan_code, 0, codes)


def check_scale_values(values: Float32) -> None:
    """Refuse what e8m0 cannot hold (ENC-6)."""
    with np.errstate(invalid="ignore"):  # some CPUs report a signalling NaN here
        legal = np.isnan(values) | is_e8m0(values)
    if not legal.all():
        raise FormatError(
            "float8_e8m0fnu holds powers of two only",
            given=float(values[~legal].flat[0]),
            allowed="exact powers of two from 2**-127 to 2**127, or NaN",
            clause="ENC-6",
        )


def is_e8m0(values: Float32) -> Array:
    """Where values are powers of two from 2**-127 to 2**127 (FMT-3)."""
    mantissa, exponent = np.frexp(values)  # value = mantissa * 2**exponent, 0.5 <= mantissa < 1
    return np.asarray((mantissa == 0.5) & (exponent >= -126) & (exponent <= 128))


def encode_scale(values: Float32, fmt: Format) -> Array:
    """The exponent field of powers of two; all ones for NaN (ENC-6)."""
    with np.errstate(invalid="ignore"):
        code = np.frexp(values)[1].astype(np.int32) - 1 + fmt.bias
    return np.where(np.isnan(values), np.int32(0xFF), code).astype(np.uint8)


def decode(codes: Array, format: str | Format) -> Float32:
    """Give the exact value of every code (DEC-1).

    Args:
        codes: Any shape; int8 for signed integer formats and mxint8, uint8 for the rest.
        format: Name of the format, or the format.

    Returns:
        float32 values in the shape of codes. Every finite code is exact in float32.

    Raises:
        FormatError: Unknown format (FMT-4).
        InputError: Another dtype, or a code outside the format's width (DEC-1).
    """
    fmt = codec_format(format)
    checked = code_array(codes, fmt, "DEC-1")
    return decode_codes(checked, fmt)


def decode_codes(codes: Array, fmt: Format) -> Float32:
    """Values of codes that were checked, in a new array (DEC-1)."""
    if fmt.is_integer:
        return codes.astype(np.float32)
    if fmt.kind == "fixed":
        return codes.astype(np.float32) * np.float32(fixed_unit(fmt))
    if fmt.kind == "table":
        return np.array(fmt.values, np.float32)[codes]
    if enabled():
        return cast_from_codes(codes, fmt)
    bits = codes.astype(np.int32)
    if fmt.kind == "scale":
        return decode_scale(bits, fmt)
    field = (bits >> fmt.mantissa_bits) & (2**fmt.exponent_bits - 1)
    fraction = bits & (2**fmt.mantissa_bits - 1)
    magnitude = np.where(
        field > 0, normal_value(field, fraction, fmt), subnormal_value(fraction, fmt)
    )
    magnitude = special_value(magnitude, field, fraction, fmt)
    if not fmt.signed:
        return magnitude
    values = signed(magnitude, (bits >> (fmt.bits - 1)) & 1)
    return values if fmt.negative_zero else nan_of_sign(values, bits, fmt)


def decode_scale(bits: Array, fmt: Format) -> Float32:
    """A power of two, or NaN (FMT-3)."""
    with np.errstate(over="ignore"):  # of the code of NaN, which would be 2**128
        value = np.ldexp(np.float32(1), bits - fmt.bias)
    return np.where(bits == 0xFF, np.float32(np.nan), value)


def normal_value(field: Array, fraction: Array, fmt: Format) -> Float32:
    """Magnitude with an exponent field above zero (FMT-2)."""
    significand = (fraction + (1 << fmt.mantissa_bits)).astype(np.float32)
    return np.asarray(np.ldexp(significand, field - fmt.bias - fmt.mantissa_bits))


def subnormal_value(fraction: Array, fmt: Format) -> Float32:
    """Magnitude with an exponent field of zero (FMT-2, ENC-2)."""
    step = 1 - fmt.bias - fmt.mantissa_bits
    return np.asarray(np.ldexp(fraction.astype(np.float32), step))


def nan_of_sign(values: Float32, bits: Array, fmt: Format) -> Float32:
    """The code of the sign alone is the NaN of a format without -0 (FMT-5)."""
    return np.where(bits == fmt.nan_code, -np.float32(np.nan), values)


def special_value(magnitude: Float32, field: Array, fraction: Array, fmt: Format) -> Float32:
    """NaN and infinity codes (FMT-2)."""
    top = field == 2**fmt.exponent_bits - 1
    if fmt.has_inf:
        special = np.where(fraction == 0, np.float32(np.inf), np.float32(np.nan))
        return np.where(top, special, magnitude)
    if fmt.nan_code is None or not fmt.negative_zero:
        return magnitude
    all_ones = top & (fraction == 2**fmt.mantissa_bits - 1)
    return np.where(all_ones, np.float32(np.nan), magnitude)


def signed(magnitude: Float32, sign: Array) -> Float32:
    """Apply the sign, to zeros too."""
    return np.where(sign == 1, -magnitude, magnitude)


def code_array(codes: object, fmt: Format, clause: str) -> Array:
    """Return codes in native byte order; refuse a wrong dtype or a code too wide for the format."""
    array = native(codes, "codes", fmt.code_dtype, clause)
    if array.dtype != np.dtype(fmt.code_dtype):
        raise InputError(
            f"dtype of {fmt.name} codes", given=array.dtype, allowed=fmt.code_dtype, clause=clause
        )
    if array.size and fmt.bits < 8:
        least, greatest = (
            (int(fmt.quant_min), int(fmt.quant_max)) if fmt.is_integer else (0, 2**fmt.bits - 1)
        )
        low, high = int(array.min()), int(array.max())
        if low < least or high > greatest:
            raise InputError(
                f"code outside the width of {fmt.name}",
                given=low if low < least else high,
                allowed=f"{least} to {greatest}",
                clause=clause,
            )
    return array
