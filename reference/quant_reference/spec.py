"""The quantization spec: what one tensor is quantized to (SPEC.md, SPEC-1 to SPEC-7)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np

from quant_reference.errors import SpecError
from quant_reference.formats import ALIASES, SPEC_FORMATS, Format, get_format
from quant_reference.granularity import (
    Granularity,
    PerBlock,
    PerChannel,
    PerTensor,
    granularity_from_dict,
)

QScheme = Literal["symmetric", "symmetric_with_clipping", "asymmetric"]
QFormulation = Literal["zp", "minval"]
Calculator = Literal["default", "static", "moving_average", "global_minmax", "dynamic"]

_SCALE_DTYPES = tuple(n for n in (*SPEC_FORMATS, *ALIASES) if get_format(n).kind == "scale")


@dataclass(frozen=True)
class QuantizationSpec:
    """How one tensor is quantized: plain strings and numbers, validated on construction.

    Attributes:
        dtype: Name of an integer or float format (SPEC-1); aliases are replaced.
        qscheme: How the range becomes qparams (SPEC-2 for float formats).
        qformulation: ``"zp"`` or ``"minval"`` (SPEC-2 for float formats).
        granularity: Which elements share qparams (SPEC-7); a mapping is accepted.
        float_range: Fixed (lo, hi), each a float or None (SPEC-4).
        scale_dtype: None, or ``"float8_e8m0fnu"`` for float formats (SPEC-3).
        qparam_calculator_cls: The observer; ``"default"`` is static for weights and
            moving_average for activations (SPEC-5).
        range_calculator_cls: ``"minmax"``.
        fake_quantize_cls: ``"default"``.

    Raises:
        SpecError: Whatever SPEC-1 to SPEC-7 refuse.
    """

    dtype: str = "int8"
    qscheme: QScheme = "symmetric"
    qformulation: QFormulation = "zp"
    granularity: Granularity = field(default_factory=PerTensor)
    float_range: tuple[float | None, float | None] = (None, None)
    scale_dtype: str | None = None
    qparam_calculator_cls: Calculator = "default"
    range_calculator_cls: Literal["minmax"] = "minmax"
    fake_quantize_cls: Literal["default"] = "default"

    def __post_init__(self) -> None:
        fmt = _format_of("dtype", self.dtype)
        _one_of("qscheme", self.qscheme, get_args(QScheme))
        _one_of("qformulation", self.qformulation, get_args(QFormulation))
        _one_of("qparam_calculator_cls", self.qparam_calculator_cls, get_args(Calculator))
        _one_of("range_calculator_cls", self.range_calculator_cls, ("minmax",))
        _one_of("fake_quantize_cls", self.fake_quantize_cls, ("default",))
        granularity = self.granularity
        if not isinstance(granularity, PerTensor | PerChannel | PerBlock):
            granularity = granularity_from_dict(granularity)
        self._set("dtype", fmt.name)
        self._set("granularity", granularity)
        self._set("float_range", _checked_range(self.float_range))
        self._set("scale_dtype", _checked_scale_dtype(self.scale_dtype, fmt))
        self._check_float_format(fmt)
        self._check_dynamic()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the way a frozen dataclass normalises a field

    def _check_float_format(self, fmt: Format) -> None:
        if fmt.kind == "float" and (self.qscheme, self.qformulation) != ("symmetric", "zp"):
            raise SpecError(
                f"scheme and formulation of {fmt.name}",
                given=f"{self.qscheme}, {self.qformulation}",
                allowed="symmetric, zp",
                clause="SPEC-2",
            )

    def _check_dynamic(self) -> None:
        if self.qparam_calculator_cls != "dynamic":
            return
        if self.qscheme == "symmetric_with_clipping":
            raise SpecError(
                "scheme of a dynamic calculator",
                given=self.qscheme,
                allowed="symmetric, asymmetric",
                clause="SPEC-5",
            )
        if self.float_range != (None, None):
            raise SpecError(
                "float_range of a dynamic calculator",
                given=self.float_range,
                allowed="(None, None)",
                clause="SPEC-5",
            )

    @property
    def format(self) -> Format:
        """The format of the codes."""
        return SPEC_FORMATS[self.dtype]

    @property
    def quant_min(self) -> float:
        """Least code (integer formats) or value (float formats) in use (SPEC-6)."""
        clipped = self.qscheme == "symmetric_with_clipping" and self.format.kind == "int"
        return self.format.quant_min + 1 if clipped else self.format.quant_min

    @property
    def quant_max(self) -> float:
        """Greatest code (integer formats) or value (float formats) in use (SPEC-6)."""
        return self.format.quant_max

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form, every field present; the inverse of :meth:`from_dict`."""
        plain: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return plain | {
            "granularity": self.granularity.to_dict(),
            "float_range": list(self.float_range),
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> QuantizationSpec:
        """Build a spec from its plain form; omitted keys take their defaults (SPEC-1).

        Raises:
            SpecError: An unknown key, or whatever the constructor refuses.
        """
        if not isinstance(mapping, Mapping):
            raise SpecError("spec", given=mapping, allowed="a mapping", clause="SPEC-1")
        known = [f.name for f in fields(cls)]
        for key in mapping:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                raise SpecError(
                    f"unknown key{hint}", given=key, allowed=", ".join(known), clause="SPEC-1"
                )
        return cls(**mapping)


def check_spec(given: object) -> None:
    """Refuse what is not a spec, a spec's plain form included (SPEC-1).

    Raises:
        SpecError: ``given`` is no QuantizationSpec.
    """
    if not isinstance(given, QuantizationSpec):
        raise SpecError("spec", given=given, allowed="a QuantizationSpec", clause="SPEC-1")


def _format_of(what: str, name: object) -> Format:
    fmt = get_format(name)  # type: ignore[arg-type]  # any object: a wrong one is refused there
    if fmt.kind == "scale" or fmt.name not in SPEC_FORMATS:
        raise SpecError(
            what,
            given=fmt.name,
            allowed=", ".join(f.name for f in SPEC_FORMATS.values() if f.kind != "scale"),
            clause="SPEC-1",
        )
    return fmt


def _one_of(what: str, given: object, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise SpecError(what, given=given, allowed=", ".join(allowed), clause="SPEC-1")


def _checked_scale_dtype(given: object, fmt: Format) -> str | None:
    if given is not None and given not in _SCALE_DTYPES:
        raise SpecError("scale_dtype", given=given, allowed="None, float8_e8m0fnu", clause="SPEC-3")
    if given is not None and fmt.is_integer:
        raise SpecError(f"scale_dtype of {fmt.name}", given=given, allowed="None", clause="SPEC-3")
    wants_e8m0 = given is not None or fmt.name == "float4_e2m1fn"
    return "float8_e8m0fnu" if wants_e8m0 else None


def _checked_range(given: object) -> tuple[float | None, float | None]:
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise SpecError("float_range", given=given, allowed="(lo, hi)", clause="SPEC-4")
    for bound in given:
        if bound is not None and not _is_finite(bound):
            raise SpecError(
                "bound in float_range",
                given=bound,
                allowed="None or a number that is finite in float32",
                clause="SPEC-4",
            )
    lo, hi = (None if bound is None else float(bound) for bound in given)
    if (lo is not None and lo > 0) or (hi is not None and hi < 0):
        raise SpecError("float_range", given=given, allowed="lo <= 0 <= hi", clause="SPEC-4")
    if lo is not None and hi is not None:
        low, high = _as_float32(lo), _as_float32(hi)
        # What counts is the range of float32 numbers that the scale is made of (RANGE-2).
        if low == high or _as_float32(high - low) == math.inf:
            raise SpecError(
                "float_range",
                given=given,
                allowed="lo < hi and a finite hi - lo, in float32",
                clause="SPEC-4",
            )
    return lo, hi


def _is_finite(bound: object) -> bool:
    if isinstance(bound, bool) or not isinstance(bound, Real):
        return False
    try:
        return math.isfinite(_as_float32(float(bound)))
    except OverflowError:  # an integer that no float holds
        return False


def _as_float32(number: float) -> float:
    """Rounded to float32; beyond its range an infinity."""
    with np.errstate(over="ignore"):
        return float(np.float32(number))
