"""Operands and results of integer layers (INT-9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference.errors import InputError
from quant_reference.integer.codes import Array, Int64, code_format, scales


@dataclass(frozen=True, eq=False)
class IntegerTensor:
    """Codes with their scale and zero point (INT-9).

    Attributes:
        codes: In the storage of their format (INT-1).
        scale: float32, one value; of a weight also one for each output channel.
        zero_point: One value; of a weight also one for each output channel, int32.
        dtype: Format of the codes.
    """

    codes: Array
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]
    dtype: str = "int8"

    def __post_init__(self) -> None:
        """Refuse codes and zero points outside the format."""
        fmt = code_format(self.dtype)
        codes, points = np.asarray(self.codes), np.asarray(self.zero_point)
        object.__setattr__(self, "scale", scales(self.scale, "scale", "INT-9"))
        object.__setattr__(self, "zero_point", points)
        if codes.dtype != fmt.dtype or points.dtype != np.int32 or points.ndim > 1:
            raise InputError(
                "codes and zero point",
                given=f"{codes.dtype} and {points.dtype} of rank {points.ndim}",
                allowed=f"{fmt.dtype} and int32 of rank 0 or 1 for {fmt.name}",
                clause="INT-9",
            )
        for name, values in (("codes", codes), ("zero point", points)):
            if values.size and not fmt.quant_min <= values.min() <= values.max() <= fmt.quant_max:
                raise InputError(
                    f"{name} of {fmt.name}",
                    given=f"{values.min()} to {values.max()}",
                    allowed=f"{fmt.quant_min} to {fmt.quant_max}",
                    clause="INT-9",
                )

    @property
    def differences(self) -> Int64:
        """Codes less the zero point, which has to be one."""
        return np.asarray(self.codes, np.int64) - np.int64(self.zero_point.reshape(()))


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """One layer on integers, and what its result is requantized to (INT-9 to INT-12).

    Attributes:
        op: Name of the operation, as torch names it.
        operands: In the order of torch's function; a weight comes second.
        output_scale: float32, one value.
        output_zero_point: Zero point of the result.
        output_dtype: Format of the result.
        quant_min: Least code of the result, the format's if None.
        quant_max: Greatest code of the result, the format's if None.
        bias: int32 or int64 in units of the product of the operands' scales, or None.
        attributes: stride, padding, dilation, groups, output_padding, kernel_size,
            count_include_pad, dim, as torch names them.
    """

    op: str
    operands: tuple[IntegerTensor, ...]
    output_scale: NDArray[np.float32]
    output_zero_point: int = 0
    output_dtype: str = "int8"
    quant_min: int | None = None
    quant_max: int | None = None
    bias: Array | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
