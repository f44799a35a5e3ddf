"""Batch norm folded into the layer before it, one weight at a time (BN-1 to BN-3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from quant_reference.oracle.arithmetic import (
    add,
    divide,
    is_zero,
    multiply,
    square_root,
    subtract,
)
from quant_reference.oracle.number import DTYPES, FLOAT32, ZERO, Number, number, round_to


@dataclass(frozen=True)
class ChannelStatistics:
    """Batch norm of one output channel; gamma is 1 and beta 0 where it has none.

    Attributes:
        mean: Running mean.
        variance: Running variance.
        eps: Added to the variance.
        gamma: Scale.
        beta: Shift.
        dtypes: Names of the dtypes of mean, variance, gamma and beta.
    """

    mean: Number
    variance: Number
    eps: float
    gamma: Number
    beta: Number
    dtypes: tuple[str, str, str, str] = ("float32",) * 4


def fold_factor(channel: ChannelStatistics, *, training: bool = False) -> Number:
    """The factor f of BN-1; in training a gamma of 0 counts as 1 (BN-3)."""
    _, of_variance, of_gamma, _ = channel.dtypes
    binary = DTYPES[of_variance]
    eps = round_to(round_to(number(float(channel.eps)), FLOAT32), binary)
    deviation = square_root(add(channel.variance, eps, binary), binary)
    gamma = number(1) if training and is_zero(channel.gamma) else channel.gamma
    return divide(gamma, deviation, DTYPES[_wider(of_gamma, of_variance)])


def fold_weight(
    element: Number, channel: ChannelStatistics, dtype: str, *, training: bool = False
) -> Number:
    """One element of W' (BN-1).

    Args:
        element: Of the weight.
        channel: Of its output channel.
        dtype: Of the weight.
        training: Whether BN-3 holds.
    """
    product = DTYPES[_wider(dtype, _factor_dtype(channel))]
    factor = fold_factor(channel, training=training)
    return round_to(multiply(element, factor, product), DTYPES[dtype])


def fold_bias(
    bias: Number | None, channel: ChannelStatistics, dtype: str, bias_dtype: str | None = None
) -> Number:
    """The channel's entry of b' (BN-2).

    Args:
        bias: Of the layer, or None.
        channel: Of the output channel.
        dtype: Of the weight.
        bias_dtype: Of the bias; that of the weight if not given.
    """
    of_mean, _, _, of_beta = channel.dtypes
    # A bias that is not there is a zero of the mean's dtype, a beta likewise.
    of_bias = of_mean if bias is None else bias_dtype or dtype
    steps = _wider(of_bias, of_mean)
    centred = subtract(ZERO if bias is None else bias, channel.mean, DTYPES[steps])
    steps = _wider(steps, _factor_dtype(channel))
    scaled = multiply(centred, fold_factor(channel), DTYPES[steps])
    return round_to(add(scaled, channel.beta, DTYPES[_wider(steps, of_beta)]), DTYPES[dtype])


def _factor_dtype(channel: ChannelStatistics) -> str:
    return _wider(channel.dtypes[2], channel.dtypes[1])


def _wider(one: str, other: str) -> str:
    """The dtype in which an operation on two dtypes is rounded."""
    return one if one == other else "float32"


def batch_statistics(column: Sequence[Number]) -> tuple[Fraction, Fraction]:
    """Exact mean and variance of one channel of a batch (BN-3)."""
    exact = [x.exact for x in column]
    mean = sum(exact, Fraction(0)) / len(exact)
    return mean, sum(((x - mean) ** 2 for x in exact), Fraction(0)) / len(exact)


def output_channel(place: tuple[int, ...], inputs: int, per_group: int, groups: int) -> int:
    """Output channel that an element of a transposed convolution's weight belongs to (BN-1).

    Args:
        place: Where the element is in the weight of shape (inputs, per_group, ...).
        inputs: Input channels I.
        per_group: Output channels per group, O/g.
        groups: Number of groups g.
    """
    group = place[0] * groups // inputs
    return group * per_group + place[1]
