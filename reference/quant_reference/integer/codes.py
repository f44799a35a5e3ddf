"""Formats that the codes of an integer layer may have (INT-1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference.errors import FormatError, InputError

Array = NDArray[Any]
Int64 = NDArray[np.int64]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
ACCUMULATOR_DTYPES = (np.dtype(np.int32), np.dtype(np.int64))


@dataclass(frozen=True)
class CodeFormat:
    """Range and storage of one integer format (INT-1).

    Attributes:
        name: Its name.
        quant_min: Least code.
        quant_max: Greatest code.
        dtype: numpy dtype of an array of codes.
    """

    name: str
    quant_min: int
    quant_max: int
    dtype: np.dtype[Any]


CODE_FORMATS: Mapping[str, CodeFormat] = MappingProxyType(
    {
        name: CodeFormat(name, low, high, np.dtype(dtype))
        for name, low, high, dtype in (
            ("int4", -8, 7, "int8"),
            ("uint4", 0, 15, "uint8"),
            ("int8", -128, 127, "int8"),
            ("uint8", 0, 255, "uint8"),
            ("int16", -32768, 32767, "int16"),
        )
    }
)
"""Every format of INT-1 by its name."""


def code_format(name: str) -> CodeFormat:
    """Look a format up by its name (INT-1).

    Raises:
        FormatError: There is no such format.
    """
    if not isinstance(name, str) or name not in CODE_FORMATS:
        allowed = ", ".join(CODE_FORMATS)
        raise FormatError("format of codes", given=name, allowed=allowed, clause="INT-1")
    return CODE_FORMATS[name]


def accumulators(values: object, clause: str) -> Array:
    """Return values as an int32 or int64 array in native byte order.

    Raises:
        InputError: Another dtype.
    """
    array = np.asarray(values)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype not in ACCUMULATOR_DTYPES:
        raise InputError(
            "dtype of the accumulators", given=array.dtype, allowed="int32 or int64", clause=clause
        )
    return array


def scales(values: object, name: str, clause: str) -> NDArray[np.float32]:
    """Return a float32 scale, or one for each channel, that is positive, finite and normal.

    Raises:
        InputError: Another dtype or rank, or a value that is no such number.
    """
    array = np.asarray(values)
    if array.dtype != np.float32 or array.ndim > 1 or array.size == 0:
        raise InputError(
            name,
            given=f"{array.dtype} of shape {array.shape}",
            allowed="float32, one value or one for each channel",
            clause=clause,
        )
    array = array.astype(np.float32, copy=False)
    bad = ~(np.isfinite(array) & (array >= np.finfo(np.float32).tiny))
    if bad.any():
        raise InputError(
            name, given=array[bad].flat[0], allowed="positive normal numbers", clause=clause
        )
    return array
