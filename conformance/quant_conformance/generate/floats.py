"""Exact float32, float16 and bfloat16 building blocks for the inputs of cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from quant_reference import decode, get_format

Array = NDArray[Any]
Float32 = NDArray[np.float32]

DTYPES: Final = ("float32", "float16", "bfloat16")
NUMPY_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
_BITS: Final[Mapping[int, np.dtype[Any]]] = {4: np.dtype(np.uint32), 2: np.dtype(np.uint16)}

FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
FLOAT32_TINY: Final = 2.0**-149
"""Least positive (subnormal) float32."""


def f32(*values: float) -> Float32:
    """Return a 1-D float32 array; a value between two float32 numbers is rounded."""
    with np.errstate(over="ignore"):
        return np.array(values, np.float64).astype(np.float32)


def cast(values: Array, dtype: str) -> Array:
    """Round to a dtype; what is beyond its greatest number becomes that number."""
    target = NUMPY_DTYPES[dtype]
    limit = float(ml_dtypes.finfo(target).max)  # type: ignore[no-untyped-call]
    inside = np.where(np.isinf(values), values, np.clip(values, -limit, limit))
    # float32 first: ml_dtypes rounds float64 through float32, and this makes it plain to see.
    with np.errstate(over="ignore"):
        return inside.astype(np.float32).astype(target)


def bits(values: Array) -> Array:
    """View floats as the unsigned integers that hold them."""
    return np.ascontiguousarray(values).view(_BITS[values.dtype.itemsize])


def from_bits(*patterns: int, dtype: str = "float32") -> Array:
    """Return the 1-D array of floats with the given bit patterns."""
    target = NUMPY_DTYPES[dtype]
    return np.array(patterns, _BITS[target.itemsize]).view(target)


def step(values: Array, steps: int | Sequence[int] | Array) -> Array:
    """Move floats by a number of representable values: +1 is the next greater one.

    Both zeros count as one value; stepping away from either may give either.
    """
    pattern = bits(values).astype(np.int64)
    width = 8 * values.dtype.itemsize
    top = np.int64(1) << np.int64(width - 1)
    ranks = np.where(pattern & top, -(pattern & (top - 1)), pattern) + np.asarray(steps, np.int64)
    moved = np.where(ranks < 0, top | -ranks, ranks).astype(_BITS[values.dtype.itemsize])
    return moved.view(values.dtype)


def around(values: Array, steps: Sequence[int] = (-1, 0, 1)) -> Array:
    """Return each value with its neighbours, in a new last axis."""
    return step(np.asarray(values)[..., None], np.asarray(steps))


def finite_codes(name: str, *, negative: bool = True) -> Array:
    """Codes of a float format whose values are finite, in order of the code."""
    fmt = get_format(name)
    codes = np.arange(2**fmt.bits if negative else 2 ** (fmt.bits - 1), dtype=np.uint8)
    finite: Array = codes[np.isfinite(decode(codes, fmt))]
    return finite


def midpoints(name: str) -> Float32:
    """Points half-way between neighbouring non-negative values of a float format, ascending.

    The midpoint is formed from exact fractions of the two values, independently of any encoder.

    Raises:
        ValueError: If a midpoint is not a float32 number.
    """
    values = [Fraction(float(v)) for v in decode(finite_codes(name, negative=False), name)]
    exact = [(low + high) / 2 for low, high in pairwise(values)]
    halves = np.array([float(m) for m in exact], np.float32)
    if any(Fraction(float(h)) != m for h, m in zip(halves, exact, strict=True)):
        raise ValueError(f"a midpoint of {name} is not a float32 number")
    return halves


def same_bits(a: Array, b: Array) -> bool:
    """Tell whether two arrays agree in dtype, shape and every bit."""
    return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()
