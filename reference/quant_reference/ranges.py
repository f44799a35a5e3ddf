"""value_range: the interval that the codes of a block must cover (SPEC.md, RANGE-1 to RANGE-5)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_reference._arrays import Array, block_view_shape, float_array
from quant_reference.errors import InputError, SpecError
from quant_reference.granularity import Target, scale_shape
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
    if spec.qparam_calculator_cls == "dynamic" and target == "weight":
        raise SpecError(
            "a dynamic calculator", given="a weight", allowed="activations", clause="SPEC-5"
        )
    values = float_array(x, "x", "RANGE-3")
    blocks = scale_shape(values.shape, spec.granularity, target)
    if values.size == 0:
        raise InputError(
            "a tensor without elements has no range",
            given=f"shape {values.shape}",
            allowed="at least one element",
            clause="RANGE-5",
        )
    lo_bound, hi_bound = spec.float_range
    if lo_bound is not None and hi_bound is not None:
        return _filled(blocks, lo_bound, np.float32), _filled(blocks, hi_bound, np.float32)
    view = values.reshape(block_view_shape(values.shape, blocks))
    inside = tuple(range(1, view.ndim, 2))
    zero = np.zeros((), values.dtype)
    # minimum and maximum propagate NaN; the sum turns the -0 they may return into +0.
    with np.errstate(invalid="ignore"):  # NaN is a result here (RANGE-4)
        lo = np.minimum(np.min(view, axis=inside), zero) + zero
        hi = np.maximum(np.max(view, axis=inside), zero) + zero
    if lo_bound is not None:
        lo = _filled(blocks, lo_bound, values.dtype)
    if hi_bound is not None:
        hi = _filled(blocks, hi_bound, values.dtype)
    return np.asarray(lo), np.asarray(hi)


def _filled(blocks: tuple[int, ...], bound: float, dtype: Any) -> Array:
    """A constant bound, rounded through float32 to dtype (RANGE-2)."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(bound, np.float32).astype(dtype)
    if not np.isfinite(rounded):
        raise InputError(
            f"float_range bound for a tensor of {np.dtype(dtype)}",
            given=bound,
            allowed="one that the tensor's dtype can hold, or both bounds",
            clause="RANGE-2",
        )
    return np.full(blocks, rounded, dtype) + np.zeros((), dtype)
