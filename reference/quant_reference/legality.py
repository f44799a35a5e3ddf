"""Qparams that an operation accepts, and what the arithmetic sees of them (SPEC.md, Q-8)."""

from __future__ import annotations

import numpy as np

from quant_reference._arrays import Array, Float32
from quant_reference.blocks import check_blocks
from quant_reference.encoding import is_e8m0
from quant_reference.errors import InputError
from quant_reference.formats import get_format
from quant_reference.qparams import QParams
from quant_reference.spec import QuantizationSpec, check_spec


def checked_params(
    shape: tuple[int, ...], spec: QuantizationSpec, qparams: QParams, clause: str
) -> tuple[Float32, Float32 | None]:
    """The scale and, for integer formats, the offset of the formulation, both as float32.

    Args:
        shape: Of the tensor.
        spec: Gives dtype, qscheme, qformulation and scale_dtype.
        qparams: Rank of the tensor, one entry per block.
        clause: The clause to name in errors.

    Raises:
        InputError: Qparams that do not tile the tensor or are not legal (Q-8).
    """
    check_params(shape, spec, qparams, clause)
    scale = np.asarray(qparams.scale, np.float32)
    if not get_format(spec.dtype).is_integer:
        return scale, None
    offset = qparams.minval if spec.qformulation == "minval" else qparams.zero_point
    return scale, np.asarray(offset, np.float32)  # exact: codes have at most 8 bits


def check_params(
    shape: tuple[int, ...], spec: QuantizationSpec, qparams: QParams, clause: str
) -> None:
    """Refuse qparams that do not tile the tensor or are not legal (Q-8)."""
    check_spec(spec)
    if not isinstance(qparams, QParams):
        raise InputError("qparams", given=qparams, allowed="a QParams", clause=clause)
    scale = _parameter("scale", qparams.scale, np.float32, clause)
    if not (np.isnan(scale) | (scale > 0)).all():
        raise InputError(
            "scale", given=scale.min(), allowed="positive, +infinity or NaN", clause=clause
        )
    if spec.scale_dtype is not None:
        legal = np.isnan(scale) | is_e8m0(scale)
        if not legal.all():
            raise InputError(
                "e8m0 scale",
                given=scale[~legal].flat[0],
                allowed="a power of two from 2**-127 to 2**127, or NaN",
                clause=clause,
            )
    check_blocks(shape, scale.shape, clause)
    if not spec.format.is_integer:
        return
    if spec.qformulation == "minval":
        offset = _parameter("minval", qparams.minval, np.float32, clause)
    else:
        offset = _parameter("zero_point", qparams.zero_point, np.int32, clause)
        if not ((offset >= spec.quant_min) & (offset <= spec.quant_max)).all():
            raise InputError(
                f"zero_point for {spec.dtype}, {spec.qscheme}",
                given=f"{offset.min()} to {offset.max()}",
                allowed=f"{spec.quant_min} to {spec.quant_max}",
                clause=clause,
            )
    if offset.shape != scale.shape:
        raise InputError(
            "shape of the offset", given=offset.shape, allowed=str(scale.shape), clause=clause
        )


def _parameter(name: str, value: object, dtype: type, clause: str) -> Array:
    array = np.asarray(value)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if value is None or array.dtype != np.dtype(dtype):
        raise InputError(
            f"{name} in qparams",
            given="None" if value is None else array.dtype,
            allowed=np.dtype(dtype).name,
            clause=clause,
        )
    return array
