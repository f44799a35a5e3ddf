"""Wrong ways of rounding, casting and picking, from which the tables of mutants are put together.

Every function is deterministic, also where the hardware behind the bug would not be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from quant_conformance.mutants.exchanged import Step
from quant_conformance.mutants.model import Selector
from quant_conformance.protocol import Array

F32 = np.float32
FLOAT16 = np.dtype(np.float16)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
LEAST_NORMAL = {np.dtype(np.float32): 2.0**-126, FLOAT16: 2.0**-14, BFLOAT16: 2.0**-126}


def ties(to: Callable[[Array, Array], Any]) -> Callable[[Array], Array]:
    """Round to nearest; a tie between n and n + 1 goes to n + ``to(value, n)``."""

    @np.errstate(invalid="ignore")
    def rounded(values: Array) -> Array:
        below = np.floor(values)
        up = np.asarray(to(values, below)).astype(np.float32)
        return np.where(values - below == 0.5, below + up, np.rint(values))

    return rounded


ties_away = ties(lambda v, n: v > 0)
ties_up = ties(lambda v, n: True)
ties_down = ties(lambda v, n: False)
ties_to_zero = ties(lambda v, n: v < 0)
ties_to_odd = ties(lambda v, n: n % 2 == 0)


def half_and_floor(values: Array) -> Array:
    """``floor(v + 0.5)``: the sum itself is rounded, so 0.49999997 becomes 1."""
    return np.asarray(np.floor(values + np.float32(0.5)))


def half_and_truncate(values: Array) -> Array:
    """``trunc(v + copysign(0.5, v))``."""
    return np.asarray(np.trunc(values + np.copysign(np.float32(0.5), values)))


def through(dtype: Any) -> Callable[[Array], Array]:
    """Round to another dtype on the way."""
    return lambda values: np.asarray(np.asarray(values).astype(dtype).astype(np.float32))


def toward_zero(values: Array, dtype: Any) -> Array:
    """Round float32 to another dtype, toward zero."""
    nearest = values.astype(dtype)
    too_far = np.abs(nearest.astype(np.float32)) > np.abs(values)
    return np.where(too_far, np.nextafter(nearest, np.zeros((), dtype)), nearest).astype(dtype)


def flushed(values: Array) -> Array:
    """Float subnormals of the array's own dtype become zeros of their sign."""
    tiny = np.abs(values.astype(np.float32)) < LEAST_NORMAL[values.dtype]
    zero = np.copysign(np.float32(0), values.astype(np.float32)).astype(values.dtype)
    return np.where(tiny, zero, values)


def fma(a: Array, b: Any, c: Any) -> Array:
    """``a * b + c`` with one rounding: the product of two float32 is exact in float64."""
    exact = np.asarray(a, np.float64) * np.asarray(b, np.float64) + np.asarray(c, np.float64)
    return exact.astype(np.float32)


def float64(values: Any) -> Array:
    """Widen to float64."""
    return np.asarray(values, np.float64)


def cast_first(bits: int, wrap_to: str | None = None) -> Step:
    """A clamp that first converts to an integer of ``bits`` as x86 does: outside it, the least.

    Args:
        bits: Width of the conversion.
        wrap_to: A narrower integer dtype of which only the low bits are then kept.
    """
    least = -(2.0 ** (bits - 1))

    def clamp(_: Any, values: Array, low: float, high: float) -> Array:
        fits = np.isfinite(values) & (values >= least) & (values < -least)
        whole = np.where(fits, values, least).astype(np.int64)
        if wrap_to is not None:
            whole = whole.astype(wrap_to).astype(np.int64)
        clamped = np.clip(whole, int(low), int(high)).astype(np.float32)
        return np.where(np.isnan(values), values, clamped)

    return clamp


def rows_of_blocks(view: Array) -> Array:
    """The elements of each block, in C order, on a last axis behind those of the blocks."""
    rank = view.ndim // 2
    order = [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)]
    return view.transpose(order).reshape([*view.shape[::2], -1])


def tail(width: int) -> Selector:
    """What a loop over ``width`` elements at a time leaves to its scalar rest."""

    def rest(x: Array) -> Array:
        whole = x.size - x.size % width
        return (np.arange(x.size) >= whole).reshape(x.shape)

    return rest


def body(width: int) -> Selector:
    """What a loop over ``width`` elements at a time takes."""
    rest = tail(width)
    return lambda x: ~rest(x)


def row_tail(width: int) -> Selector:
    """The same for a loop over each row."""

    def rest(x: Array) -> Array:
        inner = x.shape[-1] if x.ndim else 1
        in_row = np.arange(inner) >= inner - inner % width
        return np.broadcast_to(in_row if x.ndim else in_row[0], x.shape)

    return rest


def of_dtype(dtype: Any) -> Selector:
    """Every element of a tensor of one dtype, and none of another."""
    return lambda x: np.full(x.shape, x.dtype == dtype)


def negative(x: Array) -> Array:
    """Elements below zero."""
    return x < np.zeros((), x.dtype)


def positive(x: Array) -> Array:
    """Elements above zero."""
    return x > np.zeros((), x.dtype)
