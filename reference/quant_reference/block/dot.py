"""The dot product of two block-scaled tensors (BLK-8)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference.block.elements import block_dequantize, scale_values
from quant_reference.block.forms import BlockTensor
from quant_reference.block.rules import get_rule
from quant_reference.block.scales import tensor_scale, tensor_scale_source
from quant_reference.encoding import decode
from quant_reference.errors import InputError

F32 = np.float32


def block_dot(a: BlockTensor, b: BlockTensor, rule: str | None = None) -> NDArray[np.float32]:
    """The dot product of two vectors of whole blocks of one size (BLK-8).

    Args:
        a: A vector.
        b: A vector with the same blocks.
        rule: A rule of BLK-8; the reference's if None.

    Returns:
        float32 of rank 0.

    Raises:
        InputError: Not two vectors of the same whole blocks.
        SpecError: An unknown rule.
    """
    name = get_rule(rule, "dot", a.form.two_levels)
    check_operands(a, b)
    if name == "float32_elements":
        return elementwise_dot(*(operand_values(t) for t in (a, b)))
    sums = block_sums(a, b)
    scales = [scale_values(t.scales, t.form, t.codes.shape) for t in (a, b)]
    outer = [
        tensor_scale(tensor_scale_source(t.tensor_amax))
        if t.form.two_levels
        else np.asarray(F32(1))
        for t in (a, b)
    ]
    if sums is None or not all(np.isfinite(scale).all() for scale in scales):
        return np.asarray(F32(np.nan))
    if name == "exact":
        return exact_dot(sums, scales, outer)
    total = F32(0)
    with np.errstate(all="ignore"):
        for part, first, second in zip(sums, *scales, strict=True):
            total = total + rounded_to_float32(part) * (first * second)
        return np.asarray(total * (outer[0] * outer[1]))


def block_sums(a: BlockTensor, b: BlockTensor) -> list[Fraction] | None:
    """The exact sums of the products of each block, or None if an element is no number (BLK-8)."""
    x, y = (decode(t.codes, t.form.element) for t in (a, b))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    products = [Fraction(p) * Fraction(q) for p, q in zip(x.tolist(), y.tolist(), strict=True)]
    size = a.form.size
    return [sum(products[i : i + size], Fraction(0)) for i in range(0, len(products), size)]


def check_operands(a: BlockTensor, b: BlockTensor) -> None:
    """Refuse what are not two vectors of the same whole blocks (BLK-8)."""
    same = a.form.size == b.form.size and a.codes.shape == b.codes.shape
    if not same or a.codes.ndim != 1 or a.codes.size % a.form.size or not a.codes.size:
        raise InputError(
            "operands of a dot product",
            given=f"{a.codes.shape} by {a.form.size}, {b.codes.shape} by {b.form.size}",
            allowed="two vectors of the same whole blocks",
            clause="BLK-8",
        )


def operand_values(tensor: BlockTensor) -> NDArray[np.float32]:
    """The values of an operand (BLK-6)."""
    return block_dequantize(tensor.codes, tensor.scales, tensor.form, tensor.tensor_amax)


def elementwise_dot(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float32]:
    """Products and sums in float32, one after the other (BLK-8)."""
    total = F32(0)
    with np.errstate(all="ignore"):
        for product in x * y:
            total = total + product
    return np.asarray(total)


def exact_dot(
    sums: list[Fraction], scales: list[NDArray[Any]], outer: list[NDArray[Any]]
) -> NDArray[np.float32]:
    """The exact sum, rounded once to float32 (BLK-8)."""
    pairs = zip(sums, *(scale.tolist() for scale in scales), strict=True)
    total = sum((s * Fraction(p) * Fraction(q) for s, p, q in pairs), Fraction(0))
    for scale in outer:
        total *= Fraction(float(scale))
    return np.asarray(rounded_to_float32(total))


def rounded_to_float32(value: Fraction) -> np.float32:
    """The nearest float32, ties to even (CONV-1)."""
    size = abs(value)
    if size == 0:
        return F32(0)
    exponent = max(size.numerator.bit_length() - size.denominator.bit_length() - 1, -127)
    while size >= Fraction(2) ** (exponent + 1):
        exponent += 1
    unit = Fraction(2) ** (max(exponent, -126) - 23)
    with np.errstate(over="ignore"):
        nearest = F32(float(round(size / unit) * unit))
    return -nearest if value < 0 else nearest
