"""Elementwise operations: arithmetic, and what is exact because it only chooses (ADM-4, ADM-5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quant_reference.admissible.arithmetic import BINARY, FLOAT32, ULP, Arithmetic
from quant_reference.admissible.bounds import (
    Bounds,
    Float64,
    Operand,
    bounds_of,
    monotone,
    result,
    rounding,
    times,
)
from quant_reference.errors import InputError

KINDS = ("rigorous", "probable")


def add(a: Operand, b: Operand, alpha: float = 1, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``a + alpha·b``: γ_1 of the sum, and γ_3 of alpha·b where alpha is not ±1 (ADM-4)."""
    a, b = bounds_of(a, arithmetic), bounds_of(b, arithmetic)
    with np.errstate(invalid="ignore", over="ignore"):
        value = a.value + alpha * b.value
        spread = tuple(getattr(a, k) + abs(alpha) * getattr(b, k) for k in KINDS)
        errors = []
        for kind, moved in zip(KINDS, spread, strict=True):
            error = rounding(np.abs(value) + moved, arithmetic)
            if abs(alpha) != 1:  # the constant alpha, the product with it, and their rounding
                size = abs(alpha) * (np.abs(b.value) + getattr(b, kind))
                error = error + rounding(size, arithmetic, 3)
            errors.append(error)
    once = abs(alpha) == 1
    return result(
        value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic, rounded_once=once
    )


def sub(a: Operand, b: Operand, alpha: float = 1, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``a − alpha·b`` (ADM-4)."""
    return add(a, neg(b, arithmetic=arithmetic), alpha, arithmetic=arithmetic)


def mul(a: Operand, b: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``a · b``: one rounding (ADM-4)."""
    a, b = bounds_of(a, arithmetic), bounds_of(b, arithmetic)
    with np.errstate(invalid="ignore", over="ignore"):
        value = a.value * b.value
        spread: list[Float64] = []
        for kind in KINDS:
            ra, rb = getattr(a, kind), getattr(b, kind)
            spread.append(times(np.abs(a.value), rb) + times(np.abs(b.value), ra) + times(ra, rb))
        errors = [rounding(np.abs(value) + moved, arithmetic) for moved in spread]
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def lerp(
    start: Operand, end: Operand, weight: Operand, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """``start + weight·(end − start)`` (ADM-4).

    Four roundings, at magnitudes that admit ``end − (1 − weight)·(end − start)`` and
    ``start·(1 − weight) + end·weight`` too.
    """
    s, e, w = (bounds_of(x, arithmetic) for x in (start, end, weight))
    with np.errstate(invalid="ignore", over="ignore"):
        value = s.value * (1 - w.value) + e.value * w.value
        rest = np.abs(1 - w.value)
        spread, errors = [], []
        for kind in KINDS:
            rs, re, rw = (getattr(x, kind) for x in (s, e, w))
            both = np.abs(s.value) + rs + np.abs(e.value) + re
            moved = times(rest, rs) + times(np.abs(w.value), re)
            spread.append(moved + times(np.abs(e.value - s.value) + rs + re, rw))
            first = np.abs(s.value) + rs + (np.abs(w.value) + rw) * both
            last = np.abs(e.value) + re + (rest + rw) * both
            errors.append(rounding(np.maximum(first, last), arithmetic, 4))
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def div(a: Operand, b: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``a / b``: 2.5 ulp, so that a product with a rounded reciprocal passes (ADM-5)."""
    a, b = bounds_of(a, arithmetic), bounds_of(b, arithmetic)
    with np.errstate(all="ignore"):
        value = a.value / b.value
        spread = []
        for kind in KINDS:
            ra, rb = getattr(a, kind), getattr(b, kind)
            nearest = np.abs(b.value) - rb
            moved = (ra + times(np.abs(value), rb)) / nearest
            # Where b may be zero or of either sign nothing is known, unless a is exact and so is b.
            moved = np.where((ra == 0) & (rb == 0), 0.0, np.where(nearest > 0, moved, np.inf))
            spread.append(moved)
        errors = [ulps(np.abs(value) + moved, ULP["div"], arithmetic) for moved in spread]
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def neg(x: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``−x``: exact."""
    x = bounds_of(x, arithmetic)
    return Bounds(-x.value, x.rigorous, x.probable)


def identity(x: Operand, *_: Any, arithmetic: Arithmetic = FLOAT32, **__: Any) -> Bounds:
    """The operand itself, whatever the attributes: dropout outside training, clone, contiguous."""
    return bounds_of(x, arithmetic)


def round_to(x: Operand, dtype: str, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """An operand rounded to a dtype: one rounding of it (ADM-4).

    Args:
        x: The operand.
        dtype: ``"float32"`` or ``"float16"``.
        arithmetic: Not used but for constants.

    Raises:
        InputError: Another dtype.
    """
    x = bounds_of(x, arithmetic)
    if dtype not in BINARY:
        raise InputError("dtype", given=dtype, allowed=", ".join(BINARY), clause="ADM-1")
    target = Arithmetic(dtype, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        held = x.value.astype(target.value.dtype).astype(np.float64) == x.value
    errors = [
        np.where(held & (radius == 0), 0.0, rounding(np.abs(x.value) + radius, target))
        for radius in (x.rigorous, x.probable)
    ]
    rounded = result(x.value, (x.rigorous, x.probable), (errors[0], errors[1]), target)
    exact = held & (x.rigorous == 0) & np.isfinite(x.value)
    return Bounds(
        x.value,
        np.where(exact, 0.0, rounded.rigorous),
        np.where(exact, 0.0, rounded.probable),
    )


def chosen(x: Operand, function: Callable[[Float64], Float64], arithmetic: Arithmetic) -> Bounds:
    """Bounds of a monotone function that returns its operand or a constant: no rounding."""
    value, spread = monotone(bounds_of(x, arithmetic), function)
    lost = [np.where(np.isnan(moved) | np.isnan(value), np.inf, moved) for moved in spread]
    return Bounds(value, lost[0], lost[1])


def relu(x: Operand, inplace: bool = False, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``max(x, 0)``: exact."""
    return chosen(x, lambda v: np.maximum(v, 0.0), arithmetic)


def relu6(x: Operand, inplace: bool = False, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``min(max(x, 0), 6)``: exact."""
    return clamp(x, 0, 6, arithmetic=arithmetic)


def clamp(
    x: Operand,
    min: float | None = None,
    max: float | None = None,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """``min(max(x, low), high)``: exact but for the rounding of the two constants (ADM-4)."""
    low = None if min is None else bounds_of(min, arithmetic)
    high = None if max is None else bounds_of(max, arithmetic)
    if low is None and high is None:
        raise InputError("clamp", given="no bound", allowed="min, max or both", clause="ADM-5")

    def clamped(v: Float64) -> Float64:
        v = v if low is None else np.maximum(v, low.value)
        return v if high is None else np.minimum(v, high.value)

    found = chosen(x, clamped, arithmetic)
    radii = [found.rigorous, found.probable]
    for bound in (low, high):
        if bound is not None and not bound.is_exact:
            # A constant that is off by r moves what it replaces by r at most.
            off, apart = bound.rigorous, np.abs(found.value - bound.value)
            radii = [np.where(apart <= radius + off, radius + off, radius) for radius in radii]
    return Bounds(found.value, radii[0], radii[1])


def hardtanh(
    x: Operand,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """:func:`clamp` under the name that networks use."""
    return clamp(x, min_val, max_val, arithmetic=arithmetic)


def leaky_relu(
    x: Operand,
    negative_slope: float = 0.01,
    inplace: bool = False,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """x, or slope · x where x may be negative: γ_3 of that, for constant and product (ADM-7)."""
    x = bounds_of(x, arithmetic)
    slope = float(negative_slope)

    def bent(v: Float64) -> Float64:
        return np.where(v > 0, v, slope * v)

    if slope < 0:
        raise InputError(
            "negative_slope", given=slope, allowed="a number of at least 0", clause="ADM-5"
        )
    value, spread = monotone(x, bent)
    errors = []
    for kind in KINDS:
        low, _ = x.ends(kind)
        errors.append(np.where(low < 0, rounding(slope * np.abs(low), arithmetic, 3), 0.0))
    return settled(x, result(value, spread, (errors[0], errors[1]), arithmetic), errors)


def settled(x: Bounds, found: Bounds, errors: list[Float64]) -> Bounds:
    """Take back float64's allowance where x is exact and goes through unchanged."""
    exact = (x.rigorous == 0) & (errors[0] == 0) & ~np.isnan(found.value)
    return Bounds(
        found.value, np.where(exact, 0.0, found.rigorous), np.where(exact, 0.0, found.probable)
    )


def ulps(magnitude: Float64, count: float, arithmetic: Arithmetic) -> Float64:
    """``count`` units in the last place of results of at most this magnitude (ADM-5).

    One ulp is at most 2u times the magnitude, or the distance of two subnormals.
    """
    return rounding(magnitude, arithmetic, 2 * count)


def function(
    x: Operand,
    name: str,
    form: Callable[[Float64], Any],
    arithmetic: Arithmetic,
) -> Bounds:
    """Bounds of a monotone library function with its entry in the table of ulps (ADM-5)."""
    operand = bounds_of(x, arithmetic)
    value, spread = monotone(operand, form)
    with np.errstate(invalid="ignore"):
        first, second = (ulps(np.abs(value) + moved, ULP[name], arithmetic) for moved in spread)
    return result(value, spread, (first, second), arithmetic)
