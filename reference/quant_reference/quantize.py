"""quantize, dequantize and fake_quantize (SPEC.md, Q-1 to Q-8, DQ-1 to DQ-4, FQ-1 to FQ-4).

Every operation shows the same phases: validate, scale, round, clamp, cast. All arithmetic is
float32, one rounding per operation. The phases are computed part by part (``_fast``), which
changes no bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_reference._arrays import Array, Float32, float_array, widen
from quant_reference._fast import over, parts
from quant_reference.encoding import (
    cast_code,
    clamp,
    code_array,
    decode_codes,
    encode_element,
    round_code,
)
from quant_reference.formats import Format, get_format
from quant_reference.legality import checked_params
from quant_reference.qparams import QParams, codes_in_use
from quant_reference.spec import QuantizationSpec, check_spec

divide = np.divide
"""True division, rounded once to float32 (Q-1)."""


def quantize(x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
    """Quantize a tensor to codes.

    Clauses Q-1 (true division), Q-2 (ties to even), Q-3 (zero point, clamp), Q-4 (minval), Q-5
    (float formats), Q-6 (NaN), Q-7 (clamp before any cast), Q-8 (qparams that are accepted).

    Args:
        x: Any rank; float16, bfloat16 or float32.
        spec: Gives dtype, qscheme and qformulation.
        qparams: Rank of x, one entry per block; blocks are read off the two shapes.

    Returns:
        Codes in the shape of x: int8 for signed formats, uint8 for unsigned ones, bit codes in
        uint8 for float formats.

    Raises:
        InputError: Wrong dtype or rank, qparams that do not tile x or are not legal (Q-8).
    """
    values = float_array(x, "x", "Q-1")
    scale, offset = checked_params(values.shape, spec, qparams, "Q-8")
    fmt, (least, greatest) = get_format(spec.dtype), codes_in_use(spec)
    work = parts((values,), (scale, offset), fmt.code_dtype)
    with np.errstate(all="ignore"):  # special values are results by rule and not accidents
        for part, part_scale, part_offset in work:
            unclamped = unclamped_codes(part, spec, part_scale, part_offset)
            if fmt.is_integer:
                clamped = clamp(unclamped, least, greatest)
                codes = cast_code(without_nan(clamped, spec, part_offset), fmt)
            else:
                clamped = clamp_float(with_sign(unclamped, part), least, greatest)
                codes = encode_element(clamped, fmt)
            work.store(codes)
    return work.result


def dequantize(codes: Array, spec: QuantizationSpec, qparams: QParams) -> Float32:
    """Dequantize codes.

    Clauses DQ-1 (zero point), DQ-2 (minval: two roundings), DQ-3 (float formats), DQ-4 (codes
    that are accepted).

    Args:
        codes: Any rank; int8, or uint8 for unsigned and float formats.
        spec: Gives dtype, qscheme and qformulation.
        qparams: Rank of codes, one entry per block.

    Returns:
        float32 values in the shape of codes.

    Raises:
        InputError: Wrong dtype, a code outside the format's width (DQ-4), or qparams that do
            not tile the codes or are not legal (Q-8).
    """
    check_spec(spec)
    fmt = get_format(spec.dtype)
    checked = code_array(codes, fmt, "DQ-4")
    scale, offset = checked_params(checked.shape, spec, qparams, "Q-8")
    work = parts((checked,), (scale, offset), np.dtype(np.float32))
    with np.errstate(all="ignore"):
        for part, part_scale, part_offset in work:
            work.store(values_of(decode_codes(part, fmt), spec, part_scale, part_offset))
    return work.result


def fake_quantize(x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
    """Quantize and dequantize in one step, keeping the dtype.

    Clauses FQ-1 (the composition, in float32), FQ-2 (NaN stays NaN), FQ-3 (cast back), FQ-4 (no
    negative zero from an integer format).

    Args:
        x: Any rank; float16, bfloat16 or float32.
        spec: Gives dtype, qscheme and qformulation.
        qparams: Rank of x, one entry per block.

    Returns:
        Values in the shape and dtype of x.

    Raises:
        InputError: As for :func:`quantize`.
    """
    values = float_array(x, "x", "FQ-1")
    scale, offset = checked_params(values.shape, spec, qparams, "Q-8")
    fmt, (least, greatest) = get_format(spec.dtype), codes_in_use(spec)
    work = parts((values,), (scale, offset), values.dtype)
    with np.errstate(all="ignore"):
        for part, part_scale, part_offset in work:
            unclamped = unclamped_codes(part, spec, part_scale, part_offset)
            if fmt.is_integer:
                clamped = codes = clamp(unclamped, least, greatest)
            else:
                clamped = clamp_float(unclamped, least, greatest)
                codes = decode_codes(encode_element(clamped, fmt), fmt)
            faked = values_of(codes, spec, part_scale, part_offset)
            work.store(cast_back(with_nan(faked, clamped, fmt), values.dtype))
    return work.result


def unclamped_codes(
    x: Array, spec: QuantizationSpec, scale: Float32, offset: Float32 | None
) -> Float32:
    """Codes before the clamp, as float32; of a float format the quotient, which is encoded later.

    Each operation rounds once (CONV-2); ``rint`` is that of CONV-3.

    Args:
        x: A part of the tensor.
        spec: Gives dtype and qformulation.
        scale: Of the part's blocks.
        offset: zero_point or minval of the blocks, as float32; None for float formats.
    """
    if offset is None:
        return quotient(x, scale)
    if spec.qformulation == "minval":
        least = np.float32(codes_in_use(spec)[0])
        steps = over(divide, above_minval(x, offset), scale)
        return over(np.add, round_code(steps), least)
    return over(np.add, round_code(quotient(x, scale)), offset)


def quotient(x: Array, scale: Float32) -> Float32:
    """The quotient x/scale in float32, whatever the dtype of x (Q-1)."""
    return divide(widen(x), scale)


def above_minval(x: Array, minval: Float32) -> Float32:
    """The difference x - minval in float32 (Q-4)."""
    return widen(x) - minval


def clamp_float(values: Float32, least: float, greatest: float) -> Float32:
    """Clamp the quotient of a float format (Q-5); may overwrite values."""
    return over(np.clip, values, least, greatest)


def without_nan(codes: Float32, spec: QuantizationSpec, offset: Float32) -> Float32:
    """Codes with that of NaN in its place (Q-6)."""
    nan = np.isnan(codes)
    return np.where(nan, code_of_nan(spec, offset), codes) if nan.any() else codes


def code_of_nan(spec: QuantizationSpec, offset: Float32) -> Float32 | np.float32:
    """What an integer format stores for NaN (Q-6).

    The zero point dequantizes to 0; under minval quant_min takes its place.
    """
    return np.float32(codes_in_use(spec)[0]) if spec.qformulation == "minval" else offset


def with_sign(values: Float32, x: Array) -> Float32:
    """NaN with the sign of x: that of inf/inf is the machine's choice (ENC-4)."""
    nan = np.isnan(values)
    return np.where(nan, np.copysign(values, widen(x)), values) if nan.any() else values


def values_of(
    codes: Float32, spec: QuantizationSpec, scale: Float32, offset: Float32 | None
) -> Float32:
    """From codes held as float32 to values (DQ-1 to DQ-3); may overwrite codes."""
    if offset is None:
        return multiply(codes, scale)
    if spec.qformulation == "minval":
        return minval_values(codes, spec, scale, offset)
    return multiply(less_zero_point(codes, offset), scale)


def less_zero_point(codes: Float32, zero_point: Float32) -> Float32:
    """The exact difference (DQ-1); may overwrite codes."""
    return over(np.subtract, codes, zero_point)


def minval_values(
    codes: Float32, spec: QuantizationSpec, scale: Float32, minval: Float32
) -> Float32:
    """A product and a sum, each rounded (DQ-2); may overwrite codes."""
    above = over(np.subtract, codes, np.float32(codes_in_use(spec)[0]))
    return over(np.add, multiply(above, scale), minval)


def multiply(codes: Float32, scale: Float32) -> Float32:
    """A product, rounded once to float32 (DQ-1 to DQ-3); may overwrite codes."""
    return over(np.multiply, codes, scale)


def with_nan(values: Float32, clamped: Float32, fmt: Format) -> Float32:
    """NaN stays NaN, also in a format that has no code for it (FQ-2)."""
    if fmt.is_integer or fmt.has_nan:
        return values
    return np.where(np.isnan(clamped), clamped, values)


def cast_back(values: Float32, dtype: np.dtype[Any]) -> Array:
    """Round to x's dtype (FQ-3)."""
    return values.astype(dtype, copy=False)
