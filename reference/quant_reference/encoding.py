"""encode and decode: numbers to codes and back (SPEC.md, ENC-1 to ENC-7 and DEC-1)."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from quant_reference._arrays import Array, Float32, float_array, native, to_float32
from quant_reference.errors import FormatError, InputError
from quant_reference.formats import Format, get_format

_ML_DTYPES: dict[str, np.dtype[Any]] = {
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float4_e2m1fn": np.dtype(ml_dtypes.float4_e2m1fn),
    "float8_e8m0fnu": np.dtype(ml_dtypes.float8_e8m0fnu),
}


def encode(x: Array, format: str | Format) -> Array:
    """Round numbers to the nearest code of a format, ties to the even code.

    Clauses ENC-1 (rounding), ENC-2 (subnormals), ENC-3 (sign of zero), ENC-4 (NaN), ENC-5
    (overflow and infinities saturate), ENC-6 (e8m0), ENC-7 (integers).

    Args:
        x: Any shape; float16, bfloat16 or float32.
        format: Name of the format, or the format.

    Returns:
        Codes in the shape of x: int8 for signed integers, uint8 for the rest; FP4 codes stand in
        the low nibble.

    Raises:
        FormatError: Unknown format (FMT-4); a value that e8m0 cannot hold (ENC-6).
        InputError: Another dtype (ENC-1); a NaN for an integer format (ENC-7).
    """
    fmt = get_format(format)
    values = to_float32(float_array(x, "x", "ENC-1"))
    if fmt.kind == "scale":
        return _encode_scale(values, fmt)
    if fmt.is_integer:
        if np.isnan(values).any():
            raise InputError(
                "an integer format has no code for NaN",
                given="NaN in x",
                allowed="numbers and infinities",
                clause="ENC-7",
            )
        # numpy's kernels for SSE2 raise the flag for values beyond int32.
        with np.errstate(invalid="ignore"):
            rounded = np.clip(np.rint(values), fmt.quant_min, fmt.quant_max)
        return np.asarray(rounded.astype(fmt.code_dtype))
    return np.asarray(encode_float(np.clip(values, fmt.quant_min, fmt.quant_max), fmt))


def encode_float(clamped: Float32, fmt: Format) -> Array:
    """Encode float32 values that are already inside ±max, or NaN (ENC-1 to ENC-4).

    One cast, straight from float32: ml_dtypes rounds float64 input twice. The range is clamped
    first because casts disagree beyond it.
    """
    with np.errstate(invalid="ignore"):  # numpy warns of casting a signalling NaN
        codes = clamped.astype(_ML_DTYPES[fmt.name]).view(np.uint8)
    nan = np.isnan(clamped)
    if nan.any():
        sign = np.signbit(clamped).astype(np.uint8) << (fmt.bits - 1)
        # A format without NaN stores +0 (ENC-4, policy nan_in_e2m1).
        canonical = np.uint8(0) if fmt.nan_code is None else sign | np.uint8(fmt.nan_code)
        codes = np.where(nan, canonical, codes)
    return codes


def _encode_scale(values: Float32, fmt: Format) -> Array:
    nan = np.isnan(values)
    with np.errstate(invalid="ignore"):  # some CPUs report a signalling NaN here
        mantissa, exponent = np.frexp(values)  # value = mantissa * 2**exponent, 0.5 <= mantissa < 1
    code = exponent.astype(np.int32) - 1 + fmt.bias
    legal = nan | ((mantissa == 0.5) & (code >= 0) & (code <= 254))
    if not legal.all():
        raise FormatError(
            "float8_e8m0fnu holds powers of two only",
            given=float(values[~legal].flat[0]),
            allowed="exact powers of two from 2**-127 to 2**127, or NaN",
            clause="ENC-6",
        )
    return np.where(nan, np.int32(0xFF), code).astype(np.uint8)


def decode(codes: Array, format: str | Format) -> Float32:
    """Give the exact value of every code (DEC-1).

    Args:
        codes: Any shape; int8 for signed integer formats, uint8 for the rest.
        format: Name of the format, or the format.

    Returns:
        float32 values in the shape of codes. Every finite code is exact in float32.

    Raises:
        FormatError: Unknown format (FMT-4).
        InputError: Another dtype, or a code outside the format's width (DEC-1).
    """
    fmt = get_format(format)
    checked = code_array(codes, fmt, "DEC-1")
    if fmt.is_integer:
        return checked.astype(np.float32)
    # A view of the same width needs no contiguous array, and a scalar must stay one.
    return checked.view(_ML_DTYPES[fmt.name]).astype(np.float32)


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
