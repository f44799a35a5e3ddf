"""Roundings of requantization, on whole chunks and in place (INT-5 to INT-7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from quant_reference.integer.codes import INT32_MAX, INT32_MIN, Array, Int64

SIGN = 63
"""Right shift that leaves -1 of a negative int64 and 0 of any other."""


def ties_even(values: Array) -> Array:
    """Round floats to integers, ties to the even one (INT-5)."""
    return np.rint(values, out=values)


def ties_away(values: Array) -> Array:
    """Round floats to integers, ties away from zero (INT-5)."""
    whole = np.trunc(values)
    values -= whole  # exact
    values += values  # exact: twice the fraction
    whole += np.trunc(values, out=values)
    return whole


FLOAT_ROUNDINGS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {"even": ties_even, "away": ties_away}
)
"""Name -> rounding of floats to integers (INT-5)."""


def _half(shift: Int64) -> Int64:
    """Half a unit of a right shift, 0 for a shift by nothing."""
    return (np.int64(1) << shift) >> 1


def _up(product: Int64, shift: Int64) -> Int64:
    product += _half(shift)
    product >>= shift
    return product


def _away(product: Int64, shift: Int64) -> Int64:
    product += product >> SIGN
    return _up(product, shift)


def _even(product: Int64, shift: Int64) -> Int64:
    product += _half(shift)
    tie = (product & ((np.int64(1) << shift) - 1)) == 0
    product >>= shift
    product -= tie & (product & 1)
    return product


def _odd(product: Int64, shift: Int64) -> Int64:
    inexact = (product & ((np.int64(1) << shift) - 1)) != 0
    product >>= shift
    product |= inexact
    return product


def _floor(product: Int64, shift: Int64) -> Int64:
    product >>= shift
    return product


def _toward_zero(product: Int64, shift: Int64) -> Int64:
    product += (product >> SIGN) & ((np.int64(1) << shift) - 1)
    product >>= shift
    return product


SHIFT_ROUNDINGS: Mapping[str, Callable[[Int64, Int64], Int64]] = MappingProxyType(
    {
        "up": _up,
        "away": _away,
        "even": _even,
        "odd": _odd,
        "floor": _floor,
        "toward_zero": _toward_zero,
    }
)
"""Name -> rounding of a product by a right shift of at least 1 (INT-6)."""


def wrapped(values: Int64) -> Int64:
    """The low 32 bits as a signed number, in place."""
    values <<= 32
    values >>= 32
    return values


def saturated(values: Int64) -> Int64:
    """Clamped to the range of int32, in place."""
    return np.clip(values, INT32_MIN, INT32_MAX, out=values)


def shifted_left(values: Int64, shift: Int64, saturates: bool) -> Int64:
    """The left shift in front of a high multiplication, within 32 bits (INT-7).

    Args:
        values: int32 values as int64; overwritten.
        shift: Of the multiplier; below 31 the rest goes to the left.
        saturates: Clamp what leaves 32 bits instead of wrapping it.
    """
    left = np.maximum(31 - shift, 0)
    if not left.any():
        return values
    values <<= left
    return saturated(values) if saturates else wrapped(values)


def doubling_high(values: Int64, multiplier: Int64, rounds: bool) -> Int64:
    """The high half of twice a product of 32 bits each, rounded with ties up or floored (INT-7)."""
    values *= multiplier
    if rounds:
        values += 1 << 30
    values >>= 31
    return values


def rest_shifted(values: Int64, shift: Int64, away: bool) -> Int64:
    """The rounding right shift behind a high multiplication, ties up or away (INT-7)."""
    right = np.maximum(shift - 31, 0)
    if away:
        values += (values >> SIGN) & -(right > 0).astype(np.int64)  # below 0, if there is a shift
    return _up(values, right)
