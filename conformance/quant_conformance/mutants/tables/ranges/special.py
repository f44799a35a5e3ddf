"""Mutants of ranges with NaN, infinities or fixed bounds (SPEC.md, RANGE-2, RANGE-4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import RANGE, RANGES
from quant_conformance.mutants.tables.steps import range_after_zero
from quant_conformance.protocol import Array
from quant_reference import QuantizationSpec
from quant_reference.observers import Range


def _reading(change: Callable[[Any, Any], Any]) -> Step:
    """Another float_range: ``change(lower bound, upper bound)``."""

    def value_range(p: Mutated, x: Array, spec: QuantizationSpec, target: str) -> Any:
        other = replace(spec, float_range=change(*spec.float_range))
        return p.right.value_range(x, other, target)

    return value_range


def _bounded(change: Callable[[Array, Array], Any]) -> Step:
    """Apply float_range by ``change(bound given, bound found)``; None keeps the found."""

    def value_range(p: Mutated, x: Array, spec: QuantizationSpec, target: str) -> Range:
        found = p.right.value_range(x, replace(spec, float_range=(None, None)), target)
        given = p.right.value_range(x, spec, target)
        lo, hi = (
            new if bound is None else np.asarray(change(new, old)).astype(new.dtype)
            for new, old, bound in zip(given, found, spec.float_range, strict=True)
        )
        return lo, hi

    return value_range


def _in_dtype_of_x(p: Mutated, x: Array, spec: QuantizationSpec, target: str) -> Range:
    lo, hi = p.right.value_range(x, spec, target)
    if None in spec.float_range:
        return lo, hi
    low, high = (p.fixed_bound(bound, x.dtype) for bound in spec.float_range)
    return np.full(lo.shape, low), np.full(hi.shape, high)


def _in_float32(p: Mutated, x: Array, spec: QuantizationSpec, target: str) -> Any:
    wide = p.widen(x) if spec.float_range != (None, None) else x
    return p.right.value_range(wide, spec, target)


def _skips_nan(view: Array, better: Any) -> Array:
    """What a loop ``if x < least: least = x`` finds: NaN is seen in the first place only."""
    rows = wrong.rows_of_blocks(view)
    found = rows[..., 0].copy()
    for i in range(1, rows.shape[-1]):
        found = np.where(better(rows[..., i], found), rows[..., i], found)
    return np.asarray(found)


def _finite(view: Array) -> Array:
    return np.where(np.isinf(view), np.zeros((), view.dtype), view)


GREATEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": 3.4028234663852886e38}


def _greatest(bound: Array) -> Any:
    return np.asarray(GREATEST[bound.dtype.name]).astype(bound.dtype)


SPECIAL_RANGES = (
    known(
        "float-range-lo-ignored",
        "ignores the lower bound of float_range",
        "RANGE-2",
        RANGES,
        value_range=_reading(lambda lo, hi: (None, hi)),
    ),
    known(
        "float-range-hi-ignored",
        "ignores the upper bound of float_range",
        "RANGE-2",
        RANGES,
        value_range=_reading(lambda lo, hi: (lo, None)),
    ),
    known(
        "float-range-clips",
        "narrows the data's range by float_range instead of replacing it",
        "RANGE-2",
        RANGES,
        value_range=_bounded(
            lambda given, old: np.where(np.abs(given) < np.abs(old), given, old.astype(given.dtype))
        ),
    ),
    known(
        "float-range-widens",
        "widens the data's range by float_range instead of replacing it",
        "RANGE-2",
        RANGES,
        value_range=_bounded(
            lambda given, old: np.where(np.abs(given) > np.abs(old), given, old.astype(given.dtype))
        ),
    ),
    known(
        "float-range-keeps-nan",
        "lets NaN in x through two fixed bounds",
        "RANGE-2",
        RANGES,
        pitfall="nan",
        value_range=_bounded(lambda given, old: np.where(np.isnan(old), np.nan, given)),
    ),
    known(
        "float-range-in-dtype-of-x",
        "rounds two fixed bounds to the dtype of x",
        "RANGE-2 RANGE-3",
        RANGES,
        value_range=_in_dtype_of_x,
    ),
    known(
        "float-range-from-float64",
        "rounds a bound to the dtype of x straight from float64",
        "RANGE-2",
        RANGE,
        fixed_bound=lambda p, bound, dtype: np.asarray(bound, np.float64).astype(dtype),
    ),
    known(
        "float-range-not-rounded",
        "keeps one given bound in float32 though x is narrower",
        "RANGE-2 RANGE-3",
        RANGES,
        value_range=_in_float32,
    ),
    known(
        "nan-dropped-from-range",
        "finds the range of the numbers beside a NaN",
        "RANGE-4",
        RANGES,
        pitfall="nan",
        least=lambda p, view: np.fmin.reduce(view, axis=p.within_blocks(view)),
        greatest=lambda p, view: np.fmax.reduce(view, axis=p.within_blocks(view)),
        with_zero=lambda p, lo, hi: (
            np.fmin(lo, np.zeros((), lo.dtype)),
            np.fmax(hi, np.zeros((), hi.dtype)),
        ),
    ),
    known(
        "nan-dropped-at-zero",
        "loses a NaN where zero is put into the range",
        "RANGE-4",
        RANGES,
        pitfall="nan",
        with_zero=lambda p, lo, hi: (
            np.fmin(lo, np.zeros((), lo.dtype)),
            np.fmax(hi, np.zeros((), hi.dtype)),
        ),
    ),
    known(
        "nan-seen-first-only",
        "sees a NaN in the first place of a block only, as `if x < least` does",
        "RANGE-4",
        RANGES,
        pitfall="nan",
        least=lambda p, view: _skips_nan(view, np.less),
        greatest=lambda p, view: _skips_nan(view, np.greater),
    ),
    known(
        "nan-in-one-bound-only",
        "makes the lower bound NaN and not the upper",
        "RANGE-4",
        RANGES,
        pitfall="nan",
        greatest=lambda p, view: np.fmax.reduce(view, axis=p.within_blocks(view)),
    ),
    known(
        "nan-as-zero-in-range",
        "takes NaN for zero",
        "RANGE-4",
        RANGES,
        pitfall="nan",
        block_view=lambda p, x, extents: p.right.block_view(
            np.where(np.isnan(x), np.zeros((), x.dtype), x), extents
        ),
    ),
    known(
        "nan-spreads-to-all-blocks",
        "makes NaN of the ranges of all blocks",
        "RANGE-4",
        RANGES,
        pitfall="nan",
        with_zero=range_after_zero(
            lambda lo, hi: (
                np.where(np.isnan(lo).any(), np.nan, lo),
                np.where(np.isnan(hi).any(), np.nan, hi),
            )
        ),
    ),
    known(
        "infinity-dropped-from-range",
        "finds the range of the finite values",
        "RANGE-4",
        RANGES,
        least=lambda p, view: p.right.least(_finite(view)),
        greatest=lambda p, view: p.right.greatest(_finite(view)),
    ),
    known(
        "infinity-as-nan-in-range",
        "takes infinities for NaN",
        "RANGE-4",
        RANGE,
        with_zero=range_after_zero(
            lambda lo, hi: (
                np.where(np.isinf(lo), np.nan, lo),
                np.where(np.isinf(hi), np.nan, hi),
            )
        ),
    ),
    known(
        "infinity-as-greatest-finite",
        "clamps infinite bounds to the greatest finite value",
        "RANGE-4 QP-8",
        RANGES,
        with_zero=range_after_zero(
            lambda lo, hi: (
                np.where(np.isinf(lo), -_greatest(lo), lo),
                np.where(np.isinf(hi), _greatest(hi), hi),
            )
        ),
    ),
)
