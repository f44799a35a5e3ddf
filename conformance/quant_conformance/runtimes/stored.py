"""Quantized weights as they are in a saved model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference import QParams, QuantizationSpec, dequantize, get_format

Array = NDArray[Any]


@dataclass(frozen=True)
class StoredTensor:
    """A quantized tensor as it is in a file.

    Attributes:
        dtype: the format of the codes, by its name in the reference.
        codes: as the reference holds them, in the tensor's shape.
        scale: as stored (float32, float16, bfloat16 or ml_dtypes' e8m0), in the tensor's rank.
        zero_point: in the codes' dtype and the scale's shape, zeros where none is stored; None
            for float formats and under the formulation "minval".
        minval: in the scale's shape, or None.
    """

    dtype: str
    codes: Array
    scale: Array
    zero_point: Array | None
    minval: Array | None = None

    def dequantized(self) -> Array:
        """The values (clauses DQ-1 to DQ-3), before any rounding to the program's dtype.

        Returns:
            float32 in the shape of the codes.
        """
        if not get_format(self.dtype).is_integer:
            e8m0 = self.scale.dtype.name == "float8_e8m0fnu"
            spec = QuantizationSpec(
                dtype=self.dtype, scale_dtype="float8_e8m0fnu" if e8m0 else None
            )
            return dequantize(self.codes, spec, QParams(_single(self.scale), None, None))
        spec = QuantizationSpec(
            dtype=self.dtype,
            qscheme="asymmetric",
            qformulation="zp" if self.minval is None else "minval",
        )
        zero_point = None if self.zero_point is None else self.zero_point.astype(np.int32)
        minval = None if self.minval is None else _single(self.minval)
        return dequantize(self.codes, spec, QParams(_single(self.scale), zero_point, minval))


def _single(array: Array) -> Array:
    return array.astype(np.float32)
