"""Steps of value_range, qparams and the observers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quant_conformance.mutants.elements import Elements
from quant_conformance.protocol import Array
from quant_reference import (
    Format,
    Granularity,
    InputError,
    QParams,
    QuantizationSpec,
    SpecError,
    block_shape,
    make_observer,
)

Range = tuple[Array, Array]


class Ranges(Elements):
    """From tensors to qparams (SPEC.md, GRAN, RANGE, QP and OBS)."""

    # blocks

    def extents(self, shape: tuple[int, ...], granularity: Granularity, target: Any) -> Any:
        """Extents of a block (GRAN-1 to GRAN-6)."""
        return block_shape(shape, granularity, target)

    def block_rows(self, x: Array, extents: tuple[int, ...]) -> Array:
        """Elements of each block on a last axis behind the axes of the blocks."""
        counts = [n // e if e else 1 for n, e in zip(x.shape, extents, strict=True)]
        split = [size for pair in zip(counts, extents, strict=True) for size in pair]
        rank = len(counts)
        blocks_first = [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)]
        return x.reshape(split).transpose(blocks_first).reshape([*counts, -1])

    # range

    @np.errstate(all="ignore")
    def value_range(self, x: Array, spec: QuantizationSpec, target: str) -> Range:
        """RANGE-1 to RANGE-5."""
        self.check_target(spec, target)
        self.check_float(x, "RANGE-3")
        extents = self.extents(x.shape, spec.granularity, target)
        self.check_elements(x)
        rows = self.block_rows(x, extents)
        lo, hi = self.with_zero(self.least(rows), self.greatest(rows))
        return self.bounded(lo, hi, spec.float_range)

    def check_target(self, spec: QuantizationSpec, target: str) -> None:
        """Refuse a dynamic calculator on a weight (SPEC-5)."""
        if spec.qparam_calculator_cls == "dynamic" and target == "weight":
            raise SpecError("target", given=target, allowed="activation", clause="SPEC-5")

    def check_elements(self, x: Array) -> None:
        """Refuse a tensor without elements (RANGE-5)."""
        if x.size == 0:
            raise InputError("shape", given=x.shape, allowed="some elements", clause="RANGE-5")

    def least(self, rows: Array) -> Array:
        """Least element of each block, NaN if there is one (RANGE-1, RANGE-4)."""
        return np.asarray(np.min(rows, axis=-1))

    def greatest(self, rows: Array) -> Array:
        """Greatest element of each block, NaN if there is one."""
        return np.asarray(np.max(rows, axis=-1))

    def with_zero(self, lo: Array, hi: Array) -> Range:
        """Widen the range to zero (RANGE-1)."""
        zero = np.zeros((), lo.dtype)
        return np.asarray(np.minimum(lo, zero)), np.asarray(np.maximum(hi, zero))

    def bounded(self, lo: Array, hi: Array, bounds: tuple[float | None, float | None]) -> Range:
        """Put given bounds in place of found ones (RANGE-2)."""
        dtype = np.dtype(np.float32) if None not in bounds else lo.dtype
        found = (lo, hi)
        given = [
            array if bound is None else np.full(array.shape, self.fixed_bound(bound, dtype), dtype)
            for array, bound in zip(found, bounds, strict=True)
        ]
        return given[0], given[1]

    def fixed_bound(self, bound: float, dtype: np.dtype[Any]) -> Any:
        """A bound of the spec in the range's dtype, by way of float32 (RANGE-2)."""
        rounded = np.float32(bound).astype(dtype)
        if not np.isfinite(rounded):
            raise InputError("bound", given=bound, allowed=f"in {dtype}", clause="RANGE-2")
        return rounded

    # qparams

    def qparams(self, x: Array, spec: QuantizationSpec, target: str) -> QParams:
        """The qparams of a tensor's range."""
        return self.qparams_of(*self.value_range(x, spec, target), spec)

    @np.errstate(all="ignore")
    def qparams_of(self, lo: Array, hi: Array, spec: QuantizationSpec) -> QParams:
        """QP-1 to QP-9."""
        form, dtype = self.format_of(spec.dtype), lo.dtype
        low, high = self.widen(lo), self.widen(hi)
        max_abs = self.max_abs(low, high)
        if spec.scale_dtype is not None:
            scale = self.e8m0_scale(self.e8m0_exponent(max_abs, form))
            return QParams(self.e8m0_nonfinite(scale, max_abs))
        if not form.is_integer:
            return QParams(self.least_scale(self.float_scale(max_abs, form, dtype), dtype))
        if spec.qscheme != "asymmetric":
            raw = self.symmetric_scale(max_abs, spec, dtype)
            scale = self.least_scale(raw, dtype)
            zero = np.full(scale.shape, self.zero_code(form))
            return self.finished(scale, zero, self.symmetric_minval(max_abs, low, scale), spec)
        scale = self.least_scale(self.asymmetric_scale(low, high, spec, dtype), dtype)
        zero = self.zero_point(low, high, scale, spec, dtype)
        zero = np.where(np.isfinite(scale), zero, self.zero_code_nonfinite(zero, form))
        return self.finished(scale, zero, self.asymmetric_minval(low, scale, zero), spec)

    def finished(
        self, scale: Array, zero_point: Array, minval: Array, spec: QuantizationSpec
    ) -> QParams:
        """Integer qparams in the dtypes that hold them."""
        # The sum turns -0 into +0.
        least = (minval + np.float32(0)).astype(np.float32)
        return QParams(scale.astype(np.float32), zero_point.astype(np.int32), least)

    def narrow(self, values: Array, dtype: np.dtype[Any]) -> Array:
        """Round one operation's result to the range's dtype (QP-9)."""
        return np.asarray(values).astype(dtype).astype(np.float32)

    def codes_in_use(self, spec: QuantizationSpec) -> tuple[float, float]:
        """Least and greatest code, or value of a float format (SPEC-6)."""
        return spec.quant_min, spec.quant_max

    def levels(self, spec: QuantizationSpec) -> float:
        """Number of steps between the least and the greatest code (QP-2, QP-3)."""
        least, greatest = self.codes_in_use(spec)
        return greatest - least

    def max_abs(self, low: Array, high: Array) -> Array:
        """Greatest magnitude in the range; NaN stays."""
        return np.asarray(np.maximum(-low, high))

    def symmetric_scale(
        self, max_abs: Array, spec: QuantizationSpec, dtype: np.dtype[Any]
    ) -> Array:
        """QP-2."""
        return self.narrow(self.divide_range(max_abs, np.float32(self.levels(spec) / 2)), dtype)

    def asymmetric_scale(
        self, low: Array, high: Array, spec: QuantizationSpec, dtype: np.dtype[Any]
    ) -> Array:
        """QP-3."""
        span = self.narrow(high - low, dtype)
        return self.narrow(self.divide_range(span, np.float32(self.levels(spec))), dtype)

    def float_scale(self, max_abs: Array, form: Format, dtype: np.dtype[Any]) -> Array:
        """QP-6."""
        return self.narrow(self.divide_range(max_abs, np.float32(form.quant_max)), dtype)

    def divide_range(self, numerator: Array, denominator: Any) -> Array:
        """True division in float32."""
        return np.asarray(numerator / denominator)

    def least_scale(self, scale: Array, dtype: np.dtype[Any]) -> Array:
        """At least eps (QP-1)."""
        return np.asarray(np.maximum(scale, np.float32(2.0**-23)))

    def zero_code(self, form: Format) -> int:
        """Zero point of a symmetric scheme (QP-4)."""
        return 0 if form.kind == "int" else 1 << (form.bits - 1)

    def zero_code_nonfinite(self, zero_point: Array, form: Format) -> Any:
        """Zero point beside a scale that is not finite (QP-8)."""
        return self.zero_code(form)

    def zero_point(
        self, low: Array, high: Array, scale: Array, spec: QuantizationSpec, dtype: np.dtype[Any]
    ) -> Array:
        """QP-4 of an asymmetric scheme."""
        least, greatest = self.codes_in_use(spec)
        steps = self.round_zero_point(self.narrow(self.divide_range(low, scale), dtype))
        return self.clamp_zero_point(np.float32(least) - steps, least, greatest)

    def round_zero_point(self, steps: Array) -> Array:
        """Ties to even."""
        return np.rint(steps)

    def clamp_zero_point(self, zero_point: Array, least: float, greatest: float) -> Array:
        """Into the codes in use."""
        return np.asarray(np.clip(zero_point, least, greatest))

    def symmetric_minval(self, max_abs: Array, low: Array, scale: Array) -> Array:
        """QP-5."""
        return -max_abs

    def asymmetric_minval(self, low: Array, scale: Array, zero_point: Array) -> Array:
        """QP-5."""
        return low

    def e8m0_exponent(self, max_abs: Array, form: Format) -> Array:
        """Exponent field less the element's greatest power of two (QP-7)."""
        field = (max_abs.view(np.int32) >> 23) & 255
        return self.clamp_exponent(field - 127 - form.max_pow2)

    def clamp_exponent(self, exponent: Array) -> Array:
        """Into the range of e8m0; what it changes, the least scale replaces (QP-7)."""
        return np.asarray(np.clip(exponent, -127, 127))

    def e8m0_scale(self, exponent: Array) -> Array:
        """The scale, at least 2^-126."""
        scale = np.ldexp(np.float32(1), exponent)
        return np.asarray(np.maximum(scale, np.float32(2.0**-126)))

    def e8m0_nonfinite(self, scale: Array, max_abs: Array) -> Array:
        """NaN where the range is not finite (QP-8)."""
        return np.where(np.isfinite(max_abs), scale, np.float32(np.nan)).astype(np.float32)

    # observers

    @np.errstate(all="ignore")
    def observe(
        self,
        batches: Sequence[Array],
        spec: QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float = 0.01,
    ) -> QParams:
        """OBS-1 to OBS-6."""
        self.check_observer(kind, spec, target, averaging_constant)
        seen = [self.value_range(batch, spec, target) for batch in batches]
        self.check_batches(kind, seen)
        lo, hi = self.first_range(seen[0], kind, averaging_constant)
        for new in seen[1:]:
            lo, hi = self.fold(kind, (lo, hi), new, spec, averaging_constant)
        return self.qparams_of(lo, hi, spec)

    def check_observer(
        self, kind: str, spec: QuantizationSpec, target: str, averaging_constant: float
    ) -> None:
        """Refuse unknown kinds and constants, and what SPEC-5 refuses."""
        observer = make_observer(kind, spec, target, averaging_constant)  # type: ignore[arg-type]
        self.check_target(observer.spec, target)

    def check_batches(self, kind: str, ranges: Sequence[Range]) -> None:
        """Refuse batches that disagree, or none (OBS-6)."""
        known = {(lo.dtype, lo.shape) for lo, _ in ranges}
        if not known or (len(known) > 1 and kind in ("moving_average", "global_minmax")):
            raise InputError("batches", given=known, allowed="one kind of range", clause="OBS-6")

    def first_range(self, new: Range, kind: str, constant: float) -> Range:
        """The state after the first batch."""
        return new

    def fold(
        self, kind: str, old: Range, new: Range, spec: QuantizationSpec, constant: float
    ) -> Range:
        """The state after a further batch."""
        if kind == "global_minmax":
            return self.fold_global(old, new)
        if kind == "moving_average":
            return self.fold_moving(old, new, spec, constant)
        return self.fold_static(old, new) if kind == "static" else self.fold_dynamic(old, new)

    def fold_static(self, old: Range, new: Range) -> Range:
        """OBS-1."""
        return new

    def fold_dynamic(self, old: Range, new: Range) -> Range:
        """OBS-4."""
        return new

    def fold_global(self, old: Range, new: Range) -> Range:
        """OBS-3."""
        return np.minimum(old[0], new[0]), np.maximum(old[1], new[1])

    def fold_moving(self, old: Range, new: Range, spec: QuantizationSpec, constant: float) -> Range:
        """OBS-2."""
        if None not in spec.float_range:
            return old
        take, keep = self.weights(constant)
        lo, hi = (self.average(o, n, take, keep) for o, n in zip(old, new, strict=True))
        return lo, hi

    def weights(self, constant: float) -> tuple[Any, Any]:
        """Weights of the new and the old range, each rounded once (OBS-2)."""
        return np.float32(constant), np.float32(1.0 - constant)

    def average(self, old: Array, new: Array, take: Any, keep: Any) -> Array:
        """Two products and a sum, each rounded to the range's dtype (OBS-2)."""
        taken = self.narrow(self.widen(new) * take, new.dtype)
        kept = self.narrow(self.widen(old) * keep, new.dtype)
        return (taken + kept).astype(new.dtype)
