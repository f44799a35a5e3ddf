"""Scale, zero point and minval of a tensor, and what its codes are."""

from __future__ import annotations

from typing import NamedTuple

import torch

from quant_reference.formats import Format
from quant_torch.quantization.spec.qscheme import QuantizationScheme


class QParams(NamedTuple):
    """Quantization parameters, one entry per block, in the rank of the tensor.

    Attributes:
        scale: float32.
        zero_point: int32, or None for float formats.
        minval: float32, or None for float formats.
    """

    scale: torch.Tensor
    zero_point: torch.Tensor | None = None
    minval: torch.Tensor | None = None


class QuantRange(NamedTuple):
    """What the codes of a spec are: everything the formulas need besides the qparams.

    Attributes:
        fmt: The element format.
        qscheme: The scheme.
        quant_min: Least code (integers) or value (floats).
        quant_max: Greatest code or value.
        scale_dtype: None or ``torch.float8_e8m0fnu``.
    """

    fmt: Format
    qscheme: QuantizationScheme
    quant_min: float
    quant_max: float
    scale_dtype: torch.dtype | None = None

    @property
    def zero_code(self) -> int:
        """Code of zero in a symmetric scheme (QP-4)."""
        return 0 if self.fmt.kind == "int" else 2 ** (self.fmt.bits - 1)
