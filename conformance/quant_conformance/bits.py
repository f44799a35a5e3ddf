"""How a single element is written for people: decimal, hex float and bits."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from quant_conformance.protocol import Array

CODE_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in ("float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "float8_e8m0fnu")
}
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


def show(array: Array, index: tuple[int, ...], fmt: str | None = None) -> str:
    """Writes one element: ``0.1 (0x1.99999ap-4, bits 0x3dcccccd)``, or ``-3 (bits 0xfd)``.

    Args:
        array: where the element stands.
        index: its position.
        fmt: the float format, if the array holds uint8 codes of one.
    """
    element = array[index]
    width = 2 * array.dtype.itemsize
    bits = f"bits 0x{int(bits_of(np.asarray(element))):0{width}x}"
    if fmt is not None:
        value = float(code_values(np.asarray(element), fmt))
        return f"code 0x{int(element):02x} = {value:g} ({hex_float(value)})"
    if is_float(array):
        return f"{decimal(element)} ({hex_float(float(element))}, {bits})"
    return f"{int(element)} ({bits})"


def decimal(element: Any) -> str:
    """Writes the shortest decimal that reads back as the same element of its dtype."""
    if np.dtype(element.dtype) == ml_dtypes.bfloat16:
        return f"{float(element):.9g}"
    return str(element)


def hex_float(value: float) -> str:
    """Writes a float as C's %a does, without trailing zeros: ``0x1.8p+0``, ``nan``."""
    return re.sub(r"\.?0+p", "p", value.hex())
