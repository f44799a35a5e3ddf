"""A correct backend in small replaceable steps; a known bug replaces one of them.

``quant_reference`` is written to be read and to be fast; this is written to be broken. Both give
the same bits (a test holds them to it), and a mutant is this class with one method exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from quant_conformance.mutants.lives import Lives
from quant_conformance.mutants.ranges import Ranges
from quant_conformance.placement import Placed, read, stated_lines
from quant_conformance.plain_layers import Layers
from quant_conformance.protocol import Array
from quant_reference import (
    Granularity,
    InputError,
    PerBlock,
    PerTensor,
    QParams,
    QuantizationSpec,
    default_axis,
)
from quant_reference.quantize import checked_params


class Pipeline(Lives, Layers, Ranges):
    """Every method of the protocol (SPEC.md, Q, DQ, FQ, GRAD, GRAN-7 and SPEC)."""

    name = "pipeline"

    def check_params(
        self, shape: tuple[int, ...], spec: QuantizationSpec, qparams: QParams
    ) -> None:
        """Refuse qparams that are not legal (Q-8)."""
        checked_params(shape, spec, qparams, "Q-8")

    def spread(self, parameter: Array, shape: tuple[int, ...]) -> Array:
        """One entry per element instead of one per block, as float32."""
        for axis, size in enumerate(shape):
            count = parameter.shape[axis]
            parameter = np.repeat(parameter, size // count if size else 0, axis=axis)
        return parameter.astype(np.float32)

    def spread_params(
        self, qparams: QParams, spec: QuantizationSpec, shape: tuple[int, ...]
    ) -> tuple[Array, Any]:
        """Scale and the formulation's offset of every element; offset None for float formats."""
        self.check_params(shape, spec, qparams)
        scale = self.spread(self.scale_used(np.asarray(qparams.scale)), shape)
        if not self.format_of(spec.dtype).is_integer:
            return scale, None
        offset = qparams.minval if spec.qformulation == "minval" else qparams.zero_point
        return scale, self.spread(np.asarray(offset), shape)

    def scale_used(self, scale: Array) -> Array:
        """The scale that the arithmetic sees (Q-8)."""
        return scale

    # quantize

    @np.errstate(all="ignore")
    def quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        """Q-1 to Q-8."""
        form = self.format_of(spec.dtype)
        self.check_float(x, "Q-1")
        scale, offset = self.spread_params(qparams, spec, x.shape)
        clamped = self.clamped_codes(x, spec, scale, offset)
        nan = np.isnan(clamped)
        if not form.is_integer:
            # A machine may sign inf/inf as it likes; the quotient has the sign of x (ENC-4).
            signed = np.where(nan, np.copysign(clamped, self.widen(x)), clamped)
            return self.encode_element(signed, form)
        return self.cast_code(np.where(nan, self.code_of_nan(x, spec, offset), clamped), form)

    def clamped_codes(self, x: Array, spec: QuantizationSpec, scale: Array, offset: Any) -> Array:
        """Codes as float32, NaN where the quotient is NaN; for float formats the quotient."""
        least, greatest = self.codes_in_use(spec)
        unclamped = self.unclamped_codes(x, spec, scale, offset)
        if self.format_of(spec.dtype).is_integer:
            return self.clamp(unclamped, least, greatest)
        return self.clamp_float(unclamped, least, greatest)

    def unclamped_codes(self, x: Array, spec: QuantizationSpec, scale: Array, offset: Any) -> Array:
        """Q-1 to Q-5 before the clamp."""
        if not self.format_of(spec.dtype).is_integer:
            return self.quotient(x, scale)
        if spec.qformulation == "minval":
            return self.minval_codes(x, spec, scale, offset)
        return self.zero_point_codes(x, spec, scale, offset)

    def zero_point_codes(
        self, x: Array, spec: QuantizationSpec, scale: Array, zero_point: Array
    ) -> Array:
        """Q-3."""
        return self.round_code(self.quotient(x, scale)) + zero_point

    def minval_codes(self, x: Array, spec: QuantizationSpec, scale: Array, minval: Array) -> Array:
        """Q-4."""
        above = self.above_minval(x, minval)
        return self.round_code(self.divide(above, scale)) + np.float32(self.codes_in_use(spec)[0])

    def above_minval(self, x: Array, minval: Array) -> Array:
        """The difference x - minval in float32 (Q-4)."""
        return self.widen(x) - minval

    def quotient(self, x: Array, scale: Array) -> Array:
        """The quotient x/scale in float32, whatever the dtype of x (Q-1)."""
        return self.divide(self.widen(x), scale)

    def divide(self, x: Array, scale: Array) -> Array:
        """True division, rounded once (Q-1)."""
        return x / scale

    def clamp_float(self, values: Array, least: float, greatest: float) -> Array:
        """Clamp the quotient of a float format (Q-5)."""
        return np.clip(values, np.float32(least), np.float32(greatest))

    def code_of_nan(self, x: Array, spec: QuantizationSpec, offset: Array) -> Any:
        """What an integer format stores for NaN (Q-6)."""
        return self.codes_in_use(spec)[0] if spec.qformulation == "minval" else offset

    # dequantize

    @np.errstate(all="ignore")
    def dequantize(self, codes: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        """DQ-1 to DQ-4."""
        form = self.format_of(spec.dtype)
        self.check_codes(codes, form, "DQ-4")
        scale, offset = self.spread_params(qparams, spec, codes.shape)
        return self.values_of(self.decode_codes(codes, form), spec, scale, offset)

    def values_of(self, codes: Array, spec: QuantizationSpec, scale: Array, offset: Any) -> Array:
        """From codes held as float32 to values (DQ-1 to DQ-3)."""
        if not self.format_of(spec.dtype).is_integer:
            return self.multiply(codes, scale)
        if spec.qformulation == "minval":
            return self.minval_values(codes, spec, scale, offset)
        return self.multiply(self.less_zero_point(codes, offset), scale)

    def less_zero_point(self, codes: Array, zero_point: Array) -> Array:
        """The exact difference (DQ-1)."""
        return codes - zero_point

    def minval_values(
        self, codes: Array, spec: QuantizationSpec, scale: Array, minval: Array
    ) -> Array:
        """A product and a sum (DQ-2)."""
        return self.multiply(codes - np.float32(self.codes_in_use(spec)[0]), scale) + minval

    def multiply(self, codes: Array, scale: Array) -> Array:
        """A product, rounded once to float32."""
        return codes * scale

    # fake_quantize

    @np.errstate(all="ignore")
    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        """FQ-1 to FQ-4."""
        form = self.format_of(spec.dtype)
        self.check_float(x, "FQ-1")
        scale, offset = self.spread_params(qparams, spec, x.shape)
        clamped = self.clamped_codes(x, spec, scale, offset)
        codes = clamped
        if not form.is_integer:
            codes = self.decode_codes(self.encode_element(clamped, form), form)
        values = self.values_of(codes, spec, scale, offset)
        values = np.where(np.isnan(clamped), self.faked_nan(values, spec), values)
        return self.cast_back(self.faked(values, x, spec), x.dtype)

    def faked_nan(self, values: Array, spec: QuantizationSpec) -> Any:
        """NaN stays NaN (FQ-2)."""
        return np.float32(np.nan)

    def faked(self, values: Array, x: Array, spec: QuantizationSpec) -> Array:
        """The float32 result; the sign of zero is as dequantize leaves it (FQ-4)."""
        return values

    def cast_back(self, values: Array, dtype: np.dtype[Any]) -> Array:
        """Round to x's dtype (FQ-3)."""
        return values.astype(dtype)

    # gradient

    @np.errstate(all="ignore")
    def gradient(self, x: Array, grad: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        """GRAD-1 to GRAD-4."""
        self.check_float(x, "GRAD-1")
        self.check_grad(x, grad)
        scale, offset = self.spread_params(qparams, spec, x.shape)
        inside = self.inside(self.unclamped_codes(x, spec, scale, offset), x, spec, scale, offset)
        return self.masked(grad, inside)

    def check_grad(self, x: Array, grad: Array) -> None:
        """Refuse a gradient of another shape or dtype (GRAD-1)."""
        if (grad.shape, grad.dtype) != (x.shape, x.dtype):
            raise InputError("grad", given=grad.shape, allowed=str(x.shape), clause="GRAD-1")

    def inside(
        self, unclamped: Array, x: Array, spec: QuantizationSpec, scale: Array, offset: Any
    ) -> Array:
        """Where the unclamped code is in use; NaN is not (GRAD-1, GRAD-3, GRAD-4)."""
        least, greatest = self.codes_in_use(spec)
        return (unclamped >= least) & (unclamped <= greatest)

    def masked(self, grad: Array, inside: Array) -> Array:
        """The incoming gradient inside, +0 elsewhere (GRAD-1, GRAD-2)."""
        return np.where(inside, grad, np.zeros((), grad.dtype))

    # declarations

    def default_axis(self, module_kind: str, granularity: Granularity) -> int:
        """GRAN-7."""
        return default_axis(module_kind, granularity)

    # export

    def export_weights(
        self, x: Array, spec: QuantizationSpec, module_kind: str
    ) -> tuple[Array, QParams]:
        """The qparams of the weight itself, and its codes under them."""
        spec = replace(spec, granularity=self.completed(spec.granularity, module_kind))
        qparams = self.stored_qparams(self.qparams(x, spec, "weight"), spec)
        codes = self.stored_codes(self.quantize(self.exported(x, spec), spec, qparams), spec)
        return codes, qparams

    def completed(self, granularity: Granularity, module_kind: str) -> Granularity:
        """Fill in the axis of the module (GRAN-7)."""
        if isinstance(granularity, PerTensor) or granularity.axis is not None:
            return granularity
        if isinstance(granularity, PerBlock) and isinstance(granularity.block_size, tuple):
            return granularity
        return replace(granularity, axis=self.default_axis(module_kind, granularity))

    def exported(self, x: Array, spec: QuantizationSpec) -> Array:
        """The weight that codes are made of; a mutant takes one that went another way."""
        return x

    def stored_qparams(self, qparams: QParams, spec: QuantizationSpec) -> QParams:
        """What is kept of the qparams: those that the formulation uses."""
        if spec.qformulation == "minval":
            return QParams(qparams.scale, None, qparams.minval)
        return QParams(qparams.scale, qparams.zero_point, None)

    def stored_codes(self, codes: Array, spec: QuantizationSpec) -> Array:
        """The codes as they are read back; a mutant spoils them here."""
        return codes

    def placement(self, model_id: str, mode: str) -> list[Placed]:
        """PLACE-1 to PLACE-12, from the lists made by hand."""
        return self.placed(read(stated_lines(model_id, mode)), mode)

    def placed(self, quantizers: list[Placed], mode: str) -> list[Placed]:
        """The quantizers of a model; a mutant misplaces some here."""
        return quantizers

    def validate_spec(self, mapping: Mapping[str, Any]) -> None:
        """SPEC-1 to SPEC-7."""
        QuantizationSpec.from_dict(self.tolerated(dict(mapping)))

    def tolerated(self, mapping: dict[str, Any]) -> Mapping[str, Any]:
        """The spec as it is read; a mutant overlooks something here."""
        return mapping
