"""Batch norm folded into the layer before it, and one of its training steps (BN-1 to BN-4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference._arrays import float_array
from quant_reference.errors import InputError

Array = NDArray[Any]


@dataclass(frozen=True)
class BatchNorm:
    """A batch norm: one entry per output channel of the layer before it.

    Attributes:
        mean: Running mean.
        variance: Running variance.
        eps: Added to the variance.
        gamma: Scale, or None for 1.
        beta: Shift, or None for 0.
    """

    mean: Array
    variance: Array
    eps: float
    gamma: Array | None = None
    beta: Array | None = None


def fold_batch_norm(
    weight: Array,
    bias: Array | None,
    gamma: Array | None,
    beta: Array | None,
    mean: Array,
    variance: Array,
    eps: float,
    *,
    transposed: bool = False,
    groups: int = 1,
) -> tuple[Array, Array]:
    """Folds a batch norm into the weight and the bias of its layer (BN-1, BN-2).

    Args:
        weight: Weight of a convolution or linear layer, output channels on axis 0, or of a
            transposed convolution, (in, out/groups, ...).
        bias: Bias, one entry per output channel, or None.
        gamma: Scale of the batch norm per output channel, or None for 1.
        beta: Shift of the batch norm per output channel, or None for 0.
        mean: Running mean.
        variance: Running variance.
        eps: Added to the variance, in the variance's dtype.
        transposed: Whether the layer is a transposed convolution.
        groups: Groups of a transposed convolution.

    Returns:
        The folded weight in the shape of the weight, and the folded bias; both in weight's dtype.

    Raises:
        InputError: A tensor that is not float16, bfloat16 or float32 (BN-1).
    """
    norm = BatchNorm(mean, variance, eps, gamma, beta)
    kernel = float_array(weight, "weight", "BN-1")
    factor = fold_factor(norm)
    folded = fold_weight(kernel, factor, transposed=transposed, groups=groups)
    return folded, fold_bias(bias, norm, factor, kernel.dtype)


def fold_weight(
    weight: Array, factor: Array, *, transposed: bool = False, groups: int = 1
) -> Array:
    """The folded weight W': each element times the factor of its output channel (BN-1)."""
    spread = spread_factor(factor, weight.shape, transposed, groups)
    with np.errstate(all="ignore"):
        return rounded(np.multiply, weight, spread).astype(weight.dtype)


def spread_factor(factor: Array, shape: tuple[int, ...], transposed: bool, groups: int) -> Array:
    """The factors of a weight's output channels, so that they broadcast with the weight (BN-1)."""
    if transposed:  # (in, out/groups, ...): the inputs of a group share its outputs
        per_group = factor.reshape(groups, -1)
        rows = np.repeat(per_group, shape[0] // groups, axis=0)
    else:
        rows = factor.reshape(-1, 1)
    return rows.reshape(*rows.shape, *(1,) * (len(shape) - 2))


def fold_factor(norm: BatchNorm, *, training: bool = False) -> Array:
    """The factor f = γ/√(σ² + ε) of BN-1 per channel; a γ of 0 counts as 1 in training (BN-3)."""
    deviation = deviation_of(norm)
    given = np.ones_like(deviation) if norm.gamma is None else norm.gamma
    gamma = float_array(nonzero_gamma(given) if training else given, "gamma", "BN-1")
    return rounded(np.divide, gamma, deviation)


def deviation_of(norm: BatchNorm) -> Array:
    """The root of variance and eps (BN-1)."""
    variance = float_array(norm.variance, "variance", "BN-1")
    return rounded(np.sqrt, rounded(np.add, variance, eps_of(norm, variance.dtype)))


def eps_of(norm: BatchNorm, dtype: np.dtype[Any]) -> Array:
    """Eps in the dtype of the variance (BN-1)."""
    return np.asarray(norm.eps, np.float32).astype(dtype)


def nonzero_gamma(gamma: Array) -> Array:
    """1 for a γ of 0, which could not be divided out again (BN-3)."""
    return np.where(gamma == 0, np.ones_like(gamma), gamma)


def fold_bias(bias: Array | None, norm: BatchNorm, factor: Array, dtype: np.dtype[Any]) -> Array:
    """The folded bias b': a difference, a product, a sum (BN-2)."""
    mean = float_array(norm.mean, "mean", "BN-2")
    given = np.zeros_like(mean) if bias is None else float_array(bias, "bias", "BN-2")
    beta = np.zeros_like(mean) if norm.beta is None else float_array(norm.beta, "beta", "BN-2")
    scaled = rounded(np.multiply, rounded(np.subtract, given, mean), factor)
    with np.errstate(all="ignore"):
        return rounded(np.add, scaled, beta).astype(dtype)


def train_batch_norm(
    x: Array, bias: Array | None, norm: BatchNorm, momentum: float
) -> tuple[Array, BatchNorm]:
    """One training step of a folded batch norm with statistics of the batch (BN-3).

    Sums run in float64 and are rounded once; how a kernel sums is not part of BN-3.

    Args:
        x: float32 of shape (batch, channels): the result of the layer with W' and no bias.
        bias: Bias of the layer, or None.
        norm: The batch norm; its running statistics are those of before the step.
        momentum: Weight of the batch in the running statistics.

    Returns:
        The normalized batch, and the batch norm with its running statistics updated.

    Raises:
        InputError: Fewer than two rows, which have no variance.
    """
    if x.ndim != 2 or x.shape[0] < 2:
        raise InputError("batch", given=x.shape, allowed="(2 or more, channels)", clause="BN-3")
    wide = undone(x, fold_factor(norm, training=True), bias).astype(np.float64)
    mean, variance = wide.mean(axis=0), wide.var(axis=0)
    gamma = 1.0 if norm.gamma is None else norm.gamma.astype(np.float64)
    beta = 0.0 if norm.beta is None else norm.beta.astype(np.float64)
    normalized = (wide - mean) / np.sqrt(variance + norm.eps) * gamma + beta
    after = BatchNorm(
        averaged(norm.mean, mean, momentum),
        averaged(norm.variance, unbiased(variance, len(wide)), momentum),
        norm.eps,
        norm.gamma,
        norm.beta,
    )
    return normalized.astype(x.dtype), after


def undone(y: Array, factor: Array, bias: Array | None) -> Array:
    """The layer's result without the factor, with its bias (BN-3)."""
    return y / factor if bias is None else y / factor + bias


def unbiased(variance: Array, rows: int) -> Array:
    """The variance that the running one is made of (BN-3)."""
    return variance * rows / (rows - 1)


def averaged(old: Array, new: Array, momentum: float) -> Array:
    """Running statistics after a batch (BN-3)."""
    return ((1 - momentum) * old.astype(np.float64) + momentum * new).astype(old.dtype)


def rounded(function: Callable[..., Any], *operands: Array) -> Array:
    """One operation of BN-1 or BN-2, rounded to the dtype of its operands, or to float32."""
    dtypes = {operand.dtype for operand in operands}
    dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)
    with np.errstate(all="ignore"):
        # float32 is exact for either 16-bit dtype, and its rounding does not show in theirs.
        wide = function(*(operand.astype(np.float32) for operand in operands))
        return np.asarray(wide.astype(dtype))
