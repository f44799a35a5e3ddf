"""quantize, dequantize and fake_quantize (SPEC.md, Q-1 to Q-8, DQ-1 to DQ-4, FQ-1 to FQ-4).

Every operation shows the same phases: validate, scale, round, clamp, cast. All arithmetic is
float32, one rounding per operation.
"""

from __future__ import annotations

import numpy as np

from quant_reference._arrays import (
    Array,
    Float32,
    check_blocks,
    float_array,
    map_blocks,
    to_float32,
)
from quant_reference.encoding import code_array, decode, encode_float
from quant_reference.errors import InputError
from quant_reference.qparams import QParams
from quant_reference.spec import QuantizationSpec, check_spec


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
    params = checked_params(values.shape, spec, qparams, "Q-8")
    fmt = spec.format

    def codes_of(chunk: Array, scale: Float32, *offset: Array) -> Array:
        real = real_codes(to_float32(chunk), spec, scale, *offset)
        if not fmt.is_integer:
            # The sign of inf/inf is the machine's choice; a quotient has the sign of x (ENC-4).
            signed = np.copysign(real, to_float32(chunk), out=real)
            return encode_float(np.clip(signed, spec.quant_min, spec.quant_max), fmt)
        clamped = np.clip(real, spec.quant_min, spec.quant_max)
        # NaN has no code; the zero point dequantizes to 0, under minval quant_min stands in.
        for_nan = offset[0] if spec.qformulation == "zp" else np.float32(spec.quant_min)
        return np.where(np.isnan(clamped), for_nan, clamped).astype(fmt.code_dtype)

    return map_blocks(codes_of, (values,), params, np.dtype(fmt.code_dtype))


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
    fmt = spec.format
    checked = code_array(codes, fmt, "DQ-4")
    params = checked_params(checked.shape, spec, qparams, "Q-8")

    def values_of(chunk: Array, scale: Float32, *offset: Array) -> Array:
        return _from_real(decode(chunk, fmt), spec, scale, *offset)

    return map_blocks(values_of, (checked,), params, np.dtype(np.float32))


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
    params = checked_params(values.shape, spec, qparams, "Q-8")
    fmt = spec.format

    def values_of(chunk: Array, scale: Float32, *offset: Array) -> Array:
        real = real_codes(to_float32(chunk), spec, scale, *offset)
        clamped = np.clip(real, spec.quant_min, spec.quant_max, out=real)  # keeps NaN
        if not fmt.is_integer:
            rounded = decode(encode_float(clamped, fmt), fmt)
            clamped = rounded if fmt.has_nan else np.where(np.isnan(clamped), clamped, rounded)
        return _from_real(clamped, spec, scale, *offset).astype(values.dtype, copy=False)

    return map_blocks(values_of, (values,), params, values.dtype)


def real_codes(x: Float32, spec: QuantizationSpec, scale: Float32, *offset: Array) -> Float32:
    """Unclamped codes as float32: rounded for integer formats, x/scale for float formats.

    Args:
        x: A chunk of the tensor.
        spec: Gives dtype and qformulation.
        scale: Of the chunk's blocks.
        *offset: zero_point or minval of the blocks, as float32; nothing for float formats.
    """
    if not spec.format.is_integer:
        return np.divide(x, scale)
    if spec.qformulation == "minval":
        real = np.subtract(x, offset[0])
        real /= scale
        zero: Array | np.float32 = np.float32(spec.quant_min)
    else:
        real = np.divide(x, scale)
        zero = offset[0]
    np.rint(real, out=real)
    real += zero
    return real


def _from_real(codes: Float32, spec: QuantizationSpec, scale: Float32, *offset: Array) -> Float32:
    """Values of codes given as float32, computed in place."""
    if spec.format.is_integer:
        codes -= np.float32(spec.quant_min) if spec.qformulation == "minval" else offset[0]
    codes *= scale
    if spec.qformulation == "minval":
        codes += offset[0]
    return codes


def checked_params(
    shape: tuple[int, ...], spec: QuantizationSpec, qparams: QParams, clause: str
) -> tuple[Array, ...]:
    """The scale and, for integer formats, the offset of the formulation, all as float32."""
    check_spec(spec)
    if not isinstance(qparams, QParams):
        raise InputError("qparams", given=qparams, allowed="a QParams", clause=clause)
    scale = _parameter("scale", qparams.scale, np.float32, clause)
    if not (np.isnan(scale) | (scale > 0)).all():
        raise InputError(
            "scale", given=scale.min(), allowed="positive, +infinity or NaN", clause=clause
        )
    if spec.scale_dtype is not None:
        mantissa, exponent = np.frexp(scale)
        legal = np.isnan(scale) | ((mantissa == 0.5) & (exponent >= -126) & (exponent <= 128))
        if not legal.all():
            raise InputError(
                "e8m0 scale",
                given=scale[~legal].flat[0],
                allowed="a power of two from 2**-127 to 2**127, or NaN",
                clause=clause,
            )
    check_blocks(shape, scale.shape, clause)
    if not spec.format.is_integer:
        return (scale,)
    if spec.qformulation == "minval":
        offset = _parameter("minval", qparams.minval, np.float32, clause)
    else:
        offset = _parameter("zero_point", qparams.zero_point, np.int32, clause)
        if not ((offset >= spec.quant_min) & (offset <= spec.quant_max)).all():
            raise InputError(
                f"zero_point for {spec.dtype}, {spec.qscheme}",
                given=f"{offset.min()} to {offset.max()}",
                allowed=f"{spec.quant_min} to {spec.quant_max}",
                clause=clause,
            )
    if offset.shape != scale.shape:
        raise InputError(
            "shape of the offset", given=offset.shape, allowed=str(scale.shape), clause=clause
        )
    return scale, to_float32(offset)


def _parameter(name: str, value: object, dtype: type, clause: str) -> Array:
    array = np.asarray(value)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if value is None or array.dtype != np.dtype(dtype):
        raise InputError(
            f"{name} in qparams",
            given="None" if value is None else array.dtype,
            allowed=np.dtype(dtype).name,
            clause=clause,
        )
    return array
