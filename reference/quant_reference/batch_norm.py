"""Batch norm folded into the layer before it (BN-1, BN-2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


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
        eps: Added to the variance.
        transposed: Whether the layer is a transposed convolution.
        groups: Groups of a transposed convolution.

    Returns:
        The folded weight in the shape of the weight, and the folded bias; both in weight's dtype.
    """
    dtype = weight.dtype
    deviation = np.sqrt(variance + dtype.type(eps))
    factor = (np.ones_like(deviation) if gamma is None else gamma) / deviation
    kernel = (1,) * (weight.ndim - 2)
    if transposed:
        rows = weight.reshape(groups, -1, *weight.shape[1:])
        folded = (rows * factor.reshape(groups, 1, -1, *kernel)).reshape(weight.shape)
    else:
        folded = weight * factor.reshape(-1, 1, *kernel)
    zeros = np.zeros_like(mean)
    centred = (zeros if bias is None else bias) - mean
    return folded, centred * factor + (zeros if beta is None else beta)
