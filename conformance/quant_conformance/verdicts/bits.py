"""How a single element is written for people: decimal, hex float and bits."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from quant_conformance.protocol import Array
from quant_reference.formats import get_format
from quant_reference.spec import QuantizationSpec

Ordinals = NDArray[np.int64]

CODE_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in (
        "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "float8_e8m0fnu", "float8_e3m4",
        "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz", "float6_e2m3fn",
        "float6_e3m2fn",
    )
} | {"float8_e4m3ieee": np.dtype(ml_dtypes.float8_e4m3)}  # fmt: skip
"""Float formats whose uint8 codes ml_dtypes can read."""


def is_float(array: Array) -> bool:
    """Tells whether the elements are floating point, ml_dtypes' included."""
    return array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16


def bits_of(array: Array) -> NDArray[np.unsignedinteger[Any]]:
    """Returns the bit patterns, as unsigned integers of the elements' width."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").reshape(array.shape)


def code_values(codes: Array, fmt: str) -> NDArray[np.float32]:
    """Reads uint8 codes of a float format as float32, by ml_dtypes and not by the reference."""
    return codes.view(CODE_DTYPES[fmt]).astype(np.float32)


def ordinals(array: Array, fmt: str | None = None) -> tuple[Ordinals, NDArray[np.bool_]]:
    """Numbers the elements along their grid, so that neighbours differ by one.

    Args:
        array: integers, floats of any width up to 32 bits, or uint8 codes of a float format.
        fmt: the float format, if the array holds codes of one.

    Returns:
        The numbers, both zeros being 0 and an infinity following the greatest finite value;
        and a mask of the elements that are NaN, whose numbers mean nothing.
    """
    if fmt is not None:
        nan = np.isnan(code_values(array, fmt))
        if get_format(fmt).kind == "scale":  # an exponent alone: no sign
            return array.astype(np.int64), nan
        return _signed_magnitude(array.astype(np.int64), get_format(fmt).bits), nan
    if is_float(array):
        bits = bits_of(array).astype(np.int64)
        return _signed_magnitude(bits, 8 * array.dtype.itemsize), np.isnan(array)
    return array.astype(np.int64), np.zeros(array.shape, np.bool_)


def code_ordinals(codes: Array, spec: QuantizationSpec) -> Ordinals:
    """The numbers of the codes of a spec, NaN's included; see :func:`ordinals`."""
    return ordinals(codes, None if spec.format.is_integer else spec.dtype)[0]


def _signed_magnitude(bits: Ordinals, width: int) -> Ordinals:
    magnitude = bits & ((1 << (width - 1)) - 1)
    return np.where(bits >> (width - 1) & 1, -magnitude, magnitude)


class Written(NamedTuple):
    """One element for people.

    Attributes:
        decimal: the shortest decimal that reads back as the same element.
        hex_float: as C's %a writes it; empty for an integer.
        bits: the bit pattern, ``0x3dcccccd``; of an element of a float format its code.
    """

    decimal: str
    hex_float: str
    bits: str


def written(array: Array, index: tuple[int, ...], fmt: str | None = None) -> Written:
    """Writes one element in its three forms.

    Args:
        array: where the element is.
        index: its position.
        fmt: the float format, if the array holds uint8 codes of one.
    """
    element = array[index]
    bits = f"0x{int(bits_of(np.asarray(element))):0{2 * array.dtype.itemsize}x}"
    if fmt is not None:
        value = float(code_values(np.asarray(element), fmt))
        return Written(f"{value:g}", hex_float(value), bits)
    if is_float(array):
        return Written(decimal(element), hex_float(float(element)), bits)
    return Written(str(int(element)), "", bits)


def show(array: Array, index: tuple[int, ...], fmt: str | None = None) -> str:
    """Writes one element as a phrase: ``0.1 (0x1.99999ap-4, bits 0x3dcccccd)``.

    An integer is ``-3 (bits 0xfd)``, a code of a float format ``code 0x39 = 1.125 (0x1.2p+0)``.
    The arguments are those of ``written``.
    """
    words = written(array, index, fmt)
    if fmt is not None:
        return f"code {words.bits} = {words.decimal} ({words.hex_float})"
    inside = ", ".join(word for word in (words.hex_float, f"bits {words.bits}") if word)
    return f"{words.decimal} ({inside})"


def decimal(element: Any) -> str:
    """Writes the shortest decimal that reads back as the same element of its dtype."""
    if np.dtype(element.dtype) == ml_dtypes.bfloat16:
        return f"{float(element):.9g}"
    return str(element)


def hex_float(value: float) -> str:
    """Writes a float as C's %a does, without trailing zeros: ``0x1.8p+0``, ``nan``."""
    return re.sub(r"\.?0+p", "p", value.hex())
