"""Block-scaled tensors in torchao: MX and NVFP4, one block in each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from quant_conformance.backends._torch_arrays import to_numpy, to_torch
from quant_conformance.protocol import Array

if TYPE_CHECKING:
    from quant_reference.block import BlockForm

ELEMENTS = {
    "mxfp8_e4m3": "float8_e4m3fn",
    "mxfp8_e5m2": "float8_e5m2",
    "mxfp4": "float4_e2m1fn_x2",
    "nvfp4": "float4_e2m1fn_x2",
}


class TorchaoBlocks:
    """What ``to_mx``, ``nvfp4_quantize`` and their tensors answer about blocks.

    A block is a row of its own, filled with zeros up to the size that torchao has: zeros change
    neither its greatest magnitude nor another element.
    """

    def block_scale(self, x: Array, form: BlockForm, tensor_amax: Array | None) -> Array:
        scales, _ = _quantized(_rows(x, form), form, tensor_amax)
        return scales.reshape(form.blocks(x.shape))

    def block_quantize(
        self, x: Array, scales: Array, form: BlockForm, tensor_amax: Array | None
    ) -> Array:
        chosen, codes = _quantized(_rows(x, form), form, tensor_amax)
        moved = np.moveaxis(scales, form.axis, -1).reshape(-1)
        if not np.array_equal(chosen.reshape(-1), moved):
            raise NotImplementedError("torchao chooses the scales itself, here others")
        whole = np.ascontiguousarray(codes[:, : form.size]).reshape(*x.shape[:-1], -1)
        return whole if form.tail == "pad" else whole[..., : x.shape[-1]]

    def block_dequantize(
        self, codes: Array, scales: Array, form: BlockForm, tensor_amax: Array | None
    ) -> Array:
        rows = _rows(codes, form, codes.dtype)
        values = _dequantized(rows, scales.reshape(-1, 1), form, tensor_amax)
        whole = np.ascontiguousarray(values[:, : form.size]).reshape(*codes.shape[:-1], -1)
        return whole[..., : codes.shape[-1]]

    def scale_layout(self, scales: Array) -> Array:
        from torchao.prototype.mx_formats.utils import to_blocked

        return to_numpy(to_blocked(to_torch(scales))).reshape(-1)


def _rows(x: Array, form: BlockForm, dtype: Any = None) -> Array:
    """A row for each block, as long as torchao's blocks are; scales keep their order."""
    if form.name not in ELEMENTS:
        raise NotImplementedError(f"torchao has no {form.name}")
    width = 16 if form.two_levels else 32
    if form.size > width or (x.ndim and form.axis not in (-1, x.ndim - 1)):
        raise NotImplementedError("torchao has blocks of 32, NVFP4 of 16, along the last axis")
    if x.dtype == np.float16 or not x.size:
        raise NotImplementedError("torchao takes bfloat16 and float32, and no empty tensors")
    lines = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    lines = np.pad(lines, ((0, 0), (0, -lines.shape[1] % form.size)))
    rows = lines.reshape(-1, form.size)
    return np.pad(rows, ((0, 0), (0, width - form.size)))


def _quantized(rows: Array, form: BlockForm, amax: Array | None) -> tuple[Array, Array]:
    """Scales, and a code in each byte."""
    import torch
    from torchao.prototype.mx_formats import mx_tensor, nvfp4_tensor

    if form.two_levels:
        g = nvfp4_tensor.per_tensor_amax_to_scale(torch.from_numpy(np.array(amax)))
        scale, packed = nvfp4_tensor.nvfp4_quantize(to_torch(rows), rows.shape[1], g)
    else:
        dtype = getattr(torch, ELEMENTS[form.name])
        scale, packed = mx_tensor.to_mx(to_torch(rows), dtype, rows.shape[1])
    codes = to_numpy(packed.view(torch.uint8))
    if form.element.bits == 4:
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(rows.shape)
    return to_numpy(scale.view(torch.uint8)), codes


def _dequantized(codes: Array, scales: Array, form: BlockForm, amax: Array | None) -> Array:
    """Values of the codes of rows."""
    import torch
    from torchao.prototype.mx_formats import mx_tensor, nvfp4_tensor

    held = codes[:, ::2] | codes[:, 1::2] << 4 if form.element.bits == 4 else codes
    data = to_torch(np.ascontiguousarray(held))
    scale = to_torch(np.ascontiguousarray(scales))
    if form.two_levels:
        g = nvfp4_tensor.per_tensor_amax_to_scale(torch.from_numpy(np.array(amax)))
        tensor = nvfp4_tensor.NVFP4Tensor(
            data, scale.view(torch.float8_e4m3fn), codes.shape[1], torch.float32, g
        )
        return to_numpy(tensor.dequantize(torch.float32))
    dtype = getattr(torch, ELEMENTS[form.name])
    data = data if form.element.bits == 4 else data.view(dtype)
    scale = scale.view(torch.float8_e8m0fnu)
    return to_numpy(mx_tensor.to_dtype(data, scale, dtype, codes.shape[1], torch.float32))
