"""MIL's quantization operations, computed by the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quant_conformance.runtimes.coreml.operands import Inputs, Result, Table
from quant_conformance.runtimes.stored import StoredTensor
from quant_reference import QParams, QuantizationSpec, get_format, quantize

Array = NDArray[Any]


def stored_tensor(operation: str, values: dict[str, Any], element: str) -> StoredTensor:
    """Reads the constants of a ``constexpr_*`` dequantization.

    Args:
        operation: ``constexpr_blockwise_shift_scale`` or ``constexpr_affine_dequantize``.
        values: its constants by name.
        element: element type of the codes in the program.
    """
    # coremltools marks narrow integers by metadata on a numpy dtype, which cannot be pickled.
    dtype = get_format(element).code_dtype
    if operation == "constexpr_affine_dequantize":
        codes = np.asarray(values["quantized_data"]).astype(dtype)
        axis = int(values["axis"])
        scale = _aligned(np.asarray(values["scale"]), codes.ndim, axis)
        zero_point = _aligned(np.asarray(values["zero_point"]).astype(dtype), codes.ndim, axis)
        return StoredTensor(element, codes, scale, np.broadcast_to(zero_point, scale.shape))
    codes = np.asarray(values["data"]).astype(dtype)
    scale = np.asarray(values["scale"])
    offset = values.get("offset")
    zero_point = np.zeros(scale.shape, dtype) if offset is None else np.asarray(offset)
    zero_point = zero_point.astype(dtype)
    return StoredTensor(element, codes, scale, zero_point)


def _quantize(given: Inputs) -> Result:
    x = given.tensor("input").numpy()
    dtype = given.text("output_dtype")
    scale, zero_point = _qparams(given, x.ndim)
    spec = QuantizationSpec(dtype=dtype, qscheme="asymmetric")
    return torch.from_numpy(quantize(x, spec, QParams(scale, zero_point, None)))


def _dequantize(given: Inputs) -> Result:
    codes = given.tensor("input")
    if codes.dtype not in (torch.int8, torch.uint8):
        raise given.unsupported(f"codes of {codes.dtype}")
    dtype = "int8" if codes.dtype == torch.int8 else "uint8"
    scale, zero_point = _qparams(given, codes.dim())
    return torch.from_numpy(StoredTensor(dtype, codes.numpy(), scale, zero_point).dequantized())


def _qparams(given: Inputs, rank: int) -> tuple[Array, Array]:
    axis = given.integer("axis")
    scale = _aligned(given.tensor("scale").numpy().astype(np.float32), rank, axis)
    if not given.has("zero_point"):
        return scale, np.zeros(scale.shape, np.int32)
    zero_point = _aligned(given.tensor("zero_point").numpy().astype(np.int32), rank, axis)
    return scale, np.broadcast_to(zero_point, scale.shape)


def _aligned(array: Array, rank: int, axis: int) -> Array:
    """Gives a scalar or a vector along ``axis`` the rank of the tensor."""
    shape = [1] * rank
    if array.size > 1:
        shape[axis] = array.size
    return array.reshape(shape)


QUANTIZATION: Table = {"quantize": _quantize, "dequantize": _dequantize}
"""MIL operation -> its form in the reference."""

CONSTANT_EXPRESSIONS = ("constexpr_blockwise_shift_scale", "constexpr_affine_dequantize")
"""Operations that are evaluated when the program is loaded."""
