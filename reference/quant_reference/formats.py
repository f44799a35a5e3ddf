"""Formats as data (SPEC.md, clauses FMT-1 to FMT-8)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from quant_reference.errors import FormatError

FormatKind = Literal["int", "uint", "float", "scale", "fixed", "table"]


@dataclass(frozen=True)
class Format:
    """One format as plain numbers (FMT-1 to FMT-3, FMT-5 to FMT-8).

    Attributes:
        name: Canonical name.
        kind: ``"int"`` (two's complement), ``"uint"``, ``"float"`` (sign, exponent, mantissa),
            ``"scale"`` (an exponent alone), ``"fixed"`` (two's complement in steps of a power of
            two, FMT-6) or ``"table"`` (a list of values, FMT-8).
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
        negative_zero: Whether a float format has a code for -0; without one the code of the sign
            bit alone is the NaN (FMT-5).
        signed: Whether a float format has a sign bit (FMT-7).
        values: The value of each code of a table format, ascending (FMT-8).
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
    negative_zero: bool = True
    signed: bool = True
    values: tuple[float, ...] = ()

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

_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""Quantiles of the normal distribution as the QLoRA paper prints them (appendix E)."""

_SMALL = (
    Format("float8_e3m4", "float", 8, 3, 4, 3, -15.5, 15.5, 3, 0x78, True, "uint8"),
    Format("float8_e4m3ieee", "float", 8, 4, 3, 7, -240.0, 240.0, 7, 0x7C, True, "uint8"),
    Format("float8_e4m3fnuz", "float", 8, 4, 3, 8, -240.0, 240.0, 7, 0x80, False, "uint8", False),
    Format("float8_e4m3b11fnuz", "float", 8, 4, 3, 11, -30.0, 30.0, 4, 0x80, False, "uint8", False),
    Format(
        "float8_e5m2fnuz", "float", 8, 5, 2, 16, -57344.0, 57344.0, 15, 0x80, False, "uint8", False
    ),
    Format("float6_e2m3fn", "float", 6, 2, 3, 1, -7.5, 7.5, 2, None, False, "uint8"),
    Format("float6_e3m2fn", "float", 6, 3, 2, 3, -28.0, 28.0, 4, None, False, "uint8"),
    Format("mxint8", "fixed", 8, 0, 6, 0, -2.0, 127 / 64, 0, None, False, "int8"),
    Format("float8_ue4m3", "float", 7, 4, 3, 7, 0.0, 448.0, 8, 0x7F, False, "uint8", signed=False),
    Format("nf4", "table", 4, 0, 0, 0, -1.0, 1.0, 0, None, False, "uint8", values=_NF4),
)
"""Formats of blocks and of codecs, which no spec of one tensor names (FMT-5 to FMT-8)."""

SPEC_FORMATS: Mapping[str, Format] = MappingProxyType({f.name: f for f in _ALL})
"""The formats that a spec can name (FMT-1 to FMT-3, SPEC-1)."""

FORMATS: Mapping[str, Format] = MappingProxyType({f.name: f for f in (*_ALL, *_SMALL)})
"""Every format by its canonical name (FMT-1 to FMT-3, FMT-5 to FMT-8)."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "float4_e2m1fn_x2": "float4_e2m1fn",
        "float4_e2m1": "float4_e2m1fn",
        "float8_e4m3": "float8_e4m3fn",
        "float8_e8m0": "float8_e8m0fnu",
    }
)
"""Other names that are accepted wherever a spec names a format (FMT-4)."""

AMBIGUOUS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"float8_e4m3": ("float8_e4m3fn", "float8_e4m3ieee")}
)
"""Names that mean one format in a spec and another elsewhere: codecs refuse them (FMT-4)."""


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


def codec_format(name: str | Format) -> Format:
    """The format of a codec: as :func:`get_format`, without names that mean two things (FMT-4).

    Raises:
        FormatError: No such format, or a name that ml_dtypes gives to another one.
    """
    if isinstance(name, str) and name in AMBIGUOUS:
        raise FormatError(
            f"{name!r} names {AMBIGUOUS[name][0]} in a spec and {AMBIGUOUS[name][1]} in ml_dtypes",
            given=name,
            allowed=" or ".join(AMBIGUOUS[name]),
            clause="FMT-4",
        )
    return get_format(name)
