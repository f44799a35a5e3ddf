"""Means and variances over axes, and what computing them loses (ADM-8)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from quant_reference.admissible.arithmetic import (
    EXTRA,
    FLOAT32,
    Arithmetic,
    gamma,
    gamma_probable,
)
from quant_reference.admissible.bounds import Bounds, Float64, Operand, bounds_of, result
from quant_reference.admissible.contractions import reduced_axes
from quant_reference.admissible.elementwise import KINDS


@dataclass(frozen=True)
class Reduction:
    """Means over the normalized axes of so many elements, and what accumulating them costs."""

    axes: tuple[int, ...]
    count: int
    factor: float

    def mean(self, array: Float64) -> Float64:
        """The plain mean, its axes kept."""
        return np.asarray(array.mean(axis=self.axes, keepdims=True), np.float64)


def off_mean(
    x: Float64,
    radius: Float64,
    mean: Float64,
    over: Reduction,
    centred: bool,
    arithmetic: Arithmetic,
) -> tuple[Float64, Float64]:
    """How far the mean is off, e_μ, and the deviation from it, e_d (ADM-8)."""
    unit, tiny = arithmetic.value.unit, arithmetic.value.tiny
    deviation = np.abs(x - mean)
    off = np.zeros_like(mean)
    if centred:
        off = over.mean(radius) + over.factor * over.mean(np.abs(x) + radius) + tiny
        off = off * (1 + unit) + unit * np.abs(mean)
    moved = radius + off
    return off, moved + (unit * (deviation + moved) + tiny if centred else 0.0)


def off_variance(
    x: Float64,
    radius: Float64,
    mean: Float64,
    off: tuple[Float64, Float64],
    over: Reduction,
    arithmetic: Arithmetic,
) -> Float64:
    """How far the mean of the squares beside the mean is off, in two passes and in one (ADM-8)."""
    unit, factor = arithmetic.value.unit, over.factor
    moved_mean, off_deviation = off
    deviation = np.abs(x - mean)
    two_pass = over.mean((2 * deviation + off_deviation) * off_deviation)
    two_pass = two_pass + factor * over.mean((deviation + off_deviation) ** 2)
    largest = np.abs(mean) + moved_mean
    squares = over.mean((np.abs(x) + radius) ** 2)
    one_pass = over.mean((2 * np.abs(x) + radius) * radius) + factor * squares
    one_pass = one_pass + (2 * np.abs(mean) + moved_mean) * moved_mean
    one_pass = one_pass + unit * (squares * (1 + factor) + 2 * largest**2)
    return np.maximum(two_pass, one_pass)


def var(
    x: Operand,
    dim: int | tuple[int, ...] | list[int] | None = None,
    correction: float = 1,
    keepdim: bool = False,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Variance over axes, its n over n − correction, in one pass or in two (ADM-2, ADM-8)."""
    x = bounds_of(x, arithmetic)
    over_all = dim is None or (not isinstance(dim, int) and not dim)
    axes = reduced_axes(x.shape, None if over_all else dim)
    size = prod(x.shape[axis] for axis in axes)
    unit, tiny = arithmetic.value.unit, arithmetic.value.tiny
    roundings, groups = size + EXTRA, x.value.size // max(size, 1)
    factors = (
        gamma(roundings, arithmetic.sum.unit),
        gamma_probable(roundings, arithmetic.sum.unit, groups),
    )
    with np.errstate(all="ignore"):
        plain = Reduction(axes, size, 0.0)
        mean = plain.mean(x.value)
        share = np.float64(size) / np.float64(max(size - correction, 0))
        value = plain.mean((x.value - mean) ** 2) * share
        errors = []
        for kind, factor in zip(KINDS, factors, strict=True):
            radius, over = getattr(x, kind), Reduction(axes, size, factor)
            off = off_mean(x.value, radius, mean, over, True, arithmetic)
            moved = off_variance(x.value, radius, mean, off, over, arithmetic) * share
            moved = moved * (1 + gamma(3, unit)) + gamma(3, unit) * value + 3 * tiny
            squares = over.mean((np.abs(x.value) + radius) ** 2) * size * (1 + factor)
            errors.append(np.where(squares > arithmetic.sum.greatest, np.inf, moved))
        nothing = np.zeros_like(value)
        found = result(value, (nothing, nothing), (errors[0], errors[1]), arithmetic)
    return found if keepdim else found.map(lambda a: a.squeeze(axes))
