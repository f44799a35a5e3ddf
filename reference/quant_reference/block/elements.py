"""Elements of blocks: divided by their scales and rounded, and multiplied back (BLK-5, BLK-6)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference._arrays import Float32, float_array, widen
from quant_reference._fast import map_blocks
from quant_reference.block.forms import BlockForm, cut, with_tail
from quant_reference.block.rules import get_rule
from quant_reference.block.scales import inverse_tensor_scale, tensor_scale, tensor_scale_source
from quant_reference.encoding import clamp, code_array, decode_codes, encode_element, encode_fixed
from quant_reference.errors import InputError
from quant_reference.formats import Format

Array = NDArray[Any]
F32 = np.float32
ONE = np.asarray(F32(1))


def block_quantize(
    x: Array,
    scales: NDArray[np.uint8],
    form: BlockForm,
    tensor_amax: Array | None = None,
    rule: str | None = None,
) -> Array:
    """Codes of a tensor's elements under given scales (BLK-5).

    Args:
        x: float16, bfloat16 or float32.
        scales: Codes of the scales, as ``block_scale`` gives them.
        form: How the tensor is cut into blocks.
        tensor_amax: As for ``block_scale``.
        rule: A rule of BLK-5 for a format of two levels; the reference's if None.

    Returns:
        Codes in the shape of x, or of the padded tensor.

    Raises:
        InputError: Scales of another shape or dtype; what BLK-2 and BLK-4 refuse.
        SpecError: An unknown rule.
    """
    name = get_rule(rule, "quantize", form.two_levels)
    values = widen(float_array(x, "x", "BLK-2"))
    block = scale_values(scales, form, values.shape)
    whole = with_tail(values, form)
    if form.two_levels:
        source = tensor_scale_source(tensor_amax)
        kind, factor = quotient_factor(block, source, name)
        formula = partial(block_codes, form.element, kind, source)
    else:
        factor, formula = block, partial(block_codes, form.element, "power_of_two", ONE)
    codes = map_blocks(formula, (whole,), (factor, block), form.element.code_dtype)
    return cut(codes, form, values.shape)


def scale_values(scales: NDArray[np.uint8], form: BlockForm, shape: tuple[int, ...]) -> Float32:
    """Values of the scales; refuse what does not fit the tensor (BLK-5, BLK-6)."""
    codes = code_array(scales, form.scale, "BLK-5")
    wanted = form.blocks(shape)
    if codes.shape != wanted:
        raise InputError(
            "shape of the scales", given=codes.shape, allowed=str(wanted), clause="BLK-5"
        )
    return decode_codes(codes, form.scale)


def quotient_factor(block: Float32, source: Float32, rule: str) -> tuple[str, Float32]:
    """What an element is divided or multiplied by, and which of the two (BLK-5)."""
    g, inverse = tensor_scale(source), inverse_tensor_scale(source)
    with np.errstate(all="ignore"):
        if rule == "quotient":
            factor = block * g
        elif rule == "quotients":
            factor = block
        elif rule == "reciprocal":
            factor = F32(1) / (block * g)
        elif rule == "reciprocals":
            factor = (F32(1) / g) / block
        elif rule == "inverse_quotient":
            factor = block / inverse
        else:
            factor = inverse / block
    if rule == "quotients":
        return "twice", np.asarray(factor)
    return "divide" if "quotient" in rule else "multiply", np.asarray(factor)


def block_codes(
    element: Format, kind: str, source: Float32, x: Array, factor: Array, block: Array
) -> Array:
    """The formula of a part of a tensor (BLK-5)."""
    if kind == "power_of_two":
        scaled = scaled_by_power(x, factor)
    elif kind == "twice":
        scaled = (x / factor) / tensor_scale(source)
    else:
        scaled = x / factor if kind == "divide" else x * factor
    scaled = without_scale(scaled, block)
    return element_codes(scaled, element)


def scaled_by_power(x: Array, scale: Array) -> Array:
    """A number divided by a power of two; a NaN scale makes all of its block NaN (BLK-5)."""
    return np.asarray(x / scale)


def without_scale(scaled: Array, block: Array) -> Array:
    """Zeros where the scale is zero (BLK-5)."""
    return np.where(block == 0, F32(0), scaled)


def element_codes(scaled: Array, element: Format) -> Array:
    """Clamped and rounded as ENC-1 or ENC-9 say; NaN as the element format has it (BLK-5)."""
    if element.kind == "fixed":
        return encode_fixed(np.where(np.isnan(scaled), F32(0), scaled), element)
    return encode_element(clamp(scaled, element.quant_min, element.quant_max), element)


def block_dequantize(
    codes: Array,
    scales: NDArray[np.uint8],
    form: BlockForm,
    tensor_amax: Array | None = None,
    rule: str | None = None,
) -> Float32:
    """Values of a block-scaled tensor (BLK-6).

    Args:
        codes: Codes of the elements.
        scales: Codes of the scales.
        form: How the tensor is cut into blocks.
        tensor_amax: As for ``block_scale``.
        rule: A rule of BLK-6 for a format of two levels; the reference's if None.

    Raises:
        InputError: Codes or scales of another shape or dtype; what BLK-2 and BLK-4 refuse.
        SpecError: An unknown rule.
    """
    name = get_rule(rule, "dequantize", form.two_levels)
    given = code_array(codes, form.element, "BLK-6")
    block = scale_values(scales, form, given.shape)
    source = tensor_scale_source(tensor_amax) if form.two_levels else ONE
    whole = with_tail(given, form)
    formula = partial(block_values, form.element, name, source)
    return cut(map_blocks(formula, (whole,), (block,), "float32"), form, given.shape)


def block_values(element: Format, rule: str, source: Float32, codes: Array, block: Array) -> Array:
    """The formula of a part of a tensor (BLK-6)."""
    values = decode_codes(codes, element)
    if rule == "power_of_two":
        return np.asarray(values * block)
    g, inverse = tensor_scale(source), inverse_tensor_scale(source)
    if rule == "scales_first":
        return np.asarray(values * (block * g))
    if rule == "block_first":
        return np.asarray((values * block) * g)
    if rule == "inverse_quotient":
        return np.asarray(values * (block / inverse))
    return np.asarray((values * block) / inverse)
