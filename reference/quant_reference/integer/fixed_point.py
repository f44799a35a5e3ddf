"""Multipliers as an integer and a shift (INT-4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from quant_reference.errors import InputError, SpecError
from quant_reference.integer.codes import Array, Int64

MAX_SHIFT = 62
"""Greatest right shift: the product of an int32 and 31 bits, and a rounding constant, fit int64."""

FIXED_POINT_FORMS: Mapping[str, int] = MappingProxyType(
    {"q31": 31, "q15": 15, "q15_reduced": 15, "power_of_two": 1}
)
"""Name of a fixed-point form -> bits of its multiplier (INT-4)."""


@dataclass(frozen=True)
class FixedPoint:
    """Multipliers ``multiplier · 2^−shift`` (INT-4).

    Attributes:
        multiplier: int64, 0 to 2^31 − 1.
        shift: int64, a right shift of 1 to 62 bits. TFLite and CMSIS-NN count a left shift from
            the other end, 31 − shift.
    """

    multiplier: Int64
    shift: Int64

    def __post_init__(self) -> None:
        """Refuse what is no multiplier or no shift (INT-4)."""
        pairs = (("multiplier", 0, 2**31 - 1), ("shift", 1, MAX_SHIFT))
        for name, least, most in pairs:
            values = np.asarray(getattr(self, name))
            if values.dtype.kind not in "iu":
                raise InputError(
                    f"fixed-point {name}", given=values.dtype, allowed="integers", clause="INT-4"
                )
            wrong = (values < least) | (values > most)
            if wrong.any():
                raise InputError(
                    f"fixed-point {name}",
                    given=values[wrong].flat[0],
                    allowed=f"{least} to {most}",
                    clause="INT-4",
                )
            object.__setattr__(self, name, values.astype(np.int64))


def fixed_point(multiplier: Array, form: str) -> FixedPoint:
    """Round real multipliers to a fixed-point form (INT-4).

    Args:
        multiplier: float32 or float64, positive and finite (INT-3).
        form: A key of :data:`FIXED_POINT_FORMS`.

    Raises:
        SpecError: Unknown form.
        InputError: A multiplier of 2^30 or more, one that is not positive, or another dtype.
    """
    if form not in FIXED_POINT_FORMS:
        allowed = ", ".join(FIXED_POINT_FORMS)
        raise SpecError("fixed-point form", given=form, allowed=allowed, clause="INT-4")
    real = np.asarray(multiplier)
    if real.dtype not in (np.float32, np.float64):
        raise InputError(
            "multiplier", given=real.dtype, allowed="float32 or float64", clause="INT-4"
        )
    wrong = ~((real > 0) & (real < 2.0**30))
    if wrong.any():
        raise InputError(
            "multiplier", given=real[wrong].flat[0], allowed="above 0, below 2^30", clause="INT-4"
        )
    if form == "power_of_two":
        narrow = _rounded(real, 1)
        return FixedPoint(narrow.multiplier << 30, narrow.shift + 30)
    if form == "q15_reduced":
        wide = _rounded(real, 31)
        # The greatest multiplier does not carry into a 16th bit.
        reduced = np.minimum((wide.multiplier + 2**15) >> 16, 2**15 - 1)
        return FixedPoint(reduced, wide.shift - 16)
    return FixedPoint(*_rounded(real, FIXED_POINT_FORMS[form]))


class _Rounded(NamedTuple):
    multiplier: Int64
    shift: Int64


def _rounded(real: Array, bits: int) -> _Rounded:
    """The nearest mantissa of so many bits, ties up, and its shift; below 2^−31 both are plain."""
    fraction, exponent = np.frexp(real.astype(np.float64))
    scaled = fraction * 2.0**bits  # exact
    mantissa = np.floor(scaled)
    mantissa += scaled - mantissa >= 0.5
    carried = mantissa == 2.0**bits
    mantissa = np.where(carried, 2.0 ** (bits - 1), mantissa).astype(np.int64)
    shift = bits - (exponent.astype(np.int64) + carried)
    tiny = shift > MAX_SHIFT - 31 + bits
    return _Rounded(np.where(tiny, 0, mantissa), np.where(tiny, bits, shift))
