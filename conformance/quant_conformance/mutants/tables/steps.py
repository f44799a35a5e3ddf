"""Makers of steps that several tables use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quant_conformance.mutants.model import Step
from quant_conformance.mutants.pipeline import Pipeline
from quant_conformance.mutants.ranges import Range
from quant_conformance.protocol import Array

Plain = dict[str, Any]
"""A spec as a backend reads it."""


def range_after_zero(change: Callable[[Array, Array], Any]) -> Step:
    """Makes ``with_zero``: changes (lo, hi) after zero was put into the range."""

    def with_zero(p: Pipeline, lo: Array, hi: Array) -> Range:
        low, high = change(*Pipeline.with_zero(p, lo, hi))
        return np.asarray(low).astype(lo.dtype), np.asarray(high).astype(hi.dtype)

    return with_zero


def least(change: Callable[[Array, np.dtype[Any]], Any]) -> Step:
    """Makes ``least_scale``: ``change(scale, dtype of the range)``."""
    return lambda p, scale, dtype: np.asarray(change(scale, dtype)).astype(np.float32)


def reading(change: Callable[[Plain], Plain]) -> Step:
    """Makes ``tolerated``: what the spec is read as."""
    return lambda p, mapping: change(mapping)


def is_number(bound: Any) -> bool:
    """Tells whether a bound of float_range is a number."""
    return isinstance(bound, int | float) and not isinstance(bound, bool)
