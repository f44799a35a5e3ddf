"""value_range: the interval that the codes of a block must cover (SPEC.md, RANGE-1 to RANGE-5)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_reference._arrays import Array, float_array
from quant_reference.blocks import block_view, within_blocks
from quant_reference.errors import InputError, SpecError
from quant_reference.granularity import Target, block_shape
from quant_reference.spec import QuantizationSpec, check_spec


def value_range(x: Array, spec: QuantizationSpec, target: Target) -> tuple[Array, Array]:
    """Least and greatest value per block, widened to contain zero.

    Clauses RANGE-1 (zero is in the range), RANGE-2 (float_range replaces its side), RANGE-3
    (dtype), RANGE-4 (NaN and infinities), RANGE-5 (no elements).

    Args:
        x: Any rank; float16, bfloat16 or float32.
        spec: Gives granularity and float_range.
        target: ``"weight"`` or ``"activation"``.

    Returns:
        (lo, hi) with ``lo <= 0 <= hi`` or NaN, in the rank of x with one entry per block, in x's
        dtype; float32 when float_range gives both bounds. Zeros are +0.

    Raises:
        InputError: x has another dtype (RANGE-3) or no elements (RANGE-5), or cannot hold the one
            bound that is given (RANGE-2).
        SpecError: A dynamic spec for a weight (SPEC-5).
        GranularityError: The granularity does not fit x (GRAN-6).
    """
    check_spec(spec)
    check_target(spec, target)
    values = float_array(x, "x", "RANGE-3")
    extents = block_shape(values.shape, spec.granularity, target)
    check_elements(values)
    view = block_view(values, extents)
    lo_bound, hi_bound = spec.float_range
    if lo_bound is not None and hi_bound is not None:
        blocks, dtype = view.shape[::2], np.dtype(np.float32)
        return filled(blocks, lo_bound, dtype), filled(blocks, hi_bound, dtype)
    with np.errstate(invalid="ignore"):  # NaN is a result here (RANGE-4)
        lo, hi = with_zero(least(view), greatest(view))
    if lo_bound is not None:
        lo = filled(lo.shape, lo_bound, lo.dtype)
    if hi_bound is not None:
        hi = filled(hi.shape, hi_bound, hi.dtype)
    return lo, hi


def check_target(spec: QuantizationSpec, target: str) -> None:
    """Refuse a dynamic calculator on a weight (SPEC-5)."""
    if spec.qparam_calculator_cls == "dynamic" and target == "weight":
        raise SpecError(
            "a dynamic calculator", given="a weight", allowed="activations", clause="SPEC-5"
        )


def check_elements(x: Array) -> None:
    """Refuse a tensor without elements (RANGE-5)."""
    if x.size == 0:
        raise InputError(
            "a tensor without elements has no range",
            given=f"shape {x.shape}",
            allowed="at least one element",
            clause="RANGE-5",
        )


def least(view: Array) -> Array:
    """Least element of each block, NaN if there is one (RANGE-1, RANGE-4)."""
    return np.asarray(np.min(view, axis=within_blocks(view)))


def greatest(view: Array) -> Array:
    """Greatest element of each block, NaN if there is one (RANGE-1, RANGE-4)."""
    return np.asarray(np.max(view, axis=within_blocks(view)))


def with_zero(lo: Array, hi: Array) -> tuple[Array, Array]:
    """Widen the range to zero; NaN stays (RANGE-1, RANGE-4)."""
    zero = np.zeros((), lo.dtype)
    # The sum turns the -0 that minimum and maximum may return into +0.
    return np.asarray(np.minimum(lo, zero) + zero), np.asarray(np.maximum(hi, zero) + zero)


def filled(blocks: tuple[int, ...], bound: float, dtype: np.dtype[Any]) -> Array:
    """A given bound for every block (RANGE-2)."""
    return np.full(blocks, fixed_bound(bound, dtype), dtype) + np.zeros((), dtype)


def fixed_bound(bound: float, dtype: np.dtype[Any]) -> Any:
    """A bound of the spec in the range's dtype, by way of float32 (RANGE-2)."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(bound, np.float32).astype(dtype)
    if not np.isfinite(rounded):
        raise InputError(
            f"float_range bound for a tensor of {dtype}",
            given=bound,
            allowed="one that the tensor's dtype can hold, or both bounds",
            clause="RANGE-2",
        )
    return rounded
