"""Integer layers in replaceable steps (SPEC.md, INT-1 to INT-12)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.protocol import Array
from quant_reference.integer import (
    SUMS,
    IntegerLayer,
    Requantization,
    accumulate,
    integer_layer,
)
from quant_reference.integer.accumulation import channel_axis

F32 = np.float32


class Integers:
    """requantize and integer_layer; a mutant exchanges one step."""

    def integer_rule(self) -> str:
        """Which of three rules is followed: division, single (fixed_up) or double (INT-5)."""
        return "division"

    def requantize(self, acc: Array, params: Requantization) -> Array:
        """INT-5 to INT-8."""
        self.check_requantization(acc, params)
        return self.code_of(self.scaled_sums(self.sums_used(acc), params), params)

    def check_requantization(self, acc: Array, params: Requantization) -> None:
        """Refuse what gives no multiplier or no code (INT-3, INT-8)."""
        params.check()
        channels = np.asarray(params.weight_scale).size
        if channels > 1 and not -acc.ndim <= params.axis < acc.ndim:
            raise ValueError(f"no axis {params.axis} in {acc.shape}")
        if channels > 1 and acc.shape[params.axis] != channels:
            raise ValueError(f"{channels} scales for {acc.shape[params.axis]} channels")

    def sums_used(self, acc: Array) -> Array:
        """The accumulators as the scaling sees them (INT-1)."""
        return acc.astype(np.int64)

    def channel_scales(self, acc: Array, params: Requantization) -> Array:
        """The weight's scales in the rank of the accumulators (INT-8)."""
        scale = np.asarray(params.weight_scale)
        shape = [1] * acc.ndim
        if scale.size > 1:
            shape[params.axis] = scale.size
        return scale.reshape(shape)

    def scaled_sums(self, acc: Array, params: Requantization) -> Array:
        """Whole numbers in steps of the output (INT-5 to INT-7)."""
        weight = self.channel_scales(acc, params)
        given, out = (
            np.asarray(scale).reshape(()) for scale in (params.input_scale, params.output_scale)
        )
        rule = self.integer_rule()
        if rule == "division":
            return self.divided(acc, given, weight, out)
        mantissa, shift = self.fixed_multiplier(self.real_multiplier(given, weight, out))
        step = self.single_rounding if rule == "single" else self.double_rounding
        return step(acc, mantissa, shift)

    def divided(self, acc: Array, given: Array, weight: Array, out: Array) -> Array:
        """A product and a true division in float32 (INT-5)."""
        return self.round_sum(self.sum_as_float(acc) * (given * weight) / out)

    def sum_as_float(self, acc: Array) -> Array:
        """An accumulator rounded to float32 (INT-5)."""
        return acc.astype(np.float32)

    def round_sum(self, real: Array) -> Array:
        """To nearest, ties to even (INT-5)."""
        return np.rint(real)

    def real_multiplier(self, given: Array, weight: Array, out: Array) -> Array:
        """M in float64 (INT-3)."""
        return np.asarray(
            given.astype(np.float64) * weight.astype(np.float64) / out.astype(np.float64)
        )

    def fixed_multiplier(self, real: Array) -> tuple[Array, Array]:
        """31 bits and a right shift (INT-4)."""
        fraction, exponent = np.frexp(real)
        mantissa = self.mantissa_of(fraction).astype(np.int64)
        mantissa, exponent = self.carried(mantissa, exponent.astype(np.int64))
        shift = 31 - exponent
        tiny = shift > 62
        return np.where(tiny, 0, mantissa), np.where(tiny, 31, shift)

    def mantissa_of(self, fraction: Array) -> Array:
        """The nearest whole number of 2^-31 (INT-4)."""
        return np.asarray(np.floor(fraction * 2.0**31 + 0.5))

    def carried(self, mantissa: Array, exponent: Array) -> tuple[Array, Array]:
        """2^31 becomes 2^30, and the exponent one more (INT-4)."""
        carry = mantissa == 2**31
        return np.where(carry, 2**30, mantissa), exponent + carry

    def single_rounding(self, acc: Array, mantissa: Array, shift: Array) -> Array:
        """Half up (INT-6)."""
        half = np.int64(1) << (shift - 1)
        return np.asarray((acc * mantissa + half) >> shift)

    def double_rounding(self, acc: Array, mantissa: Array, shift: Array) -> Array:
        """A high multiplication, then a rounding division (INT-7)."""
        left, right = np.maximum(31 - shift, 0), np.maximum(shift - 31, 0)
        shifted = (acc << left).astype(np.int32).astype(np.int64)
        high = (shifted * mantissa + (1 << 30)) >> 31
        return self.divide_by_power(high, right)

    def divide_by_power(self, high: Array, right: Array) -> Array:
        """Half away from zero (INT-7)."""
        half = (np.int64(1) << right) >> 1
        return np.asarray(np.sign(high) * ((np.abs(high) + half) >> right))

    def code_of(self, whole: Array, params: Requantization) -> Array:
        """Clamped, offset and narrowed (INT-8)."""
        zero = self.zero_added(params)
        low, high = self.code_bounds(params)
        return np.asarray(np.clip(whole, low - zero, high - zero) + zero, params.format.dtype)

    def zero_added(self, params: Requantization) -> int:
        """The zero point (INT-8)."""
        return params.zero_point

    def code_bounds(self, params: Requantization) -> tuple[int, int]:
        """Least and greatest code (INT-8)."""
        return params.least, params.greatest

    # layers

    def integer_layer(self, layer: IntegerLayer) -> Array:
        """INT-9 to INT-12."""
        read = self.layer_read(layer)
        if read.op not in SUMS:
            return self.layer_written(integer_layer(read), read)
        acc = self.layer_sums(read)
        x, weight = read.operands
        params = Requantization(
            x.scale, weight.scale, read.output_scale, read.output_zero_point, read.output_dtype,
            read.quant_min, read.quant_max, channel_axis(read.op, acc.ndim),
        )  # fmt: skip
        return self.layer_written(self.requantize(acc, params), read)

    def layer_read(self, layer: IntegerLayer) -> IntegerLayer:
        """The layer as it is computed; a mutant misreads it here."""
        return layer

    def layer_sums(self, layer: IntegerLayer, **changed: Any) -> Array:
        """Accumulators with their bias (INT-1)."""
        x, weight = layer.operands
        points = weight.zero_point
        given = {
            "x": x.codes,
            "weight": weight.codes,
            "bias": layer.bias,
            "x_zero_point": int(x.zero_point.reshape(())),
            "weight_zero_point": points if points.size > 1 else int(points.reshape(())),
            "bits": 64,
            **layer.attributes,
            **changed,
        }
        return accumulate(layer.op, **given)

    def layer_written(self, codes: Array, layer: IntegerLayer) -> Array:
        """The codes of the result; a mutant spoils them here."""
        return codes
