"""Block scaling on exact fractions, one block or element at a time (BLK-1 to BLK-8)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

from quant_reference.formats import FORMATS, Format
from quant_reference.oracle.arithmetic import (
    add,
    clamp,
    divide,
    greatest,
    is_zero,
    multiply,
)
from quant_reference.oracle.codes import decode, encode
from quant_reference.oracle.number import (
    FLOAT32,
    NAN,
    ZERO,
    Number,
    floor_log2,
    nearest,
    number,
    power,
    round_to,
)

ONE, SIX, SPAN = number(1), number(6), number(2688)


def _amax(block: Sequence[Number]) -> Number:
    found = ZERO
    for one in block:
        found = greatest(found, Number(False, one.magnitude, one.kind))
    return found


def mx_scale(block: Sequence[Number], element: str, rule: str, nonfinite: str = "nan_scale") -> int:
    """Code of a block's E8M0 scale (BLK-3)."""
    form, amax = FORMATS[element], _amax(block)
    if amax.kind != "finite":
        return 255 if nonfinite == "nan_scale" else 255 - form.max_pow2
    if is_zero(amax):
        return 0
    exponent = _exponent(amax.magnitude, form, rule) - form.max_pow2
    return max(-127, min(127, exponent)) + 127


def _exponent(amax: Fraction, form: Format, rule: str) -> int:
    floor = floor_log2(amax)
    low = power(floor)
    top = Fraction(form.quant_max) / power(form.max_pow2)
    if rule == "floor":
        return floor
    if rule == "ceil":
        return floor if amax == low else floor + 1
    if rule == "up_beyond":
        return floor if amax <= top * low else floor + 1
    if rule == "even":
        # Half up; at the last step, where alone it matters, that is half to even.
        steps = amax / low * 2**form.mantissa_bits
        return (
            floor_log2(Fraction((steps + Fraction(1, 2)).__floor__())) - form.mantissa_bits + floor
        )
    if rule == "up_rounding":
        rounded = nearest(amax, form.mantissa_bits + 1, -(10**6))
        return floor if rounded <= top * low else floor + 1
    # floor_log2_float32: sixty digits decide every logarithm of a float32.
    with localcontext() as context:
        context.prec = 60
        two = Decimal(2).ln()
        exact = (Decimal(amax.numerator).ln() - Decimal(amax.denominator).ln()) / two
        rounded_log = round_to(number(Fraction(exact)), FLOAT32)
    return rounded_log.exact.__floor__()


def unsigned_scale(block: Sequence[Number], tensor_amax: Number, rule: str) -> int:
    """Code of a block's unsigned E4M3 scale (BLK-4)."""
    order, *rest = rule.split("+")
    amax, g, inverse = _amax(block), _scale_of(tensor_amax), _inverse_of(tensor_amax)
    if order == "quotient":
        real = divide(divide(amax, SIX, FLOAT32), g, FLOAT32)
    elif order == "product_first":
        real = divide(amax, multiply(SIX, g, FLOAT32), FLOAT32)
    elif order == "inverse":
        real = multiply(inverse, divide(amax, SIX, FLOAT32), FLOAT32)
    else:
        sixth = divide(ONE, SIX, FLOAT32)
        real = multiply(inverse, multiply(amax, sixth, FLOAT32), FLOAT32)
    least = power(-9) if "least" in rest else power(-6) if "normal" in rest else Fraction(0)
    real = clamp(real, number(least), number(448))
    if real.is_nan:
        return 0x7F
    if "up" in rest:
        return next(c for c in range(127) if decode(c, "float8_ue4m3").exact >= real.exact)
    if "down" in rest:
        return max(c for c in range(127) if decode(c, "float8_ue4m3").exact <= real.exact)
    return encode(real, "float8_ue4m3")


def _scale_of(tensor_amax: Number) -> Number:
    return divide(tensor_amax, SPAN, FLOAT32)


def _inverse_of(tensor_amax: Number) -> Number:
    return divide(SPAN, tensor_amax, FLOAT32)


def element_code(
    x: Number, scale: Number, element: str, rule: str, tensor_amax: Number | None = None
) -> int:
    """Code of one element under a scale (BLK-5)."""
    form = FORMATS[element]
    if is_zero(scale):
        return 0
    scaled = _scaled(x, scale, rule, tensor_amax)
    if scaled.is_nan and form.kind == "fixed":
        scaled = ZERO
    bounded = clamp(scaled, number(form.quant_min), number(form.quant_max))
    return encode(bounded, element)


def _scaled(x: Number, scale: Number, rule: str, tensor_amax: Number | None) -> Number:
    if tensor_amax is None:
        return divide(x, scale, FLOAT32)
    g, inverse = _scale_of(tensor_amax), _inverse_of(tensor_amax)
    both = multiply(scale, g, FLOAT32)
    if rule == "quotient":
        return divide(x, both, FLOAT32)
    if rule == "quotients":
        return divide(divide(x, scale, FLOAT32), g, FLOAT32)
    if rule == "reciprocal":
        return multiply(x, divide(ONE, both, FLOAT32), FLOAT32)
    if rule == "reciprocals":
        return multiply(x, divide(divide(ONE, g, FLOAT32), scale, FLOAT32), FLOAT32)
    if rule == "inverse_quotient":
        return divide(x, divide(scale, inverse, FLOAT32), FLOAT32)
    return multiply(x, divide(inverse, scale, FLOAT32), FLOAT32)


def value(
    code: int, scale: Number, element: str, rule: str, tensor_amax: Number | None = None
) -> Number:
    """Value of one element (BLK-6)."""
    q = decode(code, element)
    if tensor_amax is None:
        return multiply(q, scale, FLOAT32)
    g, inverse = _scale_of(tensor_amax), _inverse_of(tensor_amax)
    if rule == "scales_first":
        return multiply(q, multiply(scale, g, FLOAT32), FLOAT32)
    if rule == "block_first":
        return multiply(multiply(q, scale, FLOAT32), g, FLOAT32)
    if rule == "inverse_quotient":
        return multiply(q, divide(scale, inverse, FLOAT32), FLOAT32)
    return divide(multiply(q, scale, FLOAT32), inverse, FLOAT32)


def block_index(index: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """The block of an element (BLK-1, BLK-2)."""
    return (*index[:axis], index[axis] // size, *index[axis + 1 :])


def swizzled(scales: Sequence[Sequence[int]]) -> list[int]:
    """The bytes of a matrix of scales, each put where its row and column say (BLK-7)."""
    rows, columns = len(scales), len(scales[0])
    down, across = -(-rows // 128), -(-columns // 4)
    packed = [0] * (down * across * 512)
    for row in range(rows):
        for column in range(columns):
            tile = row // 128 * across + column // 4
            inside = row % 32 * 16 + row % 128 // 32 * 4 + column % 4
            packed[512 * tile + inside] = scales[row][column]
    return packed


def dot(
    a: Sequence[tuple[Number, Number]],
    b: Sequence[tuple[Number, Number]],
    size: int,
    rule: str,
    outer: tuple[Number, Number] = (ONE, ONE),
) -> Number:
    """The dot product of two vectors of (element, scale of its block) (BLK-8).

    Args:
        a: A vector.
        b: Another.
        size: Elements of a block.
        rule: A rule of BLK-8.
        outer: The scales of the tensors.
    """
    everything = [*outer, *(part for pair in (*a, *b) for part in pair)]
    if rule == "float32_elements":
        total = ZERO
        for (p, s), (q, t) in zip(a, b, strict=True):
            x = multiply(p, multiply(s, outer[0], FLOAT32), FLOAT32)
            y = multiply(q, multiply(t, outer[1], FLOAT32), FLOAT32)
            total = add(total, multiply(x, y, FLOAT32), FLOAT32)
        return total
    if any(part.kind != "finite" for part in everything):
        return NAN
    if rule == "exact":
        exact = sum(
            (p.exact * s.exact * q.exact * t.exact for (p, s), (q, t) in zip(a, b, strict=True)),
            Fraction(0),
        )
        return round_to(number(exact * outer[0].exact * outer[1].exact), FLOAT32)
    total = ZERO
    for start in range(0, len(a), size):
        pairs = list(zip(a[start : start + size], b[start : start + size], strict=True))
        exact = sum((p.exact * q.exact for (p, _), (q, _) in pairs), Fraction(0))
        part = round_to(number(exact), FLOAT32)
        scale = multiply(pairs[0][0][1], pairs[0][1][1], FLOAT32)
        total = add(total, multiply(part, scale, FLOAT32), FLOAT32)
    return multiply(total, multiply(outer[0], outer[1], FLOAT32), FLOAT32)
