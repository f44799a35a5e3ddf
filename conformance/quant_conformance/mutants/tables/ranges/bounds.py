"""Mutants of value_range (SPEC.md, RANGE-1, RANGE-3, RANGE-5)."""

from __future__ import annotations

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import QPARAMS, RANGE, RANGES
from quant_conformance.mutants.tables.steps import range_after_zero
from quant_conformance.protocol import Array

RANGE_BUGS = (
    known(
        "zero-not-in-range",
        "does not widen the range to contain zero",
        "RANGE-1",
        RANGES,
        pitfall="observer-ranges",
        with_zero=lambda p, lo, hi: (lo, hi),
        check_range=lambda p, low, high: None,
    ),
    known(
        "zero-not-in-positive-range",
        "does not lower the range of positive data to zero",
        "RANGE-1",
        RANGES,
        pitfall="observer-ranges",
        with_zero=lambda p, lo, hi: (lo, np.maximum(hi, np.zeros((), hi.dtype))),
        check_range=lambda p, low, high: None,
    ),
    known(
        "zero-not-in-negative-range",
        "does not raise the range of negative data to zero",
        "RANGE-1",
        RANGES,
        pitfall="observer-ranges",
        with_zero=lambda p, lo, hi: (np.minimum(lo, np.zeros((), lo.dtype)), hi),
        check_range=lambda p, low, high: None,
    ),
    known(
        "range-of-magnitudes",
        "makes the range symmetric",
        "RANGE-1",
        RANGES,
        with_zero=range_after_zero(lambda lo, hi: (-np.maximum(-lo, hi), np.maximum(-lo, hi))),
    ),
    known(
        "range-of-abs",
        "takes the range of |x|",
        "RANGE-1",
        RANGE,
        block_view=lambda p, x, extents: np.abs(p.right.block_view(x, extents)),
    ),
    known(
        "range-without-least",
        "takes 0 for the least value",
        "RANGE-1",
        RANGES,
        with_zero=range_after_zero(lambda lo, hi: (lo * 0, hi)),
    ),
    known(
        "range-of-zeros-widened",
        "widens an empty range to 0 … 1",
        "RANGE-1",
        RANGES,
        pitfall="observer-ranges",
        with_zero=range_after_zero(lambda lo, hi: (lo, np.where((lo == 0) & (hi == 0), 1, hi))),
    ),
    known(
        "range-starts-at-float-limits",
        "starts the minimum at 3.4e38 and the maximum at 1.2e-38, the least positive normal",
        "RANGE-1",
        RANGE,
        pitfall="observer-ranges",
        with_zero=range_after_zero(
            lambda lo, hi: (
                lo,
                np.maximum(hi, np.asarray(2.0**-126).astype(hi.dtype)),
            )
        ),
    ),
    known(
        "last-element-left-out",
        "leaves the last element of each block out of its range",
        "RANGE-1",
        RANGES,
        least=lambda p, view: np.min(_all_but_last(view), axis=-1),
        greatest=lambda p, view: np.max(_all_but_last(view), axis=-1),
    ),
    known(
        "range-in-float32",
        "returns the range in float32 whatever the dtype of x",
        "RANGE-3 QP-9",
        RANGES,
        value_range=lambda p, x, spec, target: tuple(
            bound.astype(np.float32) for bound in p.right.value_range(x, spec, target)
        ),
    ),
    known(
        "range-in-float16",
        "finds the range of bfloat16 data in float16",
        "RANGE-3",
        RANGES,
        value_range=lambda p, x, spec, target: tuple(
            bound.astype(x.dtype) if bound.dtype == np.float16 else bound
            for bound in p.right.value_range(
                x.astype(np.float16) if x.dtype == wrong.BFLOAT16 else x, spec, target
            )
        ),
    ),
    known(
        "range-subnormals-flushed",
        "flushes subnormal bounds to zero",
        "RANGE-1",
        RANGE,
        pitfall="subnormals",
        with_zero=range_after_zero(lambda lo, hi: (wrong.flushed(lo), wrong.flushed(hi))),
    ),
    known(
        "empty-tensor-accepted",
        "gives a tensor without elements the range 0 … 0",
        "RANGE-5",
        (*RANGE, *QPARAMS),
        check_elements=lambda p, x: None,
        least=lambda p, view: np.min(view, axis=p.within_blocks(view), initial=0),
        greatest=lambda p, view: np.max(view, axis=p.within_blocks(view), initial=0),
    ),
)


def _all_but_last(view: Array) -> Array:
    rows = wrong.rows_of_blocks(view)
    return rows[..., :-1] if rows.shape[-1] > 1 else rows
