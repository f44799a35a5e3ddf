"""Elementwise operations, written out in those that the converters get right."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from quant_torch.export.rewriting._rule import Rules, aten, like


def _scaled(other: Tensor | float, alpha: float) -> Tensor | float:
    return other if alpha == 1 else other * alpha


def add_scaled(x: Tensor, other: Tensor | float, *, alpha: float = 1) -> Tensor:
    """``x + alpha * other``; both converters leave alpha out, or refuse it."""
    return NotImplemented if alpha == 1 else x + _scaled(other, alpha)


def sub_scaled(x: Tensor, other: Tensor | float, *, alpha: float = 1) -> Tensor:
    """``x - alpha * other``."""
    return NotImplemented if alpha == 1 else x - _scaled(other, alpha)


def rsub_tensor(x: Tensor, other: Tensor, *, alpha: float = 1) -> Tensor:
    """``other - alpha * x``."""
    return NotImplemented if alpha == 1 else other - _scaled(x, alpha)


def rsub_number(x: Tensor, other: float, alpha: float = 1) -> Tensor:
    """``other - alpha * x``."""
    return NotImplemented if alpha == 1 else other - _scaled(x, alpha)


def reciprocal(x: Tensor) -> Tensor:
    """A division: the operation that coremltools has for it adds 1e-4 to x."""
    return torch.div(1.0, x)


def rsqrt(x: Tensor) -> Tensor:
    """A division by a root: the operation that coremltools has for it adds 1e-12 to x."""
    return torch.div(1.0, torch.sqrt(x))


def log(x: Tensor) -> Tensor:
    """With -inf for 0, where Core ML adds 1e-45 first."""
    return torch.where(x == 0, like(-math.inf, x), torch.log(x))


def log1p(x: Tensor) -> Tensor:
    """What is lost where x is small is divided out again (Kahan); converters take log(1 + x)."""
    u = 1.0 + x
    less = torch.relu(u) - 1.0  # Core AI takes u - 1 for x, but not behind a relu
    whole = torch.logical_or(u == 1.0, u == math.inf)
    log_u = torch.log(torch.where(whole, like(2.0, x), u))
    small = log_u * (x / torch.where(whole, like(1.0, x), less))
    return torch.where(whole, x, small)


def expm1(x: Tensor) -> Tensor:
    """What is lost where x is small is divided out again (Kahan); converters take exp(x) - 1."""
    u = torch.exp(x)
    less = u - 1.0
    plain = torch.logical_or(less == -1.0, torch.logical_or(u == math.inf, u == 1.0))
    log_u = torch.log(torch.where(plain, like(2.0, x), u))
    small = torch.where(u == 1.0, x, less)
    return torch.where(plain, small, less * (x / log_u))


def _is_one(other: object) -> bool:
    if isinstance(other, Tensor):
        return False
    return isinstance(other, int | float) and abs(other) == 1


def floor_divide(x: Tensor, other: Tensor | float) -> Tensor:
    """A division by one keeps its floor, which converters leave out with it."""
    if not _is_one(other) or not x.is_floating_point():
        return NotImplemented
    return torch.floor(x if other == 1 else -x)


def div_rounded(x: Tensor, other: Tensor | float, *, rounding_mode: str | None = None) -> Tensor:
    """As :func:`floor_divide`, for both ways of rounding."""
    if rounding_mode is None or not _is_one(other) or not x.is_floating_point():
        return NotImplemented
    quotient = x if other == 1 else -x
    return torch.floor(quotient) if rounding_mode == "floor" else trunc(quotient)


def remainder(x: Tensor, other: Tensor | float) -> Tensor:
    """Of a division by one; the remainder takes the sign of the divisor."""
    if not _is_one(other) or not x.is_floating_point():
        return NotImplemented
    return x - torch.floor(x) if other == 1 else -(-x - torch.floor(-x))


def trunc(x: Tensor) -> Tensor:
    """Floor above zero, ceiling below."""
    return torch.where(x < 0, torch.ceil(x), torch.floor(x))


def frac(x: Tensor) -> Tensor:
    """What truncation takes away."""
    return x - trunc(x)


def round_decimals(x: Tensor, *, decimals: int = 0) -> Tensor:
    """Round to decimals as torch does: by a power of ten, there and back."""
    if decimals >= 0:
        return torch.round(x * 10.0**decimals) / 10.0**decimals
    return torch.round(x / 10.0**-decimals) * 10.0**-decimals


def atan2(y: Tensor, x: Tensor) -> Tensor:
    """From the arc tangent of the quotient; coremltools moves angles on the axes.

    A y of -0 counts as +0 where x is negative, and an x of -0 as +0: no target is sure to keep
    the sign of a zero.
    """
    y, x = torch.broadcast_tensors(y, x)
    nothing, half = x == 0, math.pi / 2
    angle = torch.atan(y / torch.where(nothing, like(1.0, x), x))
    turned = angle + torch.where(y < 0, like(-math.pi, x), like(math.pi, x))
    upright = torch.where(y == 0, y, torch.where(y < 0, like(-half, x), like(half, x)))
    return torch.where(nothing, upright, torch.where(x < 0, turned, angle))


def addcmul(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    """``x + value * a * b``, value first as torch has it."""
    return x + (a * b if value == 1 else (a * value) * b)


def addcdiv(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    """``x + value * a / b``, value first as torch has it."""
    return x + (a / b if value == 1 else (a * value) / b)


def lerp_number(x: Tensor, end: Tensor, weight: float) -> Tensor:
    """From the nearer end, as torch does, so that both ends are met exactly."""
    if abs(weight) < 0.5:
        return x + (end - x) * weight
    return end - (end - x) * (1.0 - weight)


def lerp_tensor(x: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """As :func:`lerp_number`, element by element."""
    step = end - x
    return torch.where(torch.abs(weight) < 0.5, x + step * weight, end - step * (1.0 - weight))


def hypot(x: Tensor, y: Tensor) -> Tensor:
    """Scaled by the greater operand, unless that is infinite, so that no square overflows."""
    x, y = torch.abs(x), torch.abs(y)
    high, low = torch.maximum(x, y), torch.minimum(x, y)
    unscaled = torch.logical_or(high == 0, high == math.inf)
    ratio = low / torch.where(unscaled, like(1.0, high), high)
    return high * torch.sqrt(1.0 + ratio * ratio)


def logaddexp(x: Tensor, y: Tensor) -> Tensor:
    """The greater one, and what the other adds to it; two equal infinities have no difference."""
    apart = torch.where(x == y, like(0.0, x), torch.abs(x - y))
    return torch.maximum(x, y) + log1p(torch.exp(-apart))


def log_softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Without a softmax: coremltools takes the logarithm of one, which loses what underflows."""
    if dtype not in (None, x.dtype):
        return NotImplemented
    below = x - torch.amax(x, [dim], True)
    return below - torch.log(torch.sum(torch.exp(below), [dim], True))


def log_softmax_of(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    """As :func:`log_softmax`, as captured graphs call it."""
    return NotImplemented if half_to_float else log_softmax(x, dim)


def xlogy(x: Tensor, y: Tensor) -> Tensor:
    """Zero where x is, even for a y of 0."""
    return torch.where(x == 0, like(0.0, y), x * torch.log(torch.where(x == 0, like(1.0, y), y)))


def logit(x: Tensor, eps: float | None = None) -> Tensor:
    """``log(x / (1 - x))``."""
    if eps is not None:
        x = torch.minimum(torch.maximum(x, like(eps, x)), like(1 - eps, x))
    return torch.log(x / (1.0 - x))


def rad2deg(x: Tensor) -> Tensor:
    """Degrees."""
    return x * (180.0 / math.pi)


def deg2rad(x: Tensor) -> Tensor:
    """Radians."""
    return x * (math.pi / 180.0)


def _of_flags(function: object) -> object:
    def rule(x: Tensor, other: Tensor) -> Tensor:
        both = isinstance(other, Tensor) and x.dtype is torch.bool and other.dtype is torch.bool
        return function(x, other) if both else NotImplemented

    return rule


ALPHA: Rules = {
    aten.add.Tensor: add_scaled,
    aten.add.Scalar: lambda x, other, alpha=1: add_scaled(x, other, alpha=alpha),
    aten.sub.Tensor: sub_scaled,
    aten.sub.Scalar: lambda x, other, alpha=1: sub_scaled(x, other, alpha=alpha),
    aten.rsub.Tensor: rsub_tensor,
    aten.rsub.Scalar: rsub_number,
}
"""Sums with a factor."""

WHOLE: Rules = {
    aten.remainder.Scalar: remainder,
    aten.floor_divide.default: floor_divide,
    aten.floor_divide.Scalar: floor_divide,
    aten.div.Tensor_mode: div_rounded,
    aten.div.Scalar_mode: div_rounded,
}
"""Divisions with a whole quotient."""

FUNCTIONS: Rules = {
    aten.reciprocal.default: reciprocal,
    aten.rsqrt.default: rsqrt,
    aten.log1p.default: log1p,
    aten.expm1.default: expm1,
    aten.trunc.default: trunc,
    aten.fix.default: trunc,
    aten.frac.default: frac,
    aten.round.decimals: round_decimals,
    aten.atan2.default: atan2,
    aten.arctan2.default: atan2,
    aten.hypot.default: hypot,
    aten.logaddexp.default: logaddexp,
    aten.log_softmax.int: log_softmax,
    aten._log_softmax.default: log_softmax_of,
    aten.xlogy.Tensor: xlogy,
    aten.logit.default: logit,
    aten.rad2deg.default: rad2deg,
    aten.deg2rad.default: deg2rad,
}
"""Functions of one tensor or two."""

BLENDS: Rules = {
    aten.addcmul.default: addcmul,
    aten.addcdiv.default: addcdiv,
    aten.lerp.Scalar: lerp_number,
    aten.lerp.Tensor: lerp_tensor,
}
"""Sums of products, element by element."""

FLAGS: Rules = {
    aten.__or__.Tensor: _of_flags(torch.logical_or),
    aten.__and__.Tensor: _of_flags(torch.logical_and),
    aten.__xor__.Tensor: _of_flags(torch.logical_xor),
    aten.bitwise_or.Tensor: _of_flags(torch.logical_or),
    aten.bitwise_and.Tensor: _of_flags(torch.logical_and),
    aten.bitwise_xor.Tensor: _of_flags(torch.logical_xor),
}
"""Bitwise operations on truth values."""
