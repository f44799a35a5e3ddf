"""Element formats as data (SPEC.md, clauses FMT-1 to FMT-4)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from quant_reference.errors import FormatError

FormatKind = Literal["int", "uint", "float", "scale"]


@dataclass(frozen=True)
class Format:
    """One format as plain numbers: integer (FMT-1), float (FMT-2) or scale (FMT-3).

    Attributes:
        name: Canonical name.
        kind: ``"int"`` (two's complement), ``"uint"``, ``"float"`` (sign, exponent, mantissa)
            or ``"scale"`` (an exponent alone).
        bits: Width of a code.
        exponent_bits: Width of the exponent field; 0 for integers.
        mantissa_bits: Width of the fraction field; 0 for integers and for the scale format.
        bias: Exponent bias; 0 for integers.
        quant_min: Least finite value.
        quant_max: Greatest finite value.
        max_pow2: ``floor(log2(quant_max))`` of a float format, 0 elsewhere (used by QP-7).
        nan_code: Canonical NaN code with the sign bit clear, or None if there is no NaN.
        has_inf: Whether the format has infinities.
        code_dtype: numpy dtype name of an array of codes.
    """

    name: str
    kind: FormatKind
    bits: int
    exponent_bits: int
    mantissa_bits: int
    bias: int
    quant_min: float
    quant_max: float
    max_pow2: int
    nan_code: int | None
    has_inf: bool
    code_dtype: str

    @property
    def is_integer(self) -> bool:
        """Whether codes are integers (FMT-1)."""
        return self.kind in ("int", "uint")

    @property
    def has_nan(self) -> bool:
        """Whether some code is a NaN."""
        return self.nan_code is not None


_ALL = (
    # name, kind, bits, exponent, mantissa, bias, quant_min, quant_max, max_pow2, nan, inf, codes
    Format("int2", "int", 2, 0, 0, 0, -2, 1, 0, None, False, "int8"),
    Format("int4", "int", 4, 0, 0, 0, -8, 7, 0, None, False, "int8"),
    Format("int8", "int", 8, 0, 0, 0, -128, 127, 0, None, False, "int8"),
    Format("uint2", "uint", 2, 0, 0, 0, 0, 3, 0, None, False, "uint8"),
    Format("uint4", "uint", 4, 0, 0, 0, 0, 15, 0, None, False, "uint8"),
    Format("uint8", "uint", 8, 0, 0, 0, 0, 255, 0, None, False, "uint8"),
    Format("float8_e4m3fn", "float", 8, 4, 3, 7, -448.0, 448.0, 8, 0x7F, False, "uint8"),
    Format("float8_e5m2", "float", 8, 5, 2, 15, -57344.0, 57344.0, 15, 0x7E, True, "uint8"),
    Format("float4_e2m1fn", "float", 4, 2, 1, 1, -6.0, 6.0, 2, None, False, "uint8"),
    Format("float8_e8m0fnu", "scale", 8, 8, 0, 127, 2.0**-127, 2.0**127, 0, 0xFF, False, "uint8"),
)

FORMATS: Mapping[str, Format] = MappingProxyType({f.name: f for f in _ALL})
"""Every format by its canonical name (FMT-1 to FMT-3)."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "float4_e2m1fn_x2": "float4_e2m1fn",
        "float4_e2m1": "float4_e2m1fn",
        "float8_e4m3": "float8_e4m3fn",
        "float8_e8m0": "float8_e8m0fnu",
    }
)
"""Other names that are accepted wherever a format is named (FMT-4)."""


def get_format(name: str | Format) -> Format:
    """Look a format up by its canonical name or an alias (FMT-4).

    Args:
        name: A key of :data:`FORMATS` or :data:`ALIASES`, or a format (returned as it is).

    Raises:
        FormatError: If there is no such format.
    """
    if isinstance(name, Format):
        return name
    if isinstance(name, str):
        found = FORMATS.get(ALIASES.get(name, name))
        if found is not None:
            return found
        close = difflib.get_close_matches(name, [*FORMATS, *ALIASES], n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
    else:
        hint = ""
    raise FormatError(
        f"unknown format{hint}", given=name, allowed=", ".join(FORMATS), clause="FMT-4"
    )
