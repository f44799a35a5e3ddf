"""Pools: averages are sums (ADM-2), maxima are exact (ADM-5)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import prod
from typing import Any

import numpy as np

from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic
from quant_reference.admissible.bounds import Bounds, Float64, Operand, bounds_of
from quant_reference.admissible.contractions import accumulated
from quant_reference.admissible.windows import Extents, output_extents, padded, per_axis, taps
from quant_reference.errors import InputError


def pool_of(axes: int, pool: Callable[..., Bounds]) -> Callable[..., Bounds]:
    """The pool with its number of sliding axes fixed, as the table of operations names it."""

    @wraps(pool)
    def fixed(x: Operand, *arguments: Any, **named: Any) -> Bounds:
        return pool(x, *arguments, axes=axes, **named)

    return fixed


def avg_pool(
    x: Operand,
    kernel_size: Extents,
    stride: Extents | None = None,
    padding: Extents = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    axes: int = 2,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Average over windows of the last ``axes`` axes (ADM-2, ADM-3); attributes as torch's."""
    x = bounds_of(x, arithmetic)
    kernel = per_axis(kernel_size, axes, "kernel_size", 1)
    step = kernel if stride is None or stride == [] else per_axis(stride, axes, "stride", 1)
    pads = _pool_pads(padding, kernel)
    ones = (1,) * axes
    shape = _sliding(x, axes)
    out = output_extents(shape, kernel, step, pads, ones, ceil_mode)

    counts = np.ones(out)
    for axis, (n, k, s, (before, after)) in enumerate(zip(shape, kernel, step, pads, strict=True)):
        starts = np.arange(out[axis]) * s - before
        ends = np.minimum(starts + k, n + after)  # a window that hangs over counts no further
        if not count_include_pad:
            starts, ends = np.maximum(starts, 0), np.minimum(ends, n)
        counts *= (ends - starts).reshape(-1, *(1,) * (axes - axis - 1))
    if divisor_override is not None:
        counts = np.full(out, float(divisor_override))

    def average(values: Float64) -> Float64:
        wide = padded(values, kernel, step, pads, ones, out, 0.0)
        total = np.zeros((*values.shape[: values.ndim - axes], *out))
        lead = (slice(None),) * (values.ndim - axes)
        for _, window in taps(kernel, step, ones, out):
            total += wide[lead + window]
        return np.asarray(total / counts)

    return _averaged(x, average, prod(kernel), counts, arithmetic)


def adaptive_avg_pool(
    x: Operand,
    output_size: int | tuple[int | None, ...],
    *,
    axes: int = 2,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Average over windows that divide an axis into ``output_size`` parts (ADM-2, ADM-3).

    Part i of m of an axis of n is ⌊i·n/m⌋ to ⌈(i + 1)·n/m⌉, as in torch.
    """
    x = bounds_of(x, arithmetic)
    shape = _sliding(x, axes)
    sizes = (output_size,) * axes if isinstance(output_size, int) else tuple(output_size)
    if len(sizes) != axes:
        raise InputError(
            "output_size", given=output_size, allowed=f"{axes} extents", clause="ADM-2"
        )
    shares, depth = [], 1
    for n, given in zip(shape, sizes, strict=True):
        m = n if given is None else given
        starts = [i * n // m for i in range(m)]
        ends = [-(-(i + 1) * n // m) for i in range(m)]
        share = np.zeros((m, n))
        for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
            share[i, start:end] = 1 / (end - start)
        shares.append(share)
        depth *= max(end - start for start, end in zip(starts, ends, strict=True))

    def average(values: Float64) -> Float64:
        for axis, share in enumerate(shares, start=values.ndim - axes):
            values = np.moveaxis(np.moveaxis(values, axis, -1) @ share.T, -1, axis)
        return values

    return _averaged(x, average, depth, float(depth), arithmetic)


def max_pool(
    x: Operand,
    kernel_size: Extents,
    stride: Extents | None = None,
    padding: Extents = 0,
    dilation: Extents = 1,
    ceil_mode: bool = False,
    *,
    axes: int = 2,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Maximum over windows of the last ``axes`` axes: exact, and monotone (ADM-5)."""
    x = bounds_of(x, arithmetic)
    kernel = per_axis(kernel_size, axes, "kernel_size", 1)
    step = kernel if stride is None or stride == [] else per_axis(stride, axes, "stride", 1)
    spread = per_axis(dilation, axes, "dilation", 1)
    pads = _pool_pads(padding, kernel)
    out = output_extents(_sliding(x, axes), kernel, step, pads, spread, ceil_mode)

    def greatest(values: Float64) -> Float64:
        wide = padded(values, kernel, step, pads, spread, out, -np.inf)
        windows = (
            wide[(slice(None),) * (values.ndim - axes) + window]
            for _, window in taps(kernel, step, spread, out)
        )
        found = next(windows).copy()
        for window in windows:
            np.maximum(found, window, out=found)
        return found

    value = greatest(x.value)
    radii = []
    for kind in ("rigorous", "probable"):
        low, high = x.ends(kind)
        if x.is_exact:
            radii.append(np.zeros_like(value))
            continue
        with np.errstate(invalid="ignore"):
            radius = np.maximum(greatest(high) - value, value - greatest(low))
        radii.append(np.where(np.isnan(radius), np.inf, radius))
    return Bounds(value, radii[0], radii[1])


def _averaged(
    x: Bounds,
    average: Callable[[Float64], Float64],
    depth: int,
    divisor: Float64 | float,
    arithmetic: Arithmetic,
) -> Bounds:
    """A mean of ``depth`` values: depth − 1 additions and at most six roundings to divide."""
    with np.errstate(invalid="ignore"):
        size = average(np.abs(x.value))
        spread = (average(x.rigorous), average(x.probable))
        sizes = (size + spread[0], size + spread[1])
        return accumulated(average(x.value), spread, sizes, depth, arithmetic, divisor)


def _sliding(x: Bounds, axes: int) -> tuple[int, ...]:
    if x.value.ndim not in (axes + 1, axes + 2):
        raise InputError(
            "pool: rank", given=x.shape, allowed=f"rank {axes + 1} or {axes + 2}", clause="ADM-2"
        )
    return x.shape[x.value.ndim - axes :]


def _pool_pads(padding: Extents, kernel: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    pads = per_axis(padding, len(kernel), "padding", 0)
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        raise InputError(
            "padding of a pool", given=padding, allowed="at most half the window", clause="ADM-2"
        )
    return tuple((p, p) for p in pads)
