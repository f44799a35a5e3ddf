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
    return fold_weight(kernel, norm, transposed=transposed, groups=groups), _fold_bias(
        bias, norm, kernel.dtype
    )


def fold_weight(
    weight: Array,
    norm: BatchNorm,
    *,
    transposed: bool = False,
    groups: int = 1,
    training: bool = False,
) -> Array:
    """The folded weight W' of BN-1; while training, a γ of 0 counts as 1 (BN-3)."""
    factor = fold_factor(norm, training=training)
    axes = (1,) * (weight.ndim - 2)
    if not transposed:
        return _operation(np.multiply, weight, factor.reshape(-1, 1, *axes), into=weight.dtype)
    rows = weight.reshape(groups, -1, *weight.shape[1:])
    spread = factor.reshape(groups, 1, -1, *axes)
    return _operation(np.multiply, rows, spread, into=weight.dtype).reshape(weight.shape)


def fold_factor(norm: BatchNorm, *, training: bool = False) -> Array:
    """The factor f = γ/√(σ² + ε) of BN-1 per channel; a γ of 0 counts as 1 in training (BN-3)."""
    variance = float_array(norm.variance, "variance", "BN-1")
    shifted = _operation(np.add, variance, np.asarray(norm.eps, np.float32).astype(variance.dtype))
    deviation = _operation(np.sqrt, shifted)
    gamma = np.ones_like(deviation) if norm.gamma is None else norm.gamma
    if training:
        gamma = np.where(gamma == 0, np.ones_like(gamma), gamma)
    return _operation(np.divide, float_array(gamma, "gamma", "BN-1"), deviation)


def _fold_bias(bias: Array | None, norm: BatchNorm, dtype: np.dtype[Any]) -> Array:
    """The folded bias b' of BN-2."""
    mean = float_array(norm.mean, "mean", "BN-2")
    given = np.zeros_like(mean) if bias is None else float_array(bias, "bias", "BN-2")
    scaled = _operation(np.multiply, _operation(np.subtract, given, mean), fold_factor(norm))
    beta = np.zeros_like(mean) if norm.beta is None else float_array(norm.beta, "beta", "BN-2")
    return _operation(np.add, scaled, beta, into=dtype)


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
    undone = x / fold_factor(norm, training=True)
    undone = undone if bias is None else undone + bias
    wide = undone.astype(np.float64)
    mean, variance = wide.mean(axis=0), wide.var(axis=0)
    gamma = 1.0 if norm.gamma is None else norm.gamma.astype(np.float64)
    beta = 0.0 if norm.beta is None else norm.beta.astype(np.float64)
    normalized = (wide - mean) / np.sqrt(variance + norm.eps) * gamma + beta
    unbiased = variance * len(wide) / (len(wide) - 1)
    after = BatchNorm(
        _averaged(norm.mean, mean, momentum),
        _averaged(norm.variance, unbiased, momentum),
        norm.eps,
        norm.gamma,
        norm.beta,
    )
    return normalized.astype(x.dtype), after


def _averaged(old: Array, new: Array, momentum: float) -> Array:
    return ((1 - momentum) * old.astype(np.float64) + momentum * new).astype(old.dtype)


def _operation(
    function: Callable[..., Any], *operands: Array, into: np.dtype[Any] | None = None
) -> Array:
    """One operation of BN-1 or BN-2, rounded to the dtype of its operands, then to ``into``."""
    dtypes = {operand.dtype for operand in operands}
    dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)
    with np.errstate(all="ignore"):
        # float32 is exact for either 16-bit dtype, and its rounding does not show in theirs.
        wide = function(*(operand.astype(np.float32) for operand in operands)).astype(dtype)
        return np.asarray(wide if into is None else wide.astype(into))
