"""Arrays that the operations accept, and the two conversions that they share."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from quant_reference.errors import InputError

Array = NDArray[Any]
Float32 = NDArray[np.float32]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT_DTYPES = (np.dtype(np.float16), BFLOAT16, np.dtype(np.float32))


def native(x: object, name: str, allowed: str, clause: str) -> Array:
    """Return x in native byte order; refuse what is not an array of numbers (CONV-8)."""
    array = np.asarray(x)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind in "OSUMm" or (array.dtype.kind == "V" and array.dtype != BFLOAT16):
        raise InputError(
            f"{name}: not an array of numbers", given=array.dtype, allowed=allowed, clause=clause
        )
    return array


_FLOATS = "float16, bfloat16 or float32"


def float_array(x: object, name: str, clause: str) -> Array:
    """Return x in native byte order if its dtype is float16, bfloat16 or float32."""
    array = native(x, name, _FLOATS, clause)
    if array.dtype not in FLOAT_DTYPES:
        raise InputError(
            f"dtype of {name} is not supported", given=array.dtype, allowed=_FLOATS, clause=clause
        )
    return array


def widen(x: Array) -> Float32:
    """Widen to float32, which is exact for every accepted dtype."""
    return x.astype(np.float32, copy=False)


def narrow(values: Array, dtype: np.dtype[Any]) -> Float32:
    """Round float32 values to the nearest of ``dtype``, ties to even, kept as float32 (CONV-1)."""
    if dtype == np.float32:
        return widen(np.asarray(values))
    with np.errstate(over="ignore"):  # beyond float16's range the rounded value is an infinity
        return np.asarray(values).astype(dtype).astype(np.float32)
