"""How a case of the vectors is put to Core AI, and what Core AI has no way to be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quant_conformance.backends._layout import Layout, layout_of
from quant_conformance.protocol import Array
from quant_conformance.runtimes.coreai.requests import Request
from quant_conformance.runtimes.coreai.types import SUB_BYTE_INTEGERS
from quant_reference import PerChannel, PerTensor, QParams, QuantizationSpec

if TYPE_CHECKING:
    from quant_vectors import Case


@dataclass(frozen=True)
class Manner:
    """What a case leaves open about the program that answers it.

    Two known traps of Core AI would otherwise fail every case that touches them, whatever it is
    about; so only the cases that are about a trap walk into it.

    Attributes:
        target: "weight" or "activation".
        raw_axis: hand on a negative axis as it is, and not counted from the front.
        negative_zero: add -0, which changes nothing, where there is no offset, and not +0.
    """

    target: str = "activation"
    raw_axis: bool = False
    negative_zero: bool = True

    @staticmethod
    def of(case: Case) -> Manner:
        """The manner of a case."""
        return Manner(
            target=case.target or "activation",
            raw_axis="NegativeAxis" in case.flags,
            negative_zero="NegativeZero" not in case.flags,
        )


_UNCAST = {"int8", "uint8", *SUB_BYTE_INTEGERS}
_UNQUANTIZED = ("int2", "uint2")


def cast_request(x: Array, source: str, target: str) -> Request:
    """Encodes or decodes by ``cast``; to an integer by ``quantize`` with scale 1."""
    if target not in _UNCAST:
        return Request("cast", x, source, target)
    _check_quantizable(target)
    return Request(
        "quantize",
        *(x, source, target),
        code_type=target,
        scale=np.ones((), np.float32),
        zero_point=np.zeros((), np.int8),
        offset_type=source,
    )


def quantize_request(x: Array, spec: QuantizationSpec, qparams: QParams, manner: Manner) -> Request:
    """``coreai.quantize``: a scale for the tensor or one per index of an axis."""
    return _activation_request("quantize", x, spec, qparams, manner, result=spec.dtype)


def fake_quantize_request(
    x: Array, spec: QuantizationSpec, qparams: QParams, manner: Manner
) -> Request:
    """``coreai.quantize``, then ``coreai.dequantize``, then a cast to x's dtype."""
    return _activation_request("fake_quantize", x, spec, qparams, manner, result=x.dtype.name)


def dequantize_request(
    codes: Array, spec: QuantizationSpec, qparams: QParams, manner: Manner
) -> Request:
    """``coreai.blockwise_shift_scale`` for weights and blocks, else ``coreai.dequantize``."""
    layout = layout_of(codes.shape, qparams.scale.shape, spec.granularity)
    blockwise = manner.target == "weight" or layout is None or layout.kind == "block"
    if not blockwise and spec.dtype in _UNQUANTIZED:
        raise NotImplementedError(f"coreai.dequantize has no {spec.dtype}")
    zero_point, offset = _offsets(spec, qparams)
    if blockwise:
        scale, axis = qparams.scale, 0
    else:
        scale, zero_point, offset = (
            _laid_out(array, layout) for array in (qparams.scale, zero_point, offset)
        )
        axis = _axis(layout, codes.ndim, manner)
    return Request(
        "shift_scale" if blockwise else "dequantize",
        *(codes, spec.dtype, "float32"),
        code_type=spec.dtype,
        scale=_encoded_scale(scale, spec),
        scale_type=spec.scale_dtype or "float32",
        zero_point=zero_point,
        offset=offset,
        axis=axis,
        negative_zero=manner.negative_zero and not spec.format.is_integer,
    )


def statistics_requests(x: Array, spec: QuantizationSpec, manner: Manner) -> list[Request]:
    """The quantization statistics: a symmetric scale, or an asymmetric scale and zero point."""
    if spec.float_range != (None, None):
        raise NotImplementedError("the statistics take no fixed bounds")
    if spec.scale_dtype is not None:
        raise NotImplementedError(f"the statistics have no {spec.scale_dtype} scale")
    if spec.qformulation != "zp":
        raise NotImplementedError("the statistics give no minval")
    symmetric = spec.qscheme != "asymmetric"
    if symmetric and spec.format.kind == "uint":
        raise NotImplementedError("the symmetric statistic has no zero point for unsigned codes")
    if isinstance(spec.granularity, PerTensor):
        x, axis, count = x.reshape(1, -1), 0, 1
    elif isinstance(spec.granularity, PerChannel) and spec.granularity.axis is not None:
        axis = spec.granularity.axis if manner.raw_axis else spec.granularity.axis % x.ndim
        count = x.shape[axis]
    else:
        raise NotImplementedError("the statistics are per tensor or along one axis")
    kind = np.int32 if spec.format.is_integer else np.float32
    bounds = np.array([spec.quant_min, spec.quant_max], kind)
    scale_type = bounds.dtype.name
    name = x.dtype.name

    def request(operation: str, result: str) -> Request:
        return Request(
            operation,
            *(x, name, result),
            shape=(count,),
            scale=bounds,
            scale_type=scale_type,
            axis=axis,
        )

    if symmetric:
        return [request("symmetric_scale", "float32")]
    return [request("asymmetric_scale", "float32"), request("asymmetric_zero_point", "int32")]


def _activation_request(
    operation: str,
    x: Array,
    spec: QuantizationSpec,
    qparams: QParams,
    manner: Manner,
    result: str,
) -> Request:
    _check_quantizable(spec.dtype)
    layout = layout_of(x.shape, qparams.scale.shape, spec.granularity)
    if layout is None or layout.kind == "block":
        raise NotImplementedError("coreai.quantize is per tensor or along one axis")
    zero_point, offset = _offsets(spec, qparams)
    x_type = x.dtype.name
    # The offset has x's type, so that one which x's type cannot hold needs x to be widened.
    exact = bool(np.all(offset.astype(x.dtype).astype(np.float32) == offset))
    return Request(
        operation,
        *(x, x_type, result),
        code_type=spec.dtype,
        scale=_encoded_scale(_laid_out(qparams.scale, layout), spec),
        scale_type=spec.scale_dtype or "float32",
        zero_point=_laid_out(zero_point, layout),
        offset=_laid_out(offset, layout),
        offset_type=x_type if exact else "float32",
        axis=_axis(layout, x.ndim, manner),
        negative_zero=manner.negative_zero and not spec.format.is_integer,
    )


def _axis(layout: Layout | None, rank: int, manner: Manner) -> int:
    if layout is None or layout.kind != "axis":
        return 0
    return layout.axis if manner.raw_axis else layout.axis % rank


def _check_quantizable(fmt: str) -> None:
    if fmt in _UNQUANTIZED:
        raise NotImplementedError(f"coreai.quantize has no {fmt}")


def _offsets(spec: QuantizationSpec, qparams: QParams) -> tuple[Array, Array]:
    """Returns the code that is subtracted or added and the value that is, as Core AI has them."""
    fmt = spec.format
    zeros = np.zeros(qparams.scale.shape, np.float32)
    if not fmt.is_integer:
        return zeros.astype(np.uint8), zeros
    if spec.qformulation == "minval":
        return np.full(zeros.shape, spec.quant_min, fmt.code_dtype), _given(qparams.minval)
    return _given(qparams.zero_point).astype(fmt.code_dtype), zeros


def _given(array: Array | None) -> Array:
    if array is None:
        raise NotImplementedError("the case lacks the qparam of its formulation")
    return array


def _laid_out(array: Array, layout: Layout | None) -> Array:
    return array.reshape(-1) if layout is not None and layout.kind == "axis" else array.reshape(())


def _encoded_scale(scale: Array, spec: QuantizationSpec) -> Array:
    if spec.scale_dtype is None:
        return scale
    # Exact: the scales of such a spec are powers of two, or NaN.
    exponents = np.frexp(scale)[1].astype(np.int32) - 1 + 127
    return np.where(np.isnan(scale), 255, exponents).astype(np.uint8)
