"""requantize: from accumulators to codes (INT-5 to INT-8)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference._fast import map_blocks
from quant_reference.errors import InputError
from quant_reference.integer.codes import (
    Array,
    CodeFormat,
    Int64,
    accumulators,
    code_format,
    scales,
)
from quant_reference.integer.fixed_point import fixed_point
from quant_reference.integer.multiplier import real_multiplier
from quant_reference.integer.rounding import (
    FLOAT_ROUNDINGS,
    SHIFT_ROUNDINGS,
    doubling_high,
    rest_shifted,
    shifted_left,
    wrapped,
)
from quant_reference.integer.rules import Rule, get_rule

INT48 = 2**47
"""Accumulators of int64 lie from -2^47 to 2^47 - 1, so that 15 bits more still fit (INT-6)."""


@dataclass(frozen=True)
class Requantization:
    """What accumulators become: scales, zero point, format and bounds of their codes (INT-8).

    Attributes:
        input_scale: float32, one value.
        weight_scale: float32, one value or one for each channel.
        output_scale: float32, one value.
        zero_point: Code of the real number 0.
        dtype: Format of the codes: int4, uint4, int8, uint8 or int16.
        quant_min: Least code that may come out, the format's if None; bounds above the format's
            are what a fused relu or relu6 leaves.
        quant_max: Greatest code that may come out, the format's if None.
        axis: Axis of the accumulators along which ``weight_scale`` has one entry for each.
    """

    input_scale: NDArray[np.float32]
    weight_scale: NDArray[np.float32]
    output_scale: NDArray[np.float32]
    zero_point: int = 0
    dtype: str = "int8"
    quant_min: int | None = None
    quant_max: int | None = None
    axis: int = -1

    def check(self) -> None:
        """Refuse what INT-8 does not accept.

        Raises:
            FormatError: An unknown format.
            InputError: Scales, a zero point or bounds that are not legal.
        """
        fmt = code_format(self.dtype)
        for name in ("input_scale", "weight_scale", "output_scale"):
            values = scales(getattr(self, name), name, "INT-8")
            if name != "weight_scale" and values.size != 1:
                raise InputError(name, given=values.shape, allowed="one value", clause="INT-8")
        bounds = {
            "zero_point": (self.zero_point, fmt.quant_min, fmt.quant_max),
            "quant_min": (self.least, fmt.quant_min, fmt.quant_max),
            "quant_max": (self.greatest, self.least, fmt.quant_max),
        }
        for name, (value, least, most) in bounds.items():
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise InputError(
                    name, given=value, allowed=f"an int, {least} to {most}", clause="INT-8"
                )

    @property
    def format(self) -> CodeFormat:
        """The format of the codes."""
        return code_format(self.dtype)

    @property
    def least(self) -> int:
        """Least code that comes out (INT-8)."""
        return self.format.quant_min if self.quant_min is None else self.quant_min

    @property
    def greatest(self) -> int:
        """Greatest code that comes out (INT-8)."""
        return self.format.quant_max if self.quant_max is None else self.quant_max


def requantize(acc: Array, params: Requantization, rule: str | Rule = "float32_division") -> Array:
    """Codes of accumulators under a rule (INT-5 to INT-8).

    Args:
        acc: int32, or int64 within 48 bits for the rules in floating point and with 16-bit
            multipliers; any rank.
        params: Scales, zero point, format and bounds.
        rule: A rule or its name (:func:`quant_reference.integer.get_rule`).

    Returns:
        Codes in the shape of ``acc``.

    Raises:
        InputError: Accumulators, an axis, scales or a multiplier that the rule does not take.
        SpecError: An unknown rule.
    """
    how = get_rule(rule)
    params.check()
    values = accumulators(acc, "INT-8")
    if values.dtype == np.int64:
        _check_wide(values, how)
    formula, factors = _formula(how, params)
    shaped = tuple(_on_axis(factor, values, params) for factor in factors)
    return map_blocks(formula, (values,), shaped, params.format.dtype)


def _formula(rule: Rule, params: Requantization) -> tuple[Any, tuple[Array, ...]]:
    """The formula of a chunk, and its factors for each channel."""
    if rule.kind == "division":
        with np.errstate(all="ignore"):
            product = np.asarray(params.input_scale) * np.asarray(params.weight_scale)
        scales(product, "product of the scales", "INT-5")
        return partial(_divided, rule, params), (product,)
    multiplier = real_multiplier(
        params.input_scale, params.weight_scale, params.output_scale, rule.order
    )
    if rule.kind == "float":
        return partial(_floating, rule, params), (multiplier.astype(rule.dtype),)
    fixed = fixed_point(multiplier, rule.form)
    return partial(_fixed, rule, params), (fixed.multiplier, fixed.shift)


def _divided(rule: Rule, params: Requantization, chunk: Array, product: Array) -> Array:
    real = chunk.astype(np.float32)
    real *= product
    real /= np.asarray(params.output_scale).reshape(())
    return _finished(FLOAT_ROUNDINGS[rule.rounding](_within(real, params)), params)


def _floating(rule: Rule, params: Requantization, chunk: Array, multiplier: Array) -> Array:
    real = chunk.astype(rule.dtype)
    real *= multiplier
    rounded = FLOAT_ROUNDINGS[rule.rounding]
    if rule.zero_point_first:
        real += real.dtype.type(params.zero_point)
        np.clip(real, params.least, params.greatest, out=real)
        return rounded(real).astype(params.format.dtype)
    return _finished(rounded(_within(real, params)), params)


def _fixed(
    rule: Rule, params: Requantization, chunk: Array, multiplier: Int64, shift: Int64
) -> Array:
    rounded = scaled(chunk.astype(np.int64), multiplier, shift, rule)
    return _finished(_within(rounded, params), params)


def scaled(values: Int64, multiplier: Int64, shift: Int64, rule: Rule) -> Int64:
    """Integers times a fixed-point multiplier, rounded by a rule (INT-6, INT-7).

    Args:
        values: int64 values that INT-6 accepts; overwritten.
        multiplier: Of INT-4, one or broadcast.
        shift: Likewise.
        rule: One in fixed point.
    """
    if rule.kind == "single":
        values *= multiplier
        rounded = SHIFT_ROUNDINGS[rule.rounding](values, shift)
        return wrapped(rounded) if rule.overflow == "wrap" else rounded
    nearest = rule.rounding == "nearest_away"
    shifted = shifted_left(values, shift, rule.overflow == "saturate")
    return rest_shifted(doubling_high(shifted, multiplier, nearest), shift, nearest)


def _within(values: Array, params: Requantization) -> Array:
    """Clamped to what the zero point turns into codes, before any narrower type (INT-8)."""
    zero = params.zero_point
    return np.clip(values, params.least - zero, params.greatest - zero, out=values)


def _finished(rounded: Array, params: Requantization) -> Array:
    """The zero point added to clamped numbers; a narrow integer would overflow before the sum."""
    if params.zero_point:
        rounded += rounded.dtype.type(params.zero_point)
    return rounded.astype(params.format.dtype)


def _on_axis(factor: Array, acc: Array, params: Requantization) -> Array:
    """One entry, or one for each channel, in the rank of the accumulators."""
    if factor.size == 1:
        return factor.reshape((1,) * acc.ndim)
    rank = acc.ndim
    axis = params.axis
    if isinstance(axis, bool) or not isinstance(axis, int) or not -rank <= axis < rank:
        raise InputError(
            "axis of the channels", given=axis, allowed=f"{-rank} to {rank - 1}", clause="INT-8"
        )
    if acc.shape[axis] != factor.size:
        raise InputError(
            "one scale for each channel",
            given=f"{factor.size} scales for {acc.shape[axis]} channels",
            allowed="one scale, or as many as there are channels",
            clause="INT-8",
        )
    shape = [1] * rank
    shape[axis] = factor.size
    return factor.reshape(shape)


def _check_wide(acc: Array, rule: Rule) -> None:
    """Refuse int64 accumulators that a rule has no arithmetic for."""
    wide = rule.kind in ("division", "float") or rule.form.startswith("q15")
    if not wide:
        raise InputError(
            f"accumulators for {rule.name}", given="int64", allowed="int32", clause="INT-8"
        )
    if acc.size and (acc.min() < -INT48 or acc.max() >= INT48):
        raise InputError(
            "accumulators",
            given=f"{acc.min()} to {acc.max()}",
            allowed="-2^47 to 2^47 - 1",
            clause="INT-8",
        )
