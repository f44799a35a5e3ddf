"""Pseudo-random inputs that are the same bits on every machine and with every numpy.

Every case draws from its own stream, keyed by a label, so adding a case moves no other. The
streams are SHAKE-256 output: numpy promises no stable streams for its Generator methods, and
float sampling may go through a CPU's own exp or log.
"""

from __future__ import annotations

import hashlib
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.floats import cast

Array = NDArray[Any]
Shape = tuple[int, ...]

SEED: Final = "quant-vectors"


def words(label: str, count: int) -> NDArray[np.uint32]:
    """Return ``count`` 32-bit words of the stream ``label``."""
    data = hashlib.shake_256(f"{SEED}/{label}".encode()).digest(4 * count)
    return np.frombuffer(data, "<u4").astype(np.uint32)


def integers(label: str, shape: Shape, low: int, high: int) -> NDArray[np.int64]:
    """Return integers in ``low … high``, both included, of the stream ``label``."""
    # The modulo's bias is at most (high - low) / 2**32: these are test inputs, not statistics.
    drawn = words(label, prod(shape)).astype(np.int64) % (high - low + 1) + low
    return drawn.reshape(shape)


def reals(
    label: str, shape: Shape, dtype: str = "float32", exponents: tuple[int, int] = (-4, 3)
) -> Array:
    """Return floats with random sign, fraction bits and exponent of the stream ``label``.

    Args:
        label: The stream.
        shape: Shape of the result.
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``.
        exponents: Least and greatest exponent, both included, of the float32 value.
    """
    count = prod(shape)
    drawn = words(label, 2 * count)
    low, high = exponents
    exponent = (drawn[count:] % np.uint32(high - low + 1)).astype(np.int64) + (low + 127)
    # Sign and fraction from one word, the exponent field put between them.
    bits = (drawn[:count] & np.uint32(0x807FFFFF)) | (exponent.astype(np.uint32) << np.uint32(23))
    return cast(bits.view(np.float32).reshape(shape), dtype)


def pick(label: str, count: int, among: int) -> NDArray[np.int64]:
    """Return ``count`` indices below ``among`` such that each comes up as often as possible."""
    order = np.argsort(words(label, count), kind="stable")
    return (np.arange(count) % among)[order]
