"""Number lines and code tables of every element format, as a page of Markdown with SVG in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quant_reference import decode
from quant_reference.formats import FORMATS, Format

WIDTH, HEIGHT, MARGIN = 720, 56, 28
_AXIS = 20


def page() -> str:
    """The page: for each format its properties, a number line and a table of its codes."""
    lines = [
        "# Formats in numbers",
        "",
        "Made from `quant_reference.formats` and `decode` (FMT-1 to FMT-8, DEC-1). A number line "
        "has a mark for each finite value, at its place. A table has a row for each high digit of "
        "the code, in hexadecimal, and a column for the low one.",
        "",
    ]
    for fmt in FORMATS.values():
        lines += [f"## {fmt.name}", "", _properties(fmt), ""]
        values = values_of(fmt)
        finite = sorted({float(v) for v in values if np.isfinite(v)})
        if fmt.name != "float8_e8m0fnu":  # whose values span 2^254: a line shows two of them
            lines += [number_line(finite, fmt.name), ""]
        lines += ['<div class="codes" markdown>', "", *code_table(values), "", "</div>", ""]
    return "\n".join(lines)


def values_of(fmt: Format) -> list[float]:
    """The value of each code, in the order of the bit patterns."""
    bits = np.arange(1 << fmt.bits, dtype=np.uint8)
    signed = fmt.code_dtype == "int8"
    # Integer codes are held sign-extended (FMT-1).
    codes = np.where(bits >> (fmt.bits - 1), bits.astype(np.int16) - (1 << fmt.bits), bits)
    held = codes.astype(np.int8) if signed else bits
    return [float(value) for value in decode(held, fmt.name)]


def number_line(values: Sequence[float], name: str) -> str:
    """An SVG with a mark for each value, linear from the least to the greatest."""
    low, high = values[0], values[-1]

    def place(value: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (value - low) / (high - low)

    marks = "".join(f"M{place(v):.1f} {_AXIS - 8}v16" for v in values)
    step = max(1, len(values) // 8) if len(values) > 16 else 1
    whole = all(value == int(value) for value in values)
    labelled = [*values[::step], high] if whole or step == 1 else [
        high * share for share in (-1, -0.5, -0.25, 0, 0.25, 0.5, 1)
    ]  # fmt: skip
    labels, taken = [], -float(WIDTH)
    for value in labelled:
        at = place(value)
        if at - taken > 8 * (1 + len(shown(value))):
            labels.append(f'<text x="{at:.1f}" y="{HEIGHT - 10}">{shown(value)}</text>')
            taken = at
    return (
        f'<svg class="line" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="the finite values of {name}">'
        f'<line x1="{MARGIN}" y1="{_AXIS}" x2="{WIDTH - MARGIN}" y2="{_AXIS}"/>'
        f'<path d="{marks}"/>{"".join(labels)}</svg>'
    )


def code_table(values: Sequence[float]) -> Iterator[str]:
    """A Markdown table of the values, sixteen codes a row or fewer."""
    width = min(16, len(values))
    digits = [f"_{low:X}" if len(values) > 16 else f"{low:X}" for low in range(width)]
    yield f"| code | {' | '.join(digits)} |"
    yield "|---|" + "--:|" * width
    for start in range(0, len(values), width):
        head = f"{start // 16:X}_" if len(values) > 16 else "value"
        yield f"| {head} | {' | '.join(shown(v) for v in values[start : start + width])} |"


def shown(value: float) -> str:
    """A value exactly: in decimal, or as a whole number times a power of two."""
    if value != value:
        return "NaN"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    sign = "−" if np.signbit(value) else ""
    size = abs(value)
    text = f"{size:.6g}"
    if float(text) == size and "e" not in text and (size == 0 or size >= 2.0**-4):
        return sign + text
    whole, power = int(np.frexp(size)[0] * 2**24), int(np.frexp(size)[1]) - 24
    while whole % 2 == 0:
        whole, power = whole // 2, power + 1
    factor = "" if whole == 1 else f"{whole}·"
    return f"{sign}{factor}2^{str(power).replace('-', '−')}"


def _properties(fmt: Format) -> str:
    if fmt.is_integer:
        return f"{fmt.bits} bits, codes {shown(fmt.quant_min)} to {shown(fmt.quant_max)}."
    if fmt.name == "float8_e8m0fnu":
        return f"{fmt.bits} bits, a format of scales: an exponent alone; code 255 is NaN."
    if fmt.kind == "table":
        return f"{fmt.bits} bits, a table of values."
    if fmt.kind == "fixed":
        return f"{fmt.bits} bits, two's complement in steps of 2^−{fmt.mantissa_bits}."
    sign = "" if fmt.signed else ", a format of scales, without a sign"
    return f"{fmt.bits} bits, greatest finite value {shown(float(fmt.quant_max))}{sign}."
