"""torchao: affine quantization primitives of any block shape, float8 ops, and the MX formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from quant_conformance.backends._formats import lacking
from quant_conformance.backends._layout import block_extents
from quant_conformance.backends._torch_arrays import to_numpy, to_torch
from quant_conformance.backends._torch_observers import observed
from quant_conformance.backends._torchao_blocks import TorchaoBlocks
from quant_conformance.protocol import Array, Backend
from quant_reference import QParams, QuantizationSpec
from quant_reference.formats import FORMATS, SPEC_FORMATS

if TYPE_CHECKING:
    from quant_vectors import Case

SCALE_EPS = 2.0**-23

Blocks = tuple[int, ...]


class Torchao(TorchaoBlocks, Backend):
    """The three ways in which torchao quantizes on a CPU.

    * Integer formats: ``choose_qparams_affine``, ``quantize_affine``, ``dequantize_affine`` and
      ``_fake_quantize_affine`` with its autograd; any block shape, zero points, and a least scale
      that is an argument. A fixed range goes through ``choose_qparams_affine_with_min_max``.
    * FP8 with a float32 scale: ``choose_qparams_affine`` and the two ``_affine_float8`` ops.
    * encode and decode of integer and FP8 formats: those ops with scale 1.
    * e8m0 scales: ``to_mx`` (floor) and ``to_dtype`` along the last axis. ``to_mx`` chooses the
      scale itself, so that quantize is asked only where that is the given scale.

    Running ranges are the observers of torchao's PT2E flow.
    """

    name = "torchao"
    requires = ("torchao", "torch")
    checks_input = False

    def __init__(self) -> None:
        import torch
        import torchao.prototype.mx_formats.mx_tensor as mx
        import torchao.quantization.pt2e as pt2e
        import torchao.quantization.quant_primitives as primitives
        from torchao.prototype.mx_formats import kernels

        self._torch, self._mx, self._pt2e = torch, mx, pt2e
        self._primitives, self._kernels = primitives, kernels

    def supports(self, case: Case) -> str | None:
        return lacking(case, SPEC_FORMATS, "torchao")

    def encode(self, x: Array, fmt: str) -> Array:
        if fmt == "float4_e2m1fn":
            return to_numpy(self._kernels.f32_to_f4_unpacked(to_torch(x)))
        if fmt == "float8_e8m0fnu":
            raise NotImplementedError("torchao has no encoder of e8m0, only rules for scales")
        return self.quantize(x, QuantizationSpec(fmt), _by_one(x, fmt))

    def decode(self, codes: Array, fmt: str) -> Array:
        if fmt == "float8_e8m0fnu":
            scales = to_torch(codes).view(self._torch.float8_e8m0fnu)
            return to_numpy(self._mx.get_fp_scale(scales))
        if fmt == "float4_e2m1fn":
            return to_numpy(self._kernels.f4_unpacked_to_f32(to_torch(codes)))
        return self.dequantize(codes, QuantizationSpec(fmt), _by_one(codes, fmt))

    def pack(self, codes: Array, fmt: str, order: str) -> Array:
        self._check_packable(fmt, order, codes.size)
        return to_numpy(self._kernels.pack_uint4(to_torch(codes.reshape(-1))))

    def unpack(self, packed: Array, fmt: str, order: str, count: int) -> Array:
        self._check_packable(fmt, order, count)
        if 2 * packed.size != count:
            raise NotImplementedError("torchao unpacks every byte that it is given")
        return to_numpy(self._kernels.unpack_uint4(to_torch(packed)))

    def qparams(self, x: Array, spec: QuantizationSpec, target: str) -> QParams:
        blocks = block_extents(x.shape, spec.granularity, target)
        if spec.scale_dtype is not None:
            scale, _ = self._to_mx(x, spec, blocks)
            if (scale < 2.0**-126).any():
                raise NotImplementedError("the least scale of to_mx is 2**-127, as in the MX paper")
            return QParams(scale)
        _check_formulation(spec)
        options = {
            "mapping_type": self._mapping(spec),
            "block_size": blocks,
            "target_dtype": self._dtype(spec),
            "quant_min": _number(spec, spec.quant_min),
            "quant_max": _number(spec, spec.quant_max),
            "eps": SCALE_EPS,
            "zero_point_dtype": self._torch.int32,
        }
        lo, hi = spec.float_range
        if lo is not None and hi is not None:
            shape = tuple(n // b for n, b in zip(x.shape, blocks, strict=True))
            limits = (self._torch.full(shape, bound) for bound in (lo, hi))
            answer = self._primitives.choose_qparams_affine_with_min_max(*limits, **options)
        elif (lo, hi) == (None, None):
            answer = self._primitives.choose_qparams_affine(to_torch(x), keepdim=True, **options)
        else:
            raise NotImplementedError("torchao takes both ends of a range or none")
        scale, zero_point = answer
        # A model keeps torchao's scales in its own dtype; SPEC.md keeps them in float32.
        return QParams(
            to_numpy(scale.to(self._torch.float32)),
            to_numpy(zero_point) if spec.format.is_integer else None,
        )

    def quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        if spec.scale_dtype is not None:
            scale, codes = self._to_mx(x, spec, _blocks(x, qparams))
            _check_scale(scale, qparams)
            return self._mx_codes(codes, spec)
        scale = to_torch(qparams.scale)
        tensor = to_torch(x).float()
        if not spec.format.is_integer:
            codes = self._primitives._quantize_affine_float8(tensor, scale, self._dtype(spec))
            return to_numpy(codes)
        return to_numpy(
            self._primitives.quantize_affine(
                tensor, _blocks(x, qparams), scale, *self._integer(spec, qparams)
            )
        )

    def dequantize(self, codes: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        scale, blocks = to_torch(qparams.scale), _blocks(codes, qparams)
        if spec.scale_dtype is not None:
            _check_mx_blocks(blocks, spec)
            tensor = to_torch(codes)
            if spec.dtype == "float4_e2m1fn":
                tensor = self._kernels.pack_uint4(tensor)
            else:
                tensor = tensor.view(self._dtype(spec))
            values = self._mx.to_dtype(
                tensor,
                scale.to(self._torch.float8_e8m0fnu),
                self._dtype(spec),
                blocks[-1],
                self._torch.float32,
            )
            return to_numpy(values)
        tensor = to_torch(codes)
        if not spec.format.is_integer:
            values = self._primitives._dequantize_affine_float8(
                tensor.view(self._dtype(spec)), scale
            )
            return to_numpy(values)
        values = self._primitives.dequantize_affine(
            tensor, blocks, scale, *self._integer(spec, qparams)
        )
        return to_numpy(values)

    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        if spec.scale_dtype is not None:
            scale, codes = self._to_mx(x, spec, _blocks(x, qparams))
            _check_scale(scale, qparams)
            tensor = to_torch(x)
            values = self._mx.to_dtype(
                codes,
                to_torch(scale).to(self._torch.float8_e8m0fnu),
                self._dtype(spec),
                _blocks(x, qparams)[-1],
                tensor.dtype,
            )
            return to_numpy(values)
        return to_numpy(self._fake_quantized(to_torch(x), spec, qparams))

    def gradient(self, x: Array, grad: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        leaf = to_torch(x).requires_grad_()
        self._fake_quantized(leaf, spec, qparams).backward(to_torch(grad))
        return to_numpy(leaf.grad)

    def observe(
        self,
        batches: Sequence[Array],
        spec: QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float = 0.01,
    ) -> QParams:
        if not batches:
            raise NotImplementedError("torchao computes qparams of a tensor")
        if kind in ("static", "dynamic"):  # no state: the qparams of the last batch
            return self.qparams(batches[-1], spec, target)
        return observed(self._pt2e, batches, spec, kind, averaging_constant)

    def _fake_quantized(self, x: Any, spec: QuantizationSpec, qparams: QParams) -> Any:
        if not spec.format.is_integer:
            raise NotImplementedError("torchao's affine fake-quantize is for integers")
        return self._primitives._fake_quantize_affine(
            x, _blocks(x, qparams), to_torch(qparams.scale), *self._integer(spec, qparams)
        )

    def _integer(self, spec: QuantizationSpec, qparams: QParams) -> tuple[Any, ...]:
        _check_formulation(spec)
        limits = (int(spec.quant_min), int(spec.quant_max))
        return to_torch(cast(Array, qparams.zero_point)), self._dtype(spec), *limits

    def _to_mx(self, x: Array, spec: QuantizationSpec, blocks: Blocks) -> tuple[Array, Any]:
        _check_mx_blocks(blocks, spec)
        if x.dtype == np.float16:
            raise NotImplementedError("to_mx takes float32 and bfloat16")
        if spec.float_range != (None, None):
            raise NotImplementedError("to_mx takes no fixed range")
        floor = self._mx.ScaleCalculationMode.FLOOR
        scale, codes = self._mx.to_mx(to_torch(x), self._dtype(spec), blocks[-1], floor)
        chosen = to_numpy(self._mx.get_fp_scale(scale))
        return chosen, codes

    def _mx_codes(self, codes: Any, spec: QuantizationSpec) -> Array:
        if spec.dtype == "float4_e2m1fn":
            codes = self._kernels.unpack_uint4(codes)
        return to_numpy(codes)

    def _mapping(self, spec: QuantizationSpec) -> Any:
        kinds = self._primitives.MappingType
        return kinds.ASYMMETRIC if spec.qscheme == "asymmetric" else kinds.SYMMETRIC

    def _dtype(self, spec: QuantizationSpec) -> Any:
        if spec.format.is_integer:
            return self._torch.int8 if spec.format.kind == "int" else self._torch.uint8
        name = "float4_e2m1fn_x2" if spec.dtype == "float4_e2m1fn" else spec.dtype
        return getattr(self._torch, name)

    def _check_packable(self, fmt: str, order: str, count: int) -> None:
        if fmt not in ("uint4", "float4_e2m1fn"):
            raise NotImplementedError("torchao packs unsigned and floating nibbles")
        if order != "low_first":
            raise NotImplementedError("torchao packs the first code into the low bits")
        if count % 2:
            raise NotImplementedError("torchao packs whole pairs of codes")


def _blocks(x: Any, qparams: QParams) -> Blocks:
    """Returns the extents of a block; torchao counts the blocks by them, and never sees how many.

    Raises:
        NotImplementedError: For an axis without elements in several blocks, which no extent says.
    """
    extents = []
    for n, count in zip(x.shape, qparams.scale.shape, strict=True):
        if n == 0 and count > 1:
            raise NotImplementedError(
                "torchao is given extents: an empty axis has no blocks or one"
            )
        extents.append(int(n // count) if count else 1)
    return tuple(extents)


def _by_one(tensor: Array, fmt: str) -> QParams:
    """Qparams that leave values as they are: so the affine ops encode and decode."""
    shape = (1,) * tensor.ndim
    zero_point = np.zeros(shape, np.int32) if FORMATS[fmt].is_integer else None
    return QParams(np.ones(shape, np.float32), zero_point)


def _number(spec: QuantizationSpec, limit: float) -> float:
    return int(limit) if spec.format.is_integer else limit


def _check_formulation(spec: QuantizationSpec) -> None:
    if spec.qformulation == "minval":
        raise NotImplementedError("torchao's float zero points are values of the middle code")


def _check_mx_blocks(blocks: Blocks, spec: QuantizationSpec) -> None:
    if not blocks or any(extent != 1 for extent in blocks[:-1]):
        raise NotImplementedError("MX blocks lie along the last axis")
    if blocks[-1] == 0 or (spec.dtype == "float4_e2m1fn" and blocks[-1] % 2):
        raise NotImplementedError("an MX block holds something, and of FP4 whole bytes")


def _check_scale(chosen: Array, qparams: QParams) -> None:
    if not np.array_equal(chosen, qparams.scale, equal_nan=True):
        raise NotImplementedError("to_mx chooses the scale itself, and here another one")
