"""Batch norm folded into the layer before it, one weight at a time (BN-1, BN-2)."""

from __future__ import annotations

from dataclasses import dataclass

from quant_reference.oracle.arithmetic import add, divide, multiply, square_root, subtract
from quant_reference.oracle.number import DTYPES, ZERO, Number, number, round_to


@dataclass(frozen=True)
class ChannelStatistics:
    """Batch norm of one output channel; gamma is 1 and beta 0 where it has none."""

    mean: Number
    variance: Number
    eps: float
    gamma: Number
    beta: Number


def fold_factor(channel: ChannelStatistics, dtype: str) -> Number:
    """The factor f of BN-1: a sum, a square root and a division in the dtype."""
    binary = DTYPES[dtype]
    eps = round_to(number(float(channel.eps)), binary)
    deviation = square_root(add(channel.variance, eps, binary), binary)
    return divide(channel.gamma, deviation, binary)


def fold_weight(element: Number, channel: ChannelStatistics, dtype: str) -> Number:
    """One element of W' (BN-1)."""
    return multiply(element, fold_factor(channel, dtype), DTYPES[dtype])


def fold_bias(bias: Number | None, channel: ChannelStatistics, dtype: str) -> Number:
    """The channel's entry of b' (BN-2): a difference, a product, a sum in the dtype."""
    binary = DTYPES[dtype]
    centred = subtract(ZERO if bias is None else bias, channel.mean, binary)
    return add(multiply(centred, fold_factor(channel, dtype), binary), channel.beta, binary)


def output_channel(place: tuple[int, ...], inputs: int, per_group: int, groups: int) -> int:
    """Output channel that an element of a transposed convolution's weight belongs to (BN-1).

    Args:
        place: Where the element stands in the weight of shape (inputs, per_group, ...).
        inputs: Input channels I.
        per_group: Output channels per group, O/g.
        groups: Number of groups g.
    """
    group = place[0] * groups // inputs
    return group * per_group + place[1]
