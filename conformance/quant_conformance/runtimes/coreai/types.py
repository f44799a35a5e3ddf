"""Element types of Core AI by the suite's names, and numpy arrays to and from them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ELEMENT_TYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "int32": np.dtype(np.int32),
    "int8": np.dtype(np.int8),
    "uint8": np.dtype(np.uint8),
    "int4": np.dtype(ml_dtypes.int4),
    "uint4": np.dtype(ml_dtypes.uint4),
    "int2": np.dtype(ml_dtypes.int2),
    "uint2": np.dtype(ml_dtypes.uint2),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float8_e8m0fnu": np.dtype(ml_dtypes.float8_e8m0fnu),
    "float4_e2m1fn": np.dtype(ml_dtypes.float4_e2m1fn),
}
"""Name (of the suite and of ``coreai.authoring``) to the numpy dtype that the runtime takes."""

SUB_BYTE_INTEGERS = {"int4": np.int8, "uint4": np.uint8, "int2": np.int8, "uint2": np.uint8}
"""Integers narrower than a byte, with the dtype that the suite holds their codes in."""


def to_system(array: Array, name: str) -> Array:
    """Turns the suite's array (codes of low-bit floats are uint8 bits) into the system's dtype."""
    dtype = ELEMENT_TYPES[name]
    if array.dtype == dtype:
        return array
    if _is_bit_code(name):
        return array.view(dtype)
    return array.astype(dtype)


def from_system(array: Array) -> Array:
    """Turns the system's array into the suite's: low-bit floats as bits, narrow ints widened."""
    name = array.dtype.name
    if name in SUB_BYTE_INTEGERS:
        return array.astype(SUB_BYTE_INTEGERS[name])
    if _is_bit_code(name):
        return np.array(array, order="C", copy=True).view(np.uint8)
    return np.array(array, copy=True)


def _is_bit_code(name: str) -> bool:
    return name.startswith(("float8", "float4"))
