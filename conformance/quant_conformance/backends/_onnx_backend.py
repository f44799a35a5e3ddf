"""What onnxruntime and ONNX's own evaluator have in common: the questions, not the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from quant_conformance.backends._formats import lacking
from quant_conformance.backends._layout import Layout, layout_of
from quant_conformance.backends._onnx_models import ELEMENT_TYPES, ModelKey
from quant_conformance.protocol import Array, Backend
from quant_reference import QParams, QuantizationSpec
from quant_reference.formats import FORMATS
from quant_reference.granularity import PerTensor

if TYPE_CHECKING:
    from quant_vectors import Case

_PER_TENSOR = Layout("tensor")


class OnnxBackend(Backend):
    """Puts every question as a model of one or two operators; subclasses run the model.

    Attributes:
        saturate: the attribute of Cast for values beyond an 8-bit float's range.
        widens: dtypes that the runtime has no kernels for, so that a model casts them first.
    """

    saturate: ClassVar[bool] = True
    widens: ClassVar[frozenset[str]] = frozenset()

    def evaluate(
        self, key: ModelKey, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> None:
        """Runs the model of ``key`` and fills ``outputs``, arrays of the right shape and dtype."""
        raise NotImplementedError

    def supports(self, case: Case) -> str | None:
        return lacking(case, ELEMENT_TYPES, "ONNX")

    def refuse(self, fmt: str) -> None:
        """Raises NotImplementedError if the runtime has no kernels for ``fmt``."""

    def encode(self, x: Array, fmt: str) -> Array:
        self.refuse(fmt)
        if FORMATS[fmt].is_integer:  # a Cast to integers truncates: quantizing by 1 is the way
            one, zero = np.array(1, np.float32), np.zeros((), FORMATS[fmt].code_dtype)
            inputs = {"x": x, "scale": one, "zero_point": zero}
            return self._one(self._key("quantize", fmt, x, _PER_TENSOR), inputs, "codes_out")
        key = ModelKey("cast_to", fmt, x.dtype.name, saturate=self.saturate)
        return self._one(key, {"x": x}, "codes_out")

    def decode(self, codes: Array, fmt: str) -> Array:
        self.refuse(fmt)
        return self._one(ModelKey("cast_from", fmt), {"codes": codes}, "values")

    def quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return self._linear("quantize", x, spec, qparams)

    def dequantize(self, codes: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return self._linear("dequantize", codes, spec, qparams)

    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return self._linear("fake_quantize", x, spec, qparams)

    def qparams(self, x: Array, spec: QuantizationSpec, target: str) -> QParams:
        _check_dynamic(x, spec)
        scale: Array = np.empty((), np.float32)
        zero_point: Array = np.empty((), np.uint8)
        outputs = {"scale_out": scale, "zero_point_out": zero_point}
        self.evaluate(ModelKey("dynamic", "uint8"), {"x": x}, outputs)
        shape = (1,) * x.ndim
        return QParams(scale.reshape(shape), zero_point.astype(np.int32).reshape(shape))

    def observe(
        self,
        batches: Sequence[Array],
        spec: QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float = 0.01,
    ) -> QParams:
        if kind != "dynamic" or not batches:
            raise NotImplementedError("ONNX has no operator that observes over batches")
        return self.qparams(batches[-1], spec, target)

    def _key(self, op: str, fmt: str, x: Array, layout: Layout) -> ModelKey:
        dtype = x.dtype.name
        return ModelKey(op, fmt, dtype, layout, dtype in self.widens)  # type: ignore[arg-type]

    def _linear(self, op: str, tensor: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        self.refuse(spec.dtype)
        layout = _expressible(tensor, spec, qparams, clamps=op != "dequantize")
        if op == "fake_quantize" and not spec.format.has_nan and _has_nan(tensor, qparams):
            raise NotImplementedError("the pair of operators goes through codes without NaN")
        inputs = {"scale": _shaped(qparams.scale, layout)}
        if spec.format.is_integer:
            if qparams.zero_point is None:
                raise NotImplementedError("ONNX has the zero-point formulation only")
            zero_point = qparams.zero_point.astype(spec.format.code_dtype)
            inputs["zero_point"] = _shaped(zero_point, layout)
        if op == "dequantize":
            key = ModelKey("dequantize", spec.dtype, layout=layout)
            return self._one(key, inputs | {"codes": tensor}, "values")
        name = "codes_out" if op == "quantize" else "values"
        return self._one(self._key(op, spec.dtype, tensor, layout), inputs | {"x": tensor}, name)

    def _one(self, key: ModelKey, inputs: dict[str, Array], output: str) -> Array:
        tensor = inputs["x"] if "x" in inputs else inputs["codes"]
        if output == "codes_out":
            dtype = np.dtype(FORMATS[key.fmt].code_dtype)
        else:
            dtype = tensor.dtype if key.op == "fake_quantize" else np.dtype(np.float32)
        answer = np.empty(tensor.shape, dtype)
        self.evaluate(key, inputs, {output: answer})
        return answer


def _expressible(tensor: Array, spec: QuantizationSpec, qparams: QParams, clamps: bool) -> Layout:
    """Returns the layout; raises NotImplementedError for what the operators do not claim."""
    if spec.qformulation == "minval":
        raise NotImplementedError("ONNX has the zero-point formulation only")
    whole = (spec.format.quant_min, spec.format.quant_max)
    if clamps and (spec.quant_min, spec.quant_max) != whole:
        raise NotImplementedError("QuantizeLinear saturates to the whole range of the type")
    layout = layout_of(tensor.shape, qparams.scale.shape, spec.granularity)
    if layout is None:
        raise NotImplementedError("ONNX blocks one axis and has one scale per index of the others")
    return layout


def _has_nan(x: Array, qparams: QParams) -> bool:
    """Tells whether fake-quantize has to give a NaN somewhere, or may (a scale without end)."""
    return bool(np.isnan(x).any() or not np.isfinite(qparams.scale).all())


def _shaped(values: Array, layout: Layout) -> Array:
    """Reshapes qparams to what the operators take: a scalar, a vector, or the tensor's rank."""
    if layout.kind == "tensor":
        return values.reshape(())
    return values.reshape(-1) if layout.kind == "axis" else values


def _check_dynamic(x: Array, spec: QuantizationSpec) -> None:
    """Raises NotImplementedError unless DynamicQuantizeLinear claims to do this."""
    asked = (spec.dtype, spec.qscheme, spec.qformulation, spec.float_range)
    if asked != ("uint8", "asymmetric", "zp", (None, None)):
        raise NotImplementedError("DynamicQuantizeLinear is for uint8, asymmetric, zero point")
    if not isinstance(spec.granularity, PerTensor) or x.dtype != np.float32:
        raise NotImplementedError("DynamicQuantizeLinear is for float32, per tensor")
    with np.errstate(all="ignore"):
        span = np.maximum(np.max(x), np.float32(0)) - np.minimum(np.min(x), np.float32(0))
    if not np.isfinite(span):
        raise NotImplementedError("DynamicQuantizeLinear is undefined for a range without end")
    if span / 255 < 2.0**-23:
        raise NotImplementedError("DynamicQuantizeLinear has no least scale")
