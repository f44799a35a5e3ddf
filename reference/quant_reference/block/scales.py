"""Scales of blocks from their greatest magnitudes (BLK-3, BLK-4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference._arrays import Float32, float_array, widen
from quant_reference.block.forms import BlockForm, blocks_of_axis, with_tail
from quant_reference.block.rules import UnsignedRule, get_rule, unsigned_rule
from quant_reference.encoding import decode, encode
from quant_reference.errors import InputError
from quant_reference.formats import Format

Array = NDArray[Any]
F32 = np.float32
NAN_SCALE = 255


def block_scale(
    x: Array,
    form: BlockForm,
    tensor_amax: Array | None = None,
    rule: str | None = None,
) -> NDArray[np.uint8]:
    """Codes of the scales of a tensor's blocks (BLK-3, BLK-4).

    Args:
        x: float16, bfloat16 or float32.
        form: How it is cut into blocks.
        tensor_amax: Greatest magnitude of the whole tensor, for a format of two levels.
        rule: A rule of BLK-3 or BLK-4; the reference's if None.

    Returns:
        uint8 codes of the scale format, one for each block.

    Raises:
        InputError: What BLK-2 and BLK-4 refuse.
        SpecError: An unknown rule.
    """
    name = get_rule(rule, "scale", form.two_levels)
    values = widen(float_array(x, "x", "BLK-2"))
    amax = block_amax(values, form)
    with np.errstate(all="ignore"):
        if form.two_levels:
            return unsigned_scale(amax, tensor_scale_source(tensor_amax), unsigned_rule(name))
        return power_scale(amax, form.element, name)


def block_amax(values: Float32, form: BlockForm) -> Float32:
    """Greatest magnitude of each block; NaN if there is one (BLK-2, BLK-3)."""
    axis = form.check(values.shape)
    view = blocks_of_axis(with_tail(values, form), form)
    greatest = view.max(axis=axis + 1, initial=0.0)
    least = view.min(axis=axis + 1, initial=0.0)
    return np.asarray(np.maximum(greatest, -least))


def power_scale(amax: Float32, element: Format, rule: str) -> NDArray[np.uint8]:
    """E8M0 codes (BLK-3)."""
    exponent = scale_exponent(amax, element, rule) - element.max_pow2
    code = clamped_exponent(np.where(amax > 0, exponent, -127)) + 127
    return np.where(np.isfinite(amax), code, NAN_SCALE).astype(np.uint8)


def clamped_exponent(exponent: Array) -> Array:
    """Exponents that E8M0 holds (BLK-3)."""
    return np.clip(exponent, -127, 127)


def scale_exponent(amax: Float32, element: Format, rule: str) -> Array:
    """The exponent that a rule reads from a positive number (BLK-3)."""
    half, above = np.frexp(amax)
    significand, floor = 2 * half, above.astype(np.int64) - 1
    bits = element.mantissa_bits
    greatest = element.quant_max / 2.0**element.max_pow2
    if rule == "floor_log2_float32":
        finite = np.where(np.isfinite(amax) & (amax > 0), amax, 1).astype(np.float64)
        return np.asarray(np.floor(np.log2(finite).astype(F32)).astype(np.int64))
    up = {
        "floor": np.zeros(amax.shape, bool),
        "ceil": significand > 1,
        "even": significand >= 2 - 2.0 ** -(bits + 1),
        "up_beyond": significand > greatest,
        "up_rounding": np.rint(significand * 2.0**bits) > greatest * 2.0**bits,
    }[rule]
    return np.asarray(floor + up)


def tensor_scale_source(tensor_amax: Array | None) -> Float32:
    """The greatest magnitude of a tensor as float32; refuse what gives no scale (BLK-4)."""
    found = np.asarray(1.0 if tensor_amax is None else tensor_amax)
    if tensor_amax is None or found.size != 1 or found.dtype != F32:
        given = None if tensor_amax is None else f"{found.dtype}{found.shape}"
        raise InputError("tensor_amax", given=given, allowed="one float32", clause="BLK-4")
    value = found.reshape(())
    if not (np.isfinite(value) and value >= 2.0**-100):
        raise InputError(
            "tensor_amax", given=float(value), allowed="a finite number from 2^-100", clause="BLK-4"
        )
    return np.asarray(value)


def tensor_scale(source: Float32) -> Float32:
    """g, by which codes are multiplied (BLK-4)."""
    return np.asarray(source / F32(2688))


def inverse_tensor_scale(source: Float32) -> Float32:
    """G, by which numbers are multiplied (BLK-4)."""
    return np.asarray(F32(2688) / source)


def unsigned_scale(amax: Float32, source: Float32, rule: UnsignedRule) -> NDArray[np.uint8]:
    """Unsigned E4M3 codes of NVFP4 blocks (BLK-4)."""
    real = unrounded_scale(amax, source, rule.order)
    floor = {"zero": 0.0, "least": 2.0**-9, "normal": 2.0**-6}[rule.least]
    held = np.clip(real, F32(floor), F32(448))
    return rounded_scale(held, rule.rounding)


def unrounded_scale(amax: Float32, source: Float32, order: str) -> Float32:
    """Amax / 6 in units of the tensor's scale, each operation rounded to float32 (BLK-4)."""
    if order == "quotient":
        return np.asarray((amax / F32(6)) / tensor_scale(source))
    if order == "product_first":
        return np.asarray(amax / (F32(6) * tensor_scale(source)))
    if order == "inverse":
        return np.asarray(inverse_tensor_scale(source) * (amax / F32(6)))
    return np.asarray(inverse_tensor_scale(source) * (amax * (F32(1) / F32(6))))


def rounded_scale(real: Float32, rounding: str) -> NDArray[np.uint8]:
    """To E4M3: nearest, ties to even, or the next value above or below (BLK-4)."""
    codes = encode(real, "float8_ue4m3")
    value = decode(codes, "float8_ue4m3")
    if rounding == "up":
        codes = codes + (value < real)
    elif rounding == "down":
        codes = codes - (value > real)
    return codes.astype(np.uint8)
