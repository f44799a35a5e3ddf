"""Mutants of requantization (SPEC.md, INT-3 to INT-8)."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from quant_conformance.mutants.exchanged import Mutated
from quant_conformance.mutants.model import known
from quant_conformance.protocol import Array
from quant_reference.integer import Requantization

FAMILY = ("requantize",)
F32 = np.float32


def _single(p: Mutated) -> str:
    return "single"


def _double(p: Mutated) -> str:
    return "double"


def _wrapped(bits: int) -> Any:
    """Codes of which the low bits are kept, before the clamp."""

    def code_of(p: Mutated, whole: Array, params: Requantization) -> Array:
        signed = params.format.quant_min < 0
        size = 2**bits
        kept = np.asarray(whole, np.int64) + params.zero_point
        kept = (kept + size // 2) % size - size // 2 if signed else kept % size
        return np.asarray(np.clip(kept, params.least, params.greatest), params.format.dtype)

    return code_of


def _zero_after_clamp(p: Mutated, whole: Array, params: Requantization) -> Array:
    clamped = np.clip(whole, params.least, params.greatest) + params.zero_point
    return np.asarray(clamped).astype(np.int64).astype(params.format.dtype)


def _converted(p: Mutated, whole: Array, params: Requantization) -> Array:
    """What leaves int32 becomes its least number, as x86 converts."""
    fits = (whole >= -(2.0**31)) & (whole < 2.0**31)
    return p.right.code_of(np.where(fits, whole, -(2**31)), params)


def _last_axis(p: Mutated, acc: Array, params: Requantization) -> Array:
    scale = np.asarray(params.weight_scale).reshape(-1)
    return scale[np.arange(acc.shape[-1]) % scale.size] if acc.ndim else scale


def _first_channel(p: Mutated, acc: Array, params: Requantization) -> Array:
    return np.asarray(np.asarray(params.weight_scale).reshape(-1)[0])


def _shifted_channel(p: Mutated, acc: Array, params: Requantization) -> Array:
    scale = np.asarray(params.weight_scale)
    if scale.size == 1:
        return scale.reshape((1,) * acc.ndim)
    return np.roll(p.right.channel_scales(acc, params), 1)


def _toward_zero_sum(p: Mutated, acc: Array, mantissa: Array, shift: Array) -> Array:
    """The constant is added whatever the sign, and the shift truncates toward zero."""
    total = acc * mantissa + (np.int64(1) << (shift - 1))
    return np.asarray(np.sign(total) * (np.abs(total) >> shift))


def _half_down(p: Mutated, acc: Array, mantissa: Array, shift: Array) -> Array:
    half = np.int64(1) << (shift - 1)
    return np.asarray(-((half - acc * mantissa) >> shift))


def _logical(p: Mutated, acc: Array, mantissa: Array, shift: Array) -> Array:
    total = (acc * mantissa + (np.int64(1) << (shift - 1))).view(np.uint64)
    return np.asarray(total >> shift.astype(np.uint64), np.int64)


def _no_constant_below(p: Mutated, acc: Array, mantissa: Array, shift: Array) -> Array:
    """No rounding constant where the whole shift lies in the lower half."""
    half = np.where(shift > 31, np.int64(1) << (shift - 1), 0)
    return np.asarray((acc * mantissa + half) >> shift)


def _in_32_bits(p: Mutated, acc: Array, mantissa: Array, shift: Array) -> Array:
    product = (acc * (mantissa >> 16)).astype(np.int32).astype(np.int64)
    rest = np.maximum(shift - 16, 1)
    return np.asarray((product + (np.int64(1) << (rest - 1))) >> rest)


def _by_one(step: int) -> Any:
    def single(p: Mutated, acc: Array, mantissa: Array, shift: Array) -> Array:
        return p.right.single_rounding(acc, mantissa, np.clip(shift + step, 1, 62))

    return single


def _shift_of_32(p: Mutated, high: Array, right: Array) -> Array:
    """Shifts of 32 bits count modulo 32, as x86 and RISC-V have them, from 24 on here."""
    return p.right.divide_by_power(high, np.where(right >= 24, right - 24, right))


def _shift_wrong_way(p: Mutated, acc: Array, mantissa: Array, shift: Array) -> Array:
    """A left shift is left out."""
    return p.right.double_rounding(acc, mantissa, np.maximum(shift, 31))


def _sqrdmulh_twice(p: Mutated, acc: Array, mantissa: Array, shift: Array) -> Array:
    """A high multiplication without its doubling: half of what it has to be."""
    right = np.maximum(shift - 31, 0)
    high = (acc * mantissa + (1 << 31)) >> 32
    return p.right.divide_by_power(high, right)


def _dtype(dtype: Any) -> Any:
    return lambda p, acc: acc.astype(np.float32).astype(dtype).astype(np.float32)


def _no_check(p: Mutated, acc: Array, params: Requantization) -> None:
    return None


def _without(what: str) -> Any:
    """Everything is checked but one thing."""

    def check(p: Mutated, acc: Array, params: Requantization) -> None:
        try:
            p.right.check_requantization(acc, params)
        except ValueError as error:
            if what not in str(error):
                raise

    return check


def _signed(p: Mutated, params: Requantization) -> tuple[int, int]:
    low, high = p.right.code_bounds(params)
    return (low, min(high, 127)) if params.dtype == "uint8" else (low, high)


REQUANTIZATIONS = (
    known("requantize-zero-point-left-out", "adds no zero point", "INT-8", FAMILY,
          zero_added=lambda p, params: 0),
    known("requantize-zero-point-subtracted", "subtracts the zero point", "INT-8", FAMILY,
          zero_added=lambda p, params: -params.zero_point),
    known("requantize-zero-point-behind-the-clamp",
          "clamps before it adds the zero point, and wraps", "INT-8", FAMILY,
          code_of=_zero_after_clamp),
    known("requantize-wraps-to-8-bits", "narrows to 8 bits before it clamps", "INT-8", FAMILY,
          code_of=_wrapped(8)),
    known("requantize-wraps-to-16-bits", "narrows to 16 bits before it clamps", "INT-8", FAMILY,
          code_of=_wrapped(16)),
    known("requantize-converts-before-the-clamp",
          "converts to int32 before it clamps, so that a great number becomes the least",
          "INT-5", FAMILY, code_of=_converted),
    known("requantize-bounds-ignored", "clamps to the format instead of the activation's bounds",
          "INT-8", FAMILY,
          code_bounds=lambda p, params: (params.format.quant_min, params.format.quant_max)),
    known("requantize-least-bound-ignored", "clamps to the greatest code of the activation only",
          "INT-8", FAMILY,
          code_bounds=lambda p, params: (params.format.quant_min, params.greatest)),
    known("requantize-greatest-bound-ignored", "clamps to the least code of the activation only",
          "INT-8", FAMILY,
          code_bounds=lambda p, params: (params.least, params.format.quant_max)),
    known("requantize-uint8-as-int8", "clamps uint8 to 127", "INT-1 INT-8", FAMILY,
          code_bounds=_signed),
    known("requantize-narrow-range", "never gives the least code of a signed format", "INT-8",
          FAMILY, code_bounds=lambda p, params: (
              max(params.least, params.format.quant_min + (params.format.quant_min < 0)),
              params.greatest)),
    known("requantize-first-channel", "scales every channel by the first one's scale", "INT-8",
          FAMILY, channel_scales=_first_channel),
    known("requantize-channels-on-the-last-axis",
          "takes the channels along the last axis, whatever the axis is", "INT-8", FAMILY,
          channel_scales=_last_axis),
    known("requantize-channel-off-by-one", "scales each channel by the one before", "INT-8",
          FAMILY, channel_scales=_shifted_channel),
    known("requantize-sums-in-float16", "rounds accumulators to float16", "INT-5", FAMILY,
          sum_as_float=_dtype(np.float16)),
    known("requantize-sums-in-bfloat16", "rounds accumulators to bfloat16", "INT-5", FAMILY,
          sum_as_float=_dtype(ml_dtypes.bfloat16)),
    known("requantize-sums-in-16-bits", "keeps 16 bits of an accumulator", "INT-1", FAMILY,
          sums_used=lambda p, acc: acc.astype(np.int16).astype(np.int64)),
    known("requantize-sums-saturate-at-16-bits", "saturates accumulators at 16 bits", "INT-1",
          FAMILY, sums_used=lambda p, acc: np.clip(acc, -32768, 32767).astype(np.int64)),
    known("requantize-sums-in-24-bits", "keeps 24 bits of an accumulator", "INT-1", FAMILY,
          sums_used=lambda p, acc: ((acc.astype(np.int64) << 40) >> 40)),
    known("requantize-ties-down", "rounds ties toward minus infinity", "INT-5 INT-6", FAMILY,
          pitfall="requantize-rounding",
          integer_rule=_single, single_rounding=_half_down),
    known("requantize-half-and-truncate",
          "adds half a step whatever the sign, and truncates toward zero", "INT-6", FAMILY,
          integer_rule=_single, single_rounding=_toward_zero_sum),
    known("requantize-half-and-truncate-floats",
          "adds 0.5 in float32 whatever the sign, and truncates toward zero", "INT-5", FAMILY,
          round_sum=lambda p, real: np.trunc(real + F32(0.5))),
    known("requantize-ceiling", "rounds up", "INT-5", FAMILY,
          round_sum=lambda p, real: np.ceil(real)),
    known("requantize-logical-shift", "shifts negative products as unsigned numbers", "INT-6",
          FAMILY, integer_rule=_single, single_rounding=_logical),
    known("requantize-no-constant-for-short-shifts",
          "adds no rounding constant where the shift is 31 or less", "INT-6", FAMILY,
          integer_rule=_single, single_rounding=_no_constant_below),
    known("requantize-product-in-32-bits", "keeps 32 bits of the product", "INT-6", FAMILY,
          integer_rule=_single, single_rounding=_in_32_bits),
    known("requantize-shift-too-far", "shifts by one bit too many", "INT-4 INT-6", FAMILY,
          integer_rule=_single, single_rounding=_by_one(1)),
    known("requantize-shift-too-short", "shifts by one bit too few", "INT-4 INT-6", FAMILY,
          integer_rule=_single, single_rounding=_by_one(-1)),
    known("requantize-mantissa-truncated", "truncates the multiplier to 24 bits", "INT-4", FAMILY,
          pitfall="multiplier-width",
          integer_rule=_single, mantissa_of=lambda p, f: np.floor(f * 2.0**24) * 2.0**7),
    known("requantize-mantissa-of-8-bits", "has multipliers of 8 bits", "INT-4", FAMILY,
          pitfall="multiplier-width",
          integer_rule=_single, mantissa_of=lambda p, f: np.rint(f * 2.0**8) * 2.0**23),
    known("requantize-mantissa-rounded-up", "rounds the multiplier up", "INT-4", FAMILY,
          integer_rule=_single, mantissa_of=lambda p, f: np.ceil(f * 2.0**31 + 0.5)),
    known("requantize-multiplier-in-float16", "rounds the multiplier to float16", "INT-3", FAMILY,
          integer_rule=_single,
          real_multiplier=lambda p, a, w, out: np.asarray(
              (a * w / out).astype(np.float16).astype(np.float64))),
    known("requantize-multiplier-in-bfloat16", "rounds the multiplier to bfloat16", "INT-3",
          FAMILY, integer_rule=_single,
          real_multiplier=lambda p, a, w, out: np.asarray(
              (a * w / out).astype(ml_dtypes.bfloat16).astype(np.float64))),
    known("requantize-output-scale-left-out", "multiplies by s_a and s_w only", "INT-3", FAMILY,
          integer_rule=_single,
          real_multiplier=lambda p, a, w, out: np.asarray(
              np.minimum(a.astype(np.float64) * w.astype(np.float64), 2.0**29))),
    known("requantize-left-shift-left-out", "leaves out shifts to the left", "INT-7", FAMILY,
          integer_rule=_double, double_rounding=_shift_wrong_way),
    known("requantize-no-doubling", "has a high multiplication that does not double", "INT-7",
          FAMILY, integer_rule=_double, double_rounding=_sqrdmulh_twice),
    known("requantize-shift-modulo-24", "takes long right shifts modulo 24", "INT-7", FAMILY,
          pitfall="requantize-rounding",
          integer_rule=_double, divide_by_power=_shift_of_32),
    known("requantize-division-truncates", "truncates the last shift toward zero", "INT-7",
          FAMILY, integer_rule=_double,
          divide_by_power=lambda p, high, right: np.sign(high) * (np.abs(high) >> right)),
    known("requantize-division-ties-down", "rounds ties of the last shift toward zero", "INT-7",
          FAMILY, pitfall="requantize-rounding", integer_rule=_double,
          divide_by_power=lambda p, high, right: np.sign(high) * (
              (np.abs(high) + np.maximum((np.int64(1) << right >> 1) - 1, 0)) >> right)),
    known("requantize-accepts-everything", "refuses nothing", "INT-3 INT-8", FAMILY,
          check_requantization=_no_check),
    known("requantize-accepts-bad-scales", "accepts scales that are no positive numbers",
          "INT-3 INT-8", FAMILY, check_requantization=_without("_scale")),
    known("requantize-accepts-bad-bounds", "accepts bounds outside the format", "INT-8", FAMILY,
          check_requantization=_without("quant_m")),
    known("requantize-accepts-bad-zero-points", "accepts zero points outside the format", "INT-8",
          FAMILY, check_requantization=_without("zero_point")),
)  # fmt: skip
