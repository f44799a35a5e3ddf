"""The arithmetic that a bound is about: dtypes, unit roundoffs, the factors of ADM-2 and ADM-3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from quant_reference.errors import SpecError

FAILURE = 1e-9
"""Probability that some element of one result breaks its probable bound (ADM-3)."""

EXTRA = 5
"""Roundings of a sum of products beyond one for each of its terms (ADM-2)."""

ULP: Mapping[str, float] = MappingProxyType(
    {
        "div": 2.5,
        "sqrt": 3,
        "rsqrt": 2,
        "exp": 3,
        "log": 3,
        "tanh": 5,
        "erf": 16,
        "pow": 16,
        "sin": 4,
        "cos": 4,
        "asin": 4,
        "acos": 4,
        "atan": 5,
        "atan2": 6,
        "tan": 5,
        "sinh": 4,
        "cosh": 4,
        "asinh": 4,
        "acosh": 4,
        "atanh": 5,
        "exp2": 3,
        "expm1": 3,
        "log1p": 2,
        "log2": 3,
        "log10": 3,
    }
)
"""Error that a function may have, in units in the last place of its result (ADM-5)."""


@dataclass(frozen=True)
class Binary:
    """A floating-point dtype as the numbers that error bounds are made of.

    Attributes:
        unit: Unit roundoff u: a rounded normal result is off by at most u times its magnitude.
        tiny: Half the distance of two subnormals: what a rounding may add where the result
            underflows gradually (ADM-4).
        least_normal: Least positive normal number.
        greatest: Greatest finite number.
        dtype: Of numpy.
    """

    unit: float
    tiny: float
    least_normal: float
    greatest: float
    dtype: np.dtype[Any]


BINARY: Mapping[str, Binary] = MappingProxyType(
    {
        "float32": Binary(
            2.0**-24, 2.0**-150, 2.0**-126, (2 - 2.0**-23) * 2.0**127, np.dtype(np.float32)
        ),
        "float16": Binary(2.0**-11, 2.0**-25, 2.0**-14, 65504.0, np.dtype(np.float16)),
    }
)

FLOAT64_UNIT = 2.0**-53


@dataclass(frozen=True)
class Arithmetic:
    """In what a program computes (ADM-1).

    Attributes:
        values: dtype in which operands and results are held and elementwise functions are
            evaluated, ``"float32"`` or ``"float16"``.
        accumulate: dtype in which products are made and sums are accumulated; at least as wide.

    Raises:
        SpecError: Another dtype, or sums narrower than the values.
    """

    values: str = "float32"
    accumulate: str = "float32"

    def __post_init__(self) -> None:
        for name in ("values", "accumulate"):
            given = getattr(self, name)
            if given not in BINARY:
                raise SpecError(
                    f"{name} of an arithmetic",
                    given=given,
                    allowed=", ".join(BINARY),
                    clause="ADM-1",
                )
        if (self.values, self.accumulate) == ("float32", "float16"):
            raise SpecError(
                "sums narrower than their values",
                given="values float32, accumulate float16",
                allowed="accumulate at least as wide as values",
                clause="ADM-1",
            )

    @property
    def value(self) -> Binary:
        """The dtype of values, as numbers."""
        return BINARY[self.values]

    @property
    def sum(self) -> Binary:
        """The dtype of sums, as numbers."""
        return BINARY[self.accumulate]

    @property
    def mixed(self) -> bool:
        """Whether a sum is rounded once more when it is stored."""
        return self.values != self.accumulate

    def to_dict(self) -> dict[str, str]:
        """Plain form, the inverse of :meth:`from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Arithmetic:
        """Build an arithmetic from its plain form; omitted keys are float32.

        Raises:
            SpecError: An unknown key or dtype.
        """
        for key in mapping:
            if key not in ("values", "accumulate"):
                raise SpecError(
                    "unknown key of an arithmetic",
                    given=key,
                    allowed="values, accumulate",
                    clause="ADM-1",
                )
        return cls(**mapping)


FLOAT32 = Arithmetic()


def gamma(roundings: float, unit: float) -> float:
    """γ_n = nu/(1 − nu): what n roundings can do to a product, in any order (ADM-2).

    Infinite where nu >= 1: there the classical analysis says nothing.
    """
    total = roundings * unit
    return total / (1 - total) if total < 1 else math.inf


def gamma_probable(roundings: int, unit: float, elements: int) -> float:
    """γ̃_n(λ) of Higham and Mary (2019): what n roundings do but with probability 1e-9 (ADM-3).

    γ̃_n(λ) = exp(λ√n·u + n·u²/(1 − u)) − 1. Theorem 2.4 there: one product of n roundings exceeds
    it with a probability of at most 2·exp(−λ²(1 − u)²/2), if the errors are independent (or mean
    independent) with mean zero. The union over all ``elements`` times n products of a tensor is
    kept below :data:`FAILURE`, which gives λ. Never more than γ_n.
    """
    if roundings == 0 or elements == 0:
        return 0.0
    events = 2.0 * roundings * elements
    likelihood = math.sqrt(2 * math.log(events / FAILURE)) / (1 - unit)
    exponent = likelihood * math.sqrt(roundings) * unit + roundings * unit**2 / (1 - unit)
    probable = math.expm1(exponent) if exponent < 700 else math.inf
    return min(probable, gamma(roundings, unit))
