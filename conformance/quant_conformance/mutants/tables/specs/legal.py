"""Mutants that refuse a legal spec (SPEC.md, SPEC-1 to SPEC-7, FMT-4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quant_conformance.mutants.exchanged import Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import INVALID
from quant_conformance.mutants.tables.steps import Plain, is_number
from quant_reference import ALIASES, QuantizationSpec, SpecError

FIELDS = frozenset(QuantizationSpec().to_dict())


def _refuse(when: Callable[[Plain], bool], why: str) -> Step:
    def tolerated(p: Any, mapping: Plain) -> Plain:
        if when(mapping):
            raise SpecError(why, given=mapping, allowed="less", clause="SPEC-1")
        return mapping

    return tolerated


LEGAL_SPECS = (
    known(
        "everything-refused",
        "refuses every spec",
        "SPEC-1",
        INVALID,
        tolerated=_refuse(lambda m: True, "spec"),
    ),
    known(
        "omitted-fields-refused",
        "refuses specs that leave fields out",
        "SPEC-1",
        INVALID,
        tolerated=_refuse(lambda m: not m.keys() >= FIELDS, "omitted field"),
    ),
    known(
        "aliases-refused",
        "refuses aliases of format names",
        "FMT-4",
        INVALID,
        tolerated=_refuse(
            lambda m: any(m.get(k) in ALIASES for k in ("dtype", "scale_dtype")), "alias"
        ),
    ),
    known(
        "float4-without-scale-dtype-refused",
        "refuses float4_e2m1fn unless scale_dtype names e8m0",
        "SPEC-3",
        INVALID,
        tolerated=_refuse(
            lambda m: "float4" in str(m.get("dtype")) and m.get("scale_dtype") is None,
            "scale_dtype",
        ),
    ),
    known(
        "one-sided-float-range-refused",
        "refuses a float_range with one bound",
        "SPEC-4",
        INVALID,
        tolerated=_refuse(
            lambda m: [b is None for b in m.get("float_range", ())].count(True) == 1, "float_range"
        ),
    ),
    known(
        "float-range-at-zero-refused",
        "refuses a bound of zero",
        "SPEC-4",
        INVALID,
        tolerated=_refuse(
            lambda m: any(is_number(b) and b == 0 for b in m.get("float_range", ())), "float_range"
        ),
    ),
    known(
        "negative-axis-refused",
        "refuses negative axes",
        "SPEC-7 GRAN-2",
        INVALID,
        tolerated=_refuse(
            lambda m: (
                isinstance(m.get("granularity"), dict)
                and isinstance(m["granularity"].get("axis"), int)
                and m["granularity"]["axis"] < 0
            ),
            "axis",
        ),
    ),
    known(
        "missing-axis-refused",
        "refuses a granularity without an axis",
        "SPEC-7",
        INVALID,
        tolerated=_refuse(
            lambda m: (
                isinstance(m.get("granularity"), dict)
                and m["granularity"].get("type") == "per_channel"
                and m["granularity"].get("axis") is None
            ),
            "axis",
        ),
    ),
    known(
        "clipping-of-unsigned-refused",
        "refuses symmetric_with_clipping for unsigned formats",
        "SPEC-6",
        INVALID,
        tolerated=_refuse(
            lambda m: (
                str(m.get("dtype")).startswith("uint")
                and m.get("qscheme") == "symmetric_with_clipping"
            ),
            "qscheme",
        ),
    ),
)
