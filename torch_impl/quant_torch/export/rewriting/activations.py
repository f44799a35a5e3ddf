"""Activations and clamps that a converter lacks, or computes with other arguments."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from quant_torch.export.rewriting._rule import Rules, aten, like


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """The input above zero, and the weight of its channel times it below.

    coremltools takes weights that differ for four axes only.
    """
    if x.dim() == 4 or (weight.numel() == 1 and x.dim() > 1):
        return NotImplemented
    if x.dim() > 1 and weight.numel() > 1:
        weight = torch.reshape(weight, [1, -1] + [1] * (x.dim() - 2))
    return torch.where(x > 0, x, x * weight)


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """The input above zero, and ``alpha * (exp(x / alpha) - 1)`` below."""
    return torch.where(x > 0, x, functional.elu(x / alpha) * alpha)


def log_sigmoid(x: Tensor) -> Tensor:
    """Softplus of the opposite, with the opposite sign."""
    return -functional.softplus(-x)


def log_sigmoid_forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`log_sigmoid`; the buffer beside it is for a backward pass only."""
    return log_sigmoid(x), x


def softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """With a threshold of one's own, which coremltools does not read."""
    if threshold == 20:
        return NotImplemented
    return torch.where(x * beta > threshold, x, functional.softplus(x, beta))


def softshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """Towards zero by lambd, and zero within it."""
    near = torch.where(x < -lambd, x + lambd, x * 0.0)
    return torch.where(x > lambd, x - lambd, near)


def hardshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """Zero within lambd."""
    return torch.where(torch.abs(x) <= lambd, like(0.0, x), x)


def threshold(x: Tensor, threshold: float, value: float) -> Tensor:
    """The input, or a number where it is not above a threshold."""
    return torch.where(x <= threshold, like(value, x), x)


def hardtanh(x: Tensor, min_val: float = -1, max_val: float = 1) -> Tensor:
    """A clamp at two floats: coremltools takes whole bounds for integers."""
    if isinstance(min_val, float) and isinstance(max_val, float) and min_val <= max_val:
        return NotImplemented
    return clamp(x, float(min_val), float(max_val), crossed=True)


def clamp(
    x: Tensor, min: float | None = None, max: float | None = None, *, crossed: bool = False
) -> Tensor:
    """Where the bounds cross, the upper one is the result, as in torch."""
    crosses = min is not None and max is not None and min > max
    if not crosses and not crossed:
        return NotImplemented
    if not crosses:
        return torch.clamp(x, min, max)
    return torch.minimum(torch.maximum(x, like(min, x)), like(max, x))


def clamp_tensor(x: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    """A maximum, then a minimum."""
    if min is not None:
        x = torch.maximum(x, min.to(x.dtype))
    return x if max is None else torch.minimum(x, max.to(x.dtype))


def rms_norm(
    x: Tensor, normalized_shape: list[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """With epsilon beside the mean of the squares; coremltools adds it to another mean."""
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    axes = list(range(x.dim() - len(normalized_shape), x.dim()))
    normal = x / torch.sqrt(torch.mean(x * x, axes, True) + eps)
    return normal if weight is None else normal * weight


CLAMPS: Rules = {
    aten.clamp.default: clamp,
    aten.clamp.Tensor: clamp_tensor,
    aten.clip.default: clamp,
    aten.clip.Tensor: clamp_tensor,
    aten.clamp_min.Tensor: lambda x, min: clamp_tensor(x, min),
    aten.clamp_max.Tensor: lambda x, max: clamp_tensor(x, None, max),
    aten.hardtanh.default: hardtanh,
}

ACTIVATIONS: Rules = {
    aten.prelu.default: prelu,
    aten._prelu_kernel.default: lambda x, w: torch.where(x > 0, x, x * w),
    aten.celu.default: celu,
    aten.log_sigmoid.default: log_sigmoid,
    aten.log_sigmoid_forward.default: log_sigmoid_forward,
    aten.softplus.default: softplus,
    aten.softshrink.default: softshrink,
    aten.hardshrink.default: hardshrink,
    aten.threshold.default: threshold,
}
