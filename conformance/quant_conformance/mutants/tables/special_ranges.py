"""Mutants of ranges with NaN, infinities or fixed bounds (SPEC.md, RANGE-2, RANGE-4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants.model import Step, known
from quant_conformance.mutants.pipeline import Pipeline
from quant_conformance.mutants.ranges import Range
from quant_conformance.mutants.tables.families import RANGE, RANGES
from quant_conformance.mutants.tables.steps import range_after_zero
from quant_conformance.protocol import Array


def _bounded(change: Any) -> Step:
    """Apply float_range by ``change(bound given, bound found, side)``; None keeps the found."""

    def bounded(p: Pipeline, lo: Array, hi: Array, bounds: Any) -> Range:
        right = Pipeline.bounded(p, lo, hi, bounds)
        found = [
            given if bound is None else np.asarray(change(given, old)).astype(given.dtype)
            for given, old, bound in zip(right, (lo, hi), bounds, strict=True)
        ]
        return found[0], found[1]

    return bounded


def _skips_nan(rows: Array, better: Any) -> Array:
    """What a loop ``if x < least: least = x`` finds: NaN is seen in the first place only."""
    found = rows[..., 0].copy()
    for i in range(1, rows.shape[-1]):
        found = np.where(better(rows[..., i], found), rows[..., i], found)
    return np.asarray(found)


def _finite(rows: Array) -> Array:
    return np.where(np.isinf(rows), np.zeros((), rows.dtype), rows)


GREATEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": 3.4028234663852886e38}


def _greatest(bound: Array) -> Any:
    return np.asarray(GREATEST[bound.dtype.name]).astype(bound.dtype)


SPECIAL_RANGES = (
    known(
        "float-range-lo-ignored",
        "ignores the lower bound of float_range",
        "RANGE-2",
        RANGES,
        bounded=lambda p, lo, hi, bounds: Pipeline.bounded(p, lo, hi, (None, bounds[1])),
    ),
    known(
        "float-range-hi-ignored",
        "ignores the upper bound of float_range",
        "RANGE-2",
        RANGES,
        bounded=lambda p, lo, hi, bounds: Pipeline.bounded(p, lo, hi, (bounds[0], None)),
    ),
    known(
        "float-range-clips",
        "narrows the data's range by float_range instead of replacing it",
        "RANGE-2",
        RANGES,
        bounded=_bounded(
            lambda given, old: np.where(np.abs(given) < np.abs(old), given, old.astype(given.dtype))
        ),
    ),
    known(
        "float-range-widens",
        "widens the data's range by float_range instead of replacing it",
        "RANGE-2",
        RANGES,
        bounded=_bounded(
            lambda given, old: np.where(np.abs(given) > np.abs(old), given, old.astype(given.dtype))
        ),
    ),
    known(
        "float-range-keeps-nan",
        "lets NaN in x through two fixed bounds",
        "RANGE-2",
        RANGES,
        pitfall="nan",
        bounded=_bounded(lambda given, old: np.where(np.isnan(old), np.nan, given)),
    ),
    known(
        "float-range-in-dtype-of-x",
        "rounds two fixed bounds to the dtype of x",
        "RANGE-2 RANGE-3",
        RANGES,
        bounded=lambda p, lo, hi, bounds: (
            Pipeline.bounded(p, lo, hi, bounds)
            if None in bounds
            else (
                np.full(lo.shape, p.fixed_bound(bounds[0], lo.dtype)),
                np.full(hi.shape, p.fixed_bound(bounds[1], hi.dtype)),
            )
        ),
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
        bounded=lambda p, lo, hi, bounds: (
            Pipeline.bounded(p, p.widen(lo), p.widen(hi), bounds)
            if bounds != (None, None)
            else (lo, hi)
        ),
    ),
    known(
        "nan-dropped-from-range",
        "finds the range of the numbers beside a NaN",
        "RANGE-4",
        RANGES,
        pitfall="nan",
        least=lambda p, rows: np.fmin.reduce(rows, axis=-1),
        greatest=lambda p, rows: np.fmax.reduce(rows, axis=-1),
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
        least=lambda p, rows: _skips_nan(rows, np.less),
        greatest=lambda p, rows: _skips_nan(rows, np.greater),
    ),
    known(
        "nan-in-one-bound-only",
        "makes the lower bound NaN and not the upper",
        "RANGE-4",
        RANGES,
        pitfall="nan",
        greatest=lambda p, rows: np.fmax.reduce(rows, axis=-1),
    ),
    known(
        "nan-as-zero-in-range",
        "takes NaN for zero",
        "RANGE-4",
        RANGES,
        pitfall="nan",
        block_rows=lambda p, x, extents: Pipeline.block_rows(
            p, np.where(np.isnan(x), np.zeros((), x.dtype), x), extents
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
        least=lambda p, rows: np.min(_finite(rows), axis=-1),
        greatest=lambda p, rows: np.max(_finite(rows), axis=-1),
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
