"""Batch norm in a prepared graph: folded into the weight before it, and trainable (BN clauses).

In evaluation mode, and where the statistics are frozen, a layer with batch norm is one operation
with the weight ``W·γ/√(σ²+ε)`` and the bias ``(b − μ)·γ/√(σ²+ε) + β`` (BN-1, BN-2). In training
mode the same folded weight is quantized, then the factor is divided out again, and batch norm runs
on the statistics of the batch and updates the running ones (BN-3).

Parameters and statistics stay where the model has them; the modules here get them as arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from quant_torch.quantization.spec._fast.value_cache import ValueCache

Tensor = torch.Tensor


class BatchNormPart(nn.Module):
    """Base of the modules that batch norm becomes.

    Attributes:
        frozen: Whether the running statistics are used and kept, also in training mode.
        eps: ε of the batch norm.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.frozen = False

    @property
    def uses_batch(self) -> bool:
        """Whether the statistics of the batch are used, and update the running ones."""
        return self.training and not self.frozen

    def factor(self, gamma: Tensor | None, variance: Tensor) -> Tensor:
        """γ/√(σ²+ε) per channel; each operation is rounded (BN-1).

        Where it will be divided out again, a γ of 0 counts as 1 (BN-3).
        """
        # As a number, ε would keep more digits than a 16-bit dtype has.
        shifted = variance + torch.full_like(variance, self.eps)
        # torch's float32 root is a vector library's, up to one unit in the last place off; a root
        # in float64 is close enough for the one rounding to be right.
        deviation = torch.sqrt(shifted.double()).to(variance.dtype)
        if gamma is None:
            return torch.ones_like(deviation) / deviation
        if self.uses_batch:
            gamma = torch.where(gamma == 0, torch.ones_like(gamma), gamma)
        return gamma / deviation

    def extra_repr(self) -> str:
        """ε, and whether the statistics are frozen."""
        return f"eps={self.eps}" + ", frozen" * self.frozen


class Folded(BatchNormPart):
    """Base of what batch norm makes of a layer's weight and bias.

    While nothing changes and no gradient is recorded, a result is one and the same tensor, so that
    what is computed from it can be kept as well.
    """

    def __init__(self, eps: float) -> None:
        super().__init__(eps)
        self._cache = ValueCache()

    def forward(self, *states: Tensor | None) -> Tensor | None:
        """The folded state; arguments as for :meth:`fold`."""
        sources = tuple(state for state in states if state is not None)
        recorded = torch.is_grad_enabled() and any(s.requires_grad for s in sources)
        if recorded or self.training:
            self._cache.clear()
            return self.fold(*states)
        folded = self._cache.get(sources)
        if folded is None:
            folded = self.fold(*states)
            self._cache.put(sources, folded, private=True)
        return folded

    def fold(self, *states: Tensor | None) -> Tensor | None:
        """Compute the folded state anew."""
        raise NotImplementedError


class FoldedWeight(Folded):
    """W·γ/√(σ²+ε), which is what gets quantized (BN-1).

    Args:
        eps: ε of the batch norm.
        axis: Axis of the output channels.
        groups: Groups of a transposed convolution, whose output channels are spread over the
            groups of its input channels.
    """

    def __init__(self, eps: float, axis: int = 0, groups: int = 1) -> None:
        super().__init__(eps)
        self.axis = axis
        self.groups = groups

    def fold(self, weight: Tensor, gamma: Tensor | None, variance: Tensor) -> Tensor:
        """The folded weight, in the shape of the weight."""
        factor = self.factor(gamma, variance)
        if self.groups == 1:
            shape = [1] * weight.dim()
            shape[self.axis] = -1
            return (weight * factor.reshape(shape)).to(weight.dtype)
        per_group = weight.reshape(self.groups, -1, *weight.shape[1:])
        factors = factor.reshape(self.groups, 1, -1, *([1] * (weight.dim() - 2)))
        return (per_group * factors).reshape(weight.shape).to(weight.dtype)


class FoldedBias(Folded):
    """(b − μ)·γ/√(σ²+ε) + β; nothing while batch statistics are in use (BN-2).

    Args:
        eps: ε of the batch norm.
        dtype: dtype of the weight; a cast of the module casts it, too.
    """

    def __init__(self, eps: float, dtype: torch.dtype) -> None:
        super().__init__(eps)
        self.dtype = dtype

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        self.dtype = fn(torch.empty(0, dtype=self.dtype)).dtype
        return self

    def fold(
        self,
        bias: Tensor | None,
        gamma: Tensor | None,
        beta: Tensor | None,
        mean: Tensor,
        variance: Tensor,
    ) -> Tensor | None:
        """The folded bias, or None in training mode."""
        if self.uses_batch:
            return None
        zeros = torch.zeros_like(mean)
        centred = (zeros if bias is None else bias) - mean
        scaled = centred * self.factor(gamma, variance)
        return (scaled + (zeros if beta is None else beta)).to(self.dtype)


class BatchNorm(BatchNormPart):
    """Batch norm as such: after a folded layer, or alone.

    Args:
        eps: ε.
        momentum: Weight of the new statistics; None for the average of all batches.
        folded: Whether the layer before has it folded in, so that nothing is left to do in
            evaluation mode (BN-3).
    """

    def __init__(self, eps: float, momentum: float | None, folded: bool) -> None:
        super().__init__(eps)
        self.momentum = momentum
        self.folded = folded

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None,
        gamma: Tensor | None,
        beta: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        batches: Tensor | None = None,
    ) -> Tensor:
        """The normalized tensor.

        Args:
            x: Output of the folded layer without its bias, or any tensor; channels on axis 1, on
                the last one after a linear layer of rank 2.
            bias: Bias of the folded layer.
            gamma: γ or None.
            beta: β or None.
            mean: Running mean.
            variance: Running variance.
            batches: Number of batches seen, counted up in training mode, or None.
        """
        if not self.uses_batch:
            if self.folded:
                return x
            return functional.batch_norm(x, mean, variance, gamma, beta, False, 0.0, self.eps)
        if self.folded:
            channels = [1, -1, *([1] * (x.dim() - 2))]
            # The running variance is used before it is updated, as in the folded weight.
            x = x / self.factor(gamma, variance).reshape(channels)
            x = x if bias is None else x + bias.reshape(channels)
        return functional.batch_norm(
            x, mean, variance, gamma, beta, True, self._momentum(batches), self.eps
        )

    def _momentum(self, batches: Tensor | None) -> float:
        if batches is not None:
            batches.add_(1)
        if self.momentum is not None:
            return self.momentum
        return 1.0 if batches is None else 1.0 / float(batches)


def freeze_statistics(module: nn.Module) -> None:
    """Keep the statistics of every batch norm in a module from now on (BN-4)."""
    for part in module.modules():
        if isinstance(part, BatchNormPart):
            part.frozen = True
