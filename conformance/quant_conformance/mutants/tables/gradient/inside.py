"""Mutants of where the gradient passes (SPEC.md, GRAD-1 to GRAD-4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import GRADIENT
from quant_conformance.mutants.tables.steps import minval_codes, zero_point_codes
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array


def _inside(change: Any) -> Step:
    """Another test: ``change(unclamped, least, greatest)``."""

    def inside(p: Any, unclamped: Array, spec: Any) -> Any:
        return change(unclamped, *p.codes_in_use(spec))

    return inside


def _passes_in_values(p: Any, x: Array, spec: Any, scale: Array, offset: Any) -> Any:
    """Where x is between the values of the outer codes."""
    low, high = (p.values_of(F32(code), spec, scale, offset) for code in p.codes_in_use(spec))
    wide = p.widen(x)
    return (wide >= low) & (wide <= high)


def _float_bound(bound: Any) -> Step:
    """Another greatest value for float formats: ``bound(greatest)``."""

    def inside(p: Any, unclamped: Array, spec: Any) -> Any:
        greatest = spec.quant_max
        if spec.format.is_integer:
            return p.right.inside(unclamped, spec)
        return np.abs(unclamped) <= F32(bound(greatest))

    return inside


def _zero_point_for_minval(p: Any, x: Array, scale: Array, minval: Array, least: Any) -> Array:
    zero = least - np.rint(minval / scale)
    return np.asarray(p.round_code(p.quotient(x, scale)) + zero)


GRADIENTS = (
    known(
        "gradient-zero-at-edges",
        "stops the gradient at quant_min and quant_max",
        "GRAD-1 GRAD-3",
        GRADIENT,
        inside=_inside(lambda v, low, high: (v > low) & (v < high)),
    ),
    known(
        "gradient-zero-at-lower-edge",
        "stops the gradient at quant_min",
        "GRAD-1 GRAD-3",
        GRADIENT,
        inside=_inside(lambda v, low, high: (v > low) & (v <= high)),
    ),
    known(
        "gradient-zero-at-upper-edge",
        "stops the gradient at quant_max",
        "GRAD-1 GRAD-3",
        GRADIENT,
        inside=_inside(lambda v, low, high: (v >= low) & (v < high)),
    ),
    known(
        "gradient-of-clamped-code",
        "tests the clamped code, so that the gradient passes everywhere",
        "GRAD-2 GRAD-3",
        GRADIENT,
        inside=_inside(lambda v, low, high: ~np.isnan(v)),
    ),
    known(
        "gradient-everywhere",
        "passes the gradient everywhere, NaN included",
        "GRAD-2 GRAD-4",
        GRADIENT,
        inside=_inside(lambda v, low, high: np.full(v.shape, True)),
    ),
    known(
        "gradient-below-range",
        "tests the upper end only",
        "GRAD-2",
        GRADIENT,
        inside=_inside(lambda v, low, high: v <= high),
    ),
    known(
        "gradient-above-range",
        "tests the lower end only",
        "GRAD-2",
        GRADIENT,
        inside=_inside(lambda v, low, high: v >= low),
    ),
    known(
        "gradient-of-unrounded-code",
        "tests x/scale + zero_point before it is rounded",
        "GRAD-1",
        GRADIENT,
        round_code=lambda p, values: values,
    ),
    known(
        "gradient-of-values",
        "tests x against the values of quant_min and quant_max",
        "GRAD-1",
        GRADIENT,
        unclamped_codes=_passes_in_values,
        inside=lambda p, passes, spec: passes,
    ),
    known(
        "gradient-without-zero-point",
        "forgets the zero point in the test",
        "GRAD-1",
        GRADIENT,
        pitfall="zero-point",
        unclamped_codes=zero_point_codes(lambda p, x, s, z: p.round_code(p.quotient(x, s))),
    ),
    known(
        "gradient-zero-point-for-minval",
        "tests with a zero point under minval",
        "GRAD-1",
        GRADIENT,
        unclamped_codes=minval_codes(_zero_point_for_minval),
    ),
    known(
        "gradient-of-infinite-x",
        "passes the gradient where x is infinite",
        "GRAD-2",
        GRADIENT,
        inside=_inside(lambda v, low, high: (v >= low) & (v <= high) | np.isinf(v)),
    ),
    known(
        "gradient-of-nan-passes",
        "passes the gradient where x is NaN: the test is `not outside`",
        "GRAD-4",
        GRADIENT,
        pitfall="nan",
        inside=_inside(lambda v, low, high: ~((v < low) | (v > high))),
    ),
    known(
        "gradient-of-rounded-max",
        "passes the gradient up to what rounds to the greatest value: 464, 61440, 7",
        "GRAD-3",
        GRADIENT,
        inside=_float_bound(lambda high: {448: 464, 57344: 61439.99, 6: 7}[high]),
    ),
    known(
        "gradient-float8-max-240",
        "takes 240 for the greatest float8_e4m3fn in the test",
        "GRAD-3",
        GRADIENT,
        inside=_float_bound(lambda high: 240 if high == 448 else high),
    ),
    known(
        "gradient-of-float-unscaled",
        "tests x, and not x/scale, against the greatest value",
        "GRAD-3",
        GRADIENT,
        unclamped_codes=lambda p, x, spec, s, offset: (
            p.right.unclamped_codes(x, spec, s, offset) if spec.format.is_integer else p.widen(x)
        ),
    ),
    known(
        "gradient-of-float-everywhere",
        "passes the gradient of float formats everywhere",
        "GRAD-3",
        GRADIENT,
        inside=_float_bound(lambda high: np.inf),
    ),
)
