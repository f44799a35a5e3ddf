"""torch: native casts, quantize ops, fused fake-quantize with its autograd, and its observers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quant_conformance.backends._formats import lacking
from quant_conformance.backends._layout import Layout, layout_of
from quant_conformance.backends._torch_arrays import to_numpy, to_torch
from quant_conformance.backends._torch_layers import computed
from quant_conformance.backends._torch_observers import observed
from quant_conformance.protocol import Array, Backend
from quant_reference import QParams, QuantizationSpec, quantize
from quant_reference.admissible import FloatLayer, Layer
from quant_reference.batch_norm import BatchNorm
from quant_reference.formats import FORMATS, SPEC_FORMATS

if TYPE_CHECKING:
    from quant_vectors import Case

_PACKED = {"uint4": "quint4x2", "uint2": "quint2x4"}


class Torch(Backend):
    """What torch itself offers on a CPU, without torchao.

    * encode and decode of float formats: ``Tensor.to``; of integer formats and ``pack``:
      ``quantize_per_tensor`` with scale 1.
    * quantize: ``torch.quantize_per_tensor`` and ``_per_channel`` for the whole range of int8 and
      uint8; ``torch.ops.quantized_decomposed`` (what a PT2E export holds) for every other range,
      for groups along the last axis of a matrix, and for dequantize.
    * fake_quantize and gradient: ``torch.fake_quantize_per_tensor_affine`` and ``_per_channel_``.
    * qparams and observe: the MinMax observers of ``torch.ao.quantization``.
    * fold_batch_norm: ``torch.nn.utils.fuse_conv_bn_weights``.
    * layer: the functions of ``torch.nn.functional`` on dequantized operands. What comes before
      and behind them is the reference's dequantize and quantize; torch's own are judged apart.
    """

    name = "torch"
    requires = ("torch",)
    checks_input = False

    def __init__(self) -> None:
        import torch
        import torch.ao.quantization.quantize_fx  # registers torch.ops.quantized_decomposed

        self._torch = torch
        self._decomposed = torch.ops.quantized_decomposed

    def supports(self, case: Case) -> str | None:
        formats = (*SPEC_FORMATS, "float8_e4m3fnuz", "float8_e5m2fnuz")
        return lacking(case, formats, "torch")

    def encode(self, x: Array, fmt: str) -> Array:
        if fmt == "float4_e2m1fn":
            raise NotImplementedError("torch.float4_e2m1fn_x2 has no casts")
        if FORMATS[fmt].is_integer:
            return self._codes(to_torch(x), QuantizationSpec(fmt), self._one(), self._zero(), None)
        return to_numpy(to_torch(x).to(getattr(self._torch, fmt)))

    def decode(self, codes: Array, fmt: str) -> Array:
        if fmt == "float4_e2m1fn":
            raise NotImplementedError("torch.float4_e2m1fn_x2 has no casts")
        if FORMATS[fmt].bits < 8:
            raise NotImplementedError(f"torch.{fmt} has no casts")
        tensor = to_torch(codes)
        if not FORMATS[fmt].is_integer:
            tensor = tensor.view(getattr(self._torch, fmt))
        return to_numpy(tensor.to(self._torch.float32))

    def pack(self, codes: Array, fmt: str, order: str) -> Array:
        if fmt not in _PACKED:
            raise NotImplementedError("only quint4x2 and quint2x4 tensors are packed")
        if order != "low_first":
            raise NotImplementedError("torch packs the first code into the low bits")
        values = to_torch(codes.reshape(-1)).to(self._torch.float32)
        dtype = getattr(self._torch, _PACKED[fmt])
        return to_numpy(self._torch.quantize_per_tensor(values, 1.0, 0, dtype).int_repr())

    def quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        layout, scale, zero_point = self._arguments(x, spec, qparams)
        return self._codes(to_torch(x), spec, scale, zero_point, layout)

    def dequantize(self, codes: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        layout, scale, zero_point = self._arguments(codes, spec, qparams)
        q, limits = to_torch(codes), (int(spec.quant_min), int(spec.quant_max))
        if layout.kind == "tensor":
            values = self._decomposed.dequantize_per_tensor.tensor(
                q, scale.reshape(()), zero_point.reshape(()), *limits, q.dtype
            )
        elif layout.kind == "axis":
            values = self._decomposed.dequantize_per_channel(
                q, scale.reshape(-1), zero_point.reshape(-1), layout.axis, *limits, q.dtype
            )
        else:
            values = self._decomposed.dequantize_per_channel_group(
                q, scale, zero_point, *limits, q.dtype, layout.size, self._torch.float32
            )
        return to_numpy(values)

    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return to_numpy(self._fused(to_torch(x), spec, *self._arguments(x, spec, qparams)))

    def gradient(self, x: Array, grad: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        leaf = to_torch(x).requires_grad_()
        self._fused(leaf, spec, *self._arguments(x, spec, qparams)).backward(to_torch(grad))
        return to_numpy(leaf.grad)

    def qparams(self, x: Array, spec: QuantizationSpec, target: str) -> QParams:
        return self.observe([x], spec, target, "static")

    def observe(
        self,
        batches: Sequence[Array],
        spec: QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float = 0.01,
    ) -> QParams:
        return observed(self._torch.ao.quantization, batches, spec, kind, averaging_constant)

    def layer(self, layer: Layer) -> Array:
        return quantize(self.float_layer(layer), layer.output_spec, layer.output_qparams)

    def float_layer(self, layer: Layer | FloatLayer) -> Array:
        return computed(layer, layer.values())

    def _arguments(
        self, x: Array, spec: QuantizationSpec, qparams: QParams
    ) -> tuple[Layout, Any, Any]:
        if not spec.format.is_integer:
            raise NotImplementedError("torch quantizes to integers only")
        if spec.qformulation == "minval" or qparams.zero_point is None:
            raise NotImplementedError("torch has the zero-point formulation only")
        layout = layout_of(x.shape, qparams.scale.shape, spec.granularity)
        if layout is None or (layout.kind == "block" and not _groups_of_matrix(layout, x.ndim)):
            raise NotImplementedError("torch has no op for this block layout")
        if layout.kind == "axis":
            layout = Layout("axis", layout.axis % x.ndim)
        return layout, to_torch(qparams.scale), to_torch(qparams.zero_point)

    def _codes(
        self, x: Any, spec: QuantizationSpec, scale: Any, zero_point: Any, layout: Layout | None
    ) -> Array:
        dtype = self._torch.int8 if spec.format.kind == "int" else self._torch.uint8
        limits = (int(spec.quant_min), int(spec.quant_max))
        if layout is not None and layout.kind == "block":
            if x.isnan().any():
                raise NotImplementedError("quantize_per_channel_group refuses NaN")
            if layout.size == 1:
                raise NotImplementedError("quantize_per_channel_group refuses groups of one")
            codes = self._decomposed.quantize_per_channel_group(
                x.float(), scale, zero_point, *limits, dtype, layout.size
            )
        elif limits in ((-128, 127), (0, 255)):
            quantized = self._torch.qint8 if spec.format.kind == "int" else self._torch.quint8
            if layout is None or layout.kind == "tensor":
                codes = self._torch.quantize_per_tensor(
                    x.float(), scale.reshape(()), zero_point.reshape(()), quantized
                ).int_repr()
            else:
                codes = self._torch.quantize_per_channel(
                    x.float(), scale.reshape(-1), zero_point.reshape(-1), layout.axis, quantized
                ).int_repr()
        elif layout is None or layout.kind == "tensor":
            codes = self._decomposed.quantize_per_tensor.tensor(
                x.float(), scale.reshape(()), zero_point.reshape(()), *limits, dtype
            )
        else:
            codes = self._decomposed.quantize_per_channel(
                x.float(), scale.reshape(-1), zero_point.reshape(-1), layout.axis, *limits, dtype
            )
        return to_numpy(codes)

    def _fused(
        self, x: Any, spec: QuantizationSpec, layout: Layout, scale: Any, zero_point: Any
    ) -> Any:
        limits = (int(spec.quant_min), int(spec.quant_max))
        if layout.kind == "tensor":
            return self._torch.fake_quantize_per_tensor_affine(
                x, scale.reshape(()), zero_point.reshape(()), *limits
            )
        if layout.kind == "axis":
            return self._torch.fake_quantize_per_channel_affine(
                x, scale.reshape(-1), zero_point.reshape(-1), layout.axis, *limits
            )
        raise NotImplementedError("fused fake-quantize works per tensor or per channel")

    def fold_batch_norm(
        self, weight: Array, bias: Array | None, norm: BatchNorm, transposed: bool, groups: int
    ) -> tuple[Array, Array]:
        """``torch.nn.utils.fuse_conv_bn_weights``, which knows no groups of the transposed."""
        if transposed and groups > 1:
            raise NotImplementedError("fuse_conv_bn_weights is not told of groups")
        kernel, shift = self._torch.nn.utils.fuse_conv_bn_weights(
            to_torch(weight),
            None if bias is None else to_torch(bias),
            to_torch(norm.mean),
            to_torch(norm.variance),
            norm.eps,
            None if norm.gamma is None else to_torch(norm.gamma),
            None if norm.beta is None else to_torch(norm.beta),
            transpose=transposed,
        )
        return to_numpy(kernel.detach()), to_numpy(shift.detach())

    def _one(self) -> Any:
        return self._torch.tensor(1.0)

    def _zero(self) -> Any:
        return self._torch.tensor(0, dtype=self._torch.int32)


def _groups_of_matrix(layout: Layout, rank: int) -> bool:
    return rank == 2 and layout.axis in (1, -1)
