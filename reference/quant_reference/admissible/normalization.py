"""Normalizations by statistics of the input: layer, group, instance and RMS norm (ADM-8)."""

from __future__ import annotations

from math import prod

import numpy as np

from quant_reference.admissible.arithmetic import (
    EXTRA,
    FLOAT32,
    Arithmetic,
    gamma,
    gamma_probable,
)
from quant_reference.admissible.batch_normalization import batch_norm
from quant_reference.admissible.bounds import (
    Bounds,
    Float64,
    Operand,
    bounds_of,
    result,
    rounding,
)
from quant_reference.admissible.elementwise import KINDS, add, mul
from quant_reference.admissible.statistics import Reduction, off_mean, off_variance
from quant_reference.errors import InputError


def layer_norm(
    x: Operand,
    weight: Operand | None = None,
    bias: Operand | None = None,
    *,
    normalized_shape: int | tuple[int, ...] | list[int],
    eps: float = 1e-5,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Layer norm over the last axes (ADM-8).

    Args:
        x: Shape (..., *normalized_shape).
        weight: Scale, shape normalized_shape, or None.
        bias: Shift, shape normalized_shape, or None.
        normalized_shape: The axes that are normalized.
        eps: Added to the variance.
        arithmetic: dtypes of values and sums.
    """
    x = bounds_of(x, arithmetic)
    axes = _last_axes(x, normalized_shape, "layer_norm")
    return _affine(_normalized(x, axes, eps, True, arithmetic), weight, bias, arithmetic)


def rms_norm(
    x: Operand,
    weight: Operand | None = None,
    *,
    normalized_shape: int | tuple[int, ...] | list[int],
    eps: float | None = None,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """``x / √(mean(x²) + eps) · weight`` over the last axes (ADM-8); eps None is float32's."""
    x = bounds_of(x, arithmetic)
    axes = _last_axes(x, normalized_shape, "rms_norm")
    least = float(np.finfo(arithmetic.value.dtype).eps) if eps is None else eps
    return _affine(_normalized(x, axes, least, False, arithmetic), weight, None, arithmetic)


def group_norm(
    x: Operand,
    weight: Operand | None = None,
    bias: Operand | None = None,
    *,
    num_groups: int,
    eps: float = 1e-5,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Group norm of (N, C, …): each group of channels with its positions (ADM-8)."""
    x = bounds_of(x, arithmetic)
    if x.value.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise InputError(
            "group_norm",
            given=f"{num_groups} groups of shape {x.shape}",
            allowed="(N, C, ...) and a divisor of C",
            clause="ADM-8",
        )
    shape = x.shape
    grouped = x.map(lambda a: a.reshape(shape[0], num_groups, -1))
    normal = _normalized(grouped, (2,), eps, True, arithmetic).map(lambda a: a.reshape(shape))
    return _affine(normal, *_channels(x, weight, bias, arithmetic), arithmetic)


def instance_norm(
    x: Operand,
    running_mean: Operand | None = None,
    running_var: Operand | None = None,
    weight: Operand | None = None,
    bias: Operand | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Instance norm of (N, C, …): each channel of each sample with its positions (ADM-8)."""
    if not use_input_stats:
        return batch_norm(
            x, running_mean, running_var, weight, bias, eps=eps, arithmetic=arithmetic
        )
    x = bounds_of(x, arithmetic)
    if x.value.ndim < 3:
        raise InputError("instance_norm", given=x.shape, allowed="(N, C, ...)", clause="ADM-8")
    normal = _normalized(x, tuple(range(2, x.value.ndim)), eps, True, arithmetic)
    return _affine(normal, *_channels(x, weight, bias, arithmetic), arithmetic)


def _normalized(
    x: Bounds, axes: tuple[int, ...], eps: float, centred: bool, arithmetic: Arithmetic
) -> Bounds:
    """(x − mean)/√(variance + eps), by the usual formulas (ADM-8).

    The mean is off by e_μ = γ_{n+5}·mean|x| and the radii of x, and a rounding where it is stored.
    The variance is off by the larger of two: in two passes (or Welford's) what e_μ and the
    rounding of x − μ make of mean(x − μ)², and γ_{n+5} of it; in one pass γ_{n+5} of mean(x²), and
    what e_μ makes of μ². So where the mean is large beside the deviation, the set is wide: one pass
    really is that bad there.
    """
    size = prod(x.shape[axis] for axis in axes)
    unit = arithmetic.sum.unit
    roundings = size + EXTRA
    groups = x.value.size // max(size, 1)
    factors = (gamma(roundings, unit), gamma_probable(roundings, unit, groups))
    with np.errstate(all="ignore"):
        plain = Reduction(axes, size, 0.0)
        mean = plain.mean(x.value) if centred else np.zeros_like(plain.mean(x.value))
        deviation = x.value - mean
        variance = plain.mean(deviation**2)
        value = deviation / np.sqrt(variance + eps)
        spread, errors = [], []
        for kind, factor in zip(KINDS, factors, strict=True):
            radius, over = getattr(x, kind), Reduction(axes, size, factor)
            error = _normal_error(
                x.value,
                radius,
                mean,
                variance,
                eps,
                over,
                centred,
                arithmetic,
            )
            spread.append(np.zeros_like(value))
            errors.append(error)
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def _normal_error(
    x: Float64,
    radius: Float64,
    mean: Float64,
    variance: Float64,
    eps: float,
    over: Reduction,
    centred: bool,
    arithmetic: Arithmetic,
) -> Float64:
    unit, tiny, factor = arithmetic.value.unit, arithmetic.value.tiny, over.factor
    size = np.abs(x) + radius
    deviation = np.abs(x - mean)
    moved_mean, off_deviation = off_mean(x, radius, mean, over, centred, arithmetic)
    squares = over.mean(size**2)
    largest = np.abs(mean) + moved_mean
    wide = off_variance(x, radius, mean, (moved_mean, off_deviation), over, arithmetic)
    wide = wide * (1 + unit) + unit * variance + 2 * tiny
    # variance + eps: a rounding, and one of the constant.
    total = variance + eps
    off_total = wide + gamma(2, unit) * (total + wide) + 2 * tiny
    # A sum of squares, or a variance, beyond the range of its dtype is an infinity (ADM-6).
    overflow = squares * over.count * (1 + factor) > arithmetic.sum.greatest
    overflow |= total + off_total > arithmetic.value.greatest
    off_total = np.where(overflow, np.inf, off_total)
    # 1/√, at its far end: 6u for √ and 5u for a division, or 4u for rsqrt.
    inverse = 1 / np.sqrt(total)
    far = 1 / np.sqrt(np.where(total > off_total, total - off_total, np.nan))
    off_inverse = far * (1 + gamma(12, unit)) - inverse
    # (x − μ)·s, or x·s − μ·s: three roundings of |x·s| and |μ·s|.
    reach = inverse + off_inverse
    product = off_deviation * reach + deviation * off_inverse
    last = rounding((size + largest) * reach, arithmetic, 3)
    return np.asarray(product + last, np.float64)


def _affine(
    normal: Bounds, weight: Operand | None, bias: Operand | None, arithmetic: Arithmetic
) -> Bounds:
    if weight is not None:
        normal = mul(normal, weight, arithmetic=arithmetic)
    return normal if bias is None else add(normal, bias, arithmetic=arithmetic)


def _channels(
    x: Bounds, weight: Operand | None, bias: Operand | None, arithmetic: Arithmetic
) -> tuple[Bounds | None, Bounds | None]:
    shape = (1, -1, *(1,) * (x.value.ndim - 2))
    found = [
        None if o is None else bounds_of(o, arithmetic).map(lambda a: a.reshape(shape))
        for o in (weight, bias)
    ]
    return found[0], found[1]


def _last_axes(
    x: Bounds, normalized_shape: int | tuple[int, ...] | list[int], name: str
) -> tuple[int, ...]:
    given = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    rank = x.value.ndim
    if not given or x.shape[rank - len(given) :] != given:
        raise InputError(
            f"{name}: normalized_shape",
            given=f"{given} for shape {x.shape}",
            allowed="the last extents of the shape",
            clause="ADM-8",
        )
    return tuple(range(rank - len(given), rank))
