"""Mutants that accept an illegal float_range or dynamic spec (SPEC.md, SPEC-4, SPEC-5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import INVALID
from quant_conformance.mutants.tables.steps import Plain, is_number, reading


def _bounds(change: Callable[[Any], Any]) -> Step:
    """Read each bound of float_range as something else."""

    def tolerated(p: Any, mapping: Plain) -> Plain:
        bounds = mapping.get("float_range")
        if not isinstance(bounds, list | tuple):
            return mapping
        return mapping | {"float_range": [change(bound) for bound in bounds]}

    return tolerated


def _pair(change: Callable[[Any, Any], Any]) -> Step:
    """Read the two numbers of float_range as others."""

    def tolerated(p: Any, mapping: Plain) -> Plain:
        bounds = mapping.get("float_range")
        if not isinstance(bounds, list | tuple) or len(bounds) != 2:
            return mapping
        return mapping | {"float_range": list(change(*bounds))}

    return tolerated


FLOAT_RANGES = (
    known(
        "float-range-above-zero-accepted",
        "accepts a lower bound above zero",
        "SPEC-4",
        INVALID,
        tolerated=_pair(lambda lo, hi: (min(lo, 0) if is_number(lo) and lo == lo else lo, hi)),
    ),
    known(
        "float-range-below-zero-accepted",
        "accepts an upper bound below zero",
        "SPEC-4",
        INVALID,
        tolerated=_pair(
            lambda lo, hi: (
                lo,
                (0 if lo != 0 else 1) if is_number(hi) and -1e308 < hi < 0 else hi,
            )
        ),
    ),
    known(
        "float-range-of-nothing-accepted",
        "accepts the bounds 0 and 0",
        "SPEC-4",
        INVALID,
        tolerated=_pair(
            lambda lo, hi: (
                (lo, 1) if is_number(lo) and is_number(hi) and lo == hi == 0 else (lo, hi)
            )
        ),
    ),
    known(
        "float-range-beyond-floats-accepted",
        "accepts integers beyond every float for bounds",
        "SPEC-4",
        INVALID,
        tolerated=_bounds(lambda b: None if type(b) is int and abs(b) > 10**308 else b),
    ),
    known(
        "float-range-beyond-float32-accepted",
        "checks the bounds of float_range as float64 numbers",
        "SPEC-4",
        INVALID,
        tolerated=_bounds(
            lambda b: None if is_number(b) and 3.5e38 < abs(b) < 1e308 else b,
        ),
    ),
    known(
        "float-range-difference-accepted",
        "accepts bounds whose difference overflows float32",
        "SPEC-4",
        INVALID,
        tolerated=_pair(
            lambda lo, hi: (
                (lo / 2, hi / 2)
                if is_number(lo) and is_number(hi) and 3.5e38 < hi - lo < 1e39
                else (lo, hi)
            )
        ),
    ),
    known(
        "float-range-vanishing-accepted",
        "accepts bounds that float32 rounds to one number",
        "SPEC-4",
        INVALID,
        tolerated=_pair(
            lambda lo, hi: (
                (-1, 1)
                if is_number(lo) and is_number(hi) and 0 < max(-lo, hi) < 1e-45
                else (lo, hi)
            )
        ),
    ),
    known(
        "float-range-infinite-in-16-bits-accepted",
        "rounds a bound of float_range to an infinity of the tensor's dtype",
        "RANGE-2",
        ("range", "qparams"),
        fixed_bound=lambda p, bound, dtype: np.float32(bound).astype(dtype),
    ),
    known(
        "float-range-bool-accepted",
        "accepts booleans for bounds",
        "SPEC-4",
        INVALID,
        tolerated=_bounds(lambda b: None if isinstance(b, bool) else b),
    ),
    known(
        "float-range-text-accepted",
        "accepts numbers written as text for bounds",
        "SPEC-4",
        INVALID,
        tolerated=_bounds(lambda b: None if isinstance(b, str) else b),
    ),
    known(
        "float-range-length-accepted",
        "accepts float_range with other than two bounds",
        "SPEC-4",
        INVALID,
        tolerated=reading(
            lambda m: (
                m | {"float_range": [None, None]}
                if isinstance(m.get("float_range"), list | tuple) and len(m["float_range"]) != 2
                else m
            )
        ),
    ),
    known(
        "dynamic-clipping-accepted",
        "accepts symmetric_with_clipping for a dynamic calculator",
        "SPEC-5",
        INVALID,
        tolerated=reading(
            lambda m: (
                m | {"qscheme": "symmetric"}
                if m.get("qparam_calculator_cls") == "dynamic"
                and m.get("qscheme") == "symmetric_with_clipping"
                else m
            )
        ),
    ),
    known(
        "dynamic-float-range-accepted",
        "accepts float_range for a dynamic calculator",
        "SPEC-5",
        INVALID,
        tolerated=reading(
            lambda m: (
                {k: v for k, v in m.items() if k != "float_range"}
                if m.get("qparam_calculator_cls") == "dynamic"
                else m
            )
        ),
    ),
    known(
        "dynamic-weight-accepted",
        "accepts a dynamic calculator for a weight",
        "SPEC-5",
        ("range", "qparams", "observe"),
        check_target=lambda p, spec, target: None,
        check_observer=lambda p, kind, spec, target, c: p.right.check_observer(
            kind, spec, "activation", c
        ),
    ),
)
