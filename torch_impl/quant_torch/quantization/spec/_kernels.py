"""quantize, dequantize and fake_quantize on torch tensors (SPEC.md, Q, DQ, FQ and GRAD clauses).

All arithmetic is float32, one rounding per operation: a true division, then round half to even,
clamp, multiply. Codes are held relative to the code of zero, ``q - zero_point`` (or
``q - quant_min`` under minval): every operand is a small integer, so the difference is exact, and
clamping to ``[quant_min - zero, quant_max - zero]`` is the same as adding, clamping, subtracting.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from quant_torch.quantization.spec import _float_codes
from quant_torch.quantization.spec._qparams import QuantRange

Bound = float | torch.Tensor


class CodeMap(NamedTuple):
    """The map between values and codes of one tensor layout.

    Attributes:
        codes: Format and range of the codes.
        scale: float32, shaped to broadcast against the values.
        shift: minval to subtract before the division, or None.
        zero: Code of zero as a number, or a float32 tensor shaped like scale.
    """

    codes: QuantRange
    scale: torch.Tensor
    shift: torch.Tensor | None = None
    zero: Bound = 0.0

    @property
    def lower(self) -> Bound:
        """Least relative code."""
        return self.codes.quant_min - self.zero

    @property
    def upper(self) -> Bound:
        """Greatest relative code."""
        return self.codes.quant_max - self.zero


def real_codes(x: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Relative codes before clamping, in a new float32 tensor (Q-1, Q-2).

    Rounded for integer formats; x/scale for float formats.
    """
    x = x.float()
    real = x / to.scale if to.shift is None else (x - to.shift).div_(to.scale)
    return real.round_() if to.codes.fmt.is_integer else real


def fake_quantize(x: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Quantize and dequantize, in x's dtype (FQ-1 to FQ-4)."""
    return _values(_clamp_(real_codes(x, to), to), to).to(x.dtype)


def fake_quantize_with_outside(x: torch.Tensor, to: CodeMap) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`fake_quantize`, and where the unclamped code was outside the range (GRAD-1).

    Returns:
        The values, and a bool tensor that is True where no gradient passes; NaN is outside.
    """
    real = real_codes(x, to)
    clamped = real.clamp(to.lower, to.upper)
    # The difference is zero exactly where nothing was clamped; a NaN is not zero (GRAD-4).
    outside = real.sub_(clamped).to(torch.bool)
    return _values(clamped, to).to(x.dtype), outside


def quantize(x: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Codes: int8 or uint8, bit codes in uint8 for float formats (Q-3 to Q-7)."""
    fmt = to.codes.fmt
    clamped = _clamp_(real_codes(x, to), to)
    if not fmt.is_integer:
        return _float_codes.encode(clamped, fmt)
    # NaN has no code: the code of zero stands in. Only then is there an integer cast.
    codes = clamped.nan_to_num_(nan=0.0) + to.zero
    return codes.to(torch.int8 if fmt.kind == "int" else torch.uint8)


def dequantize(codes: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """float32 values of codes as :func:`quantize` gives them (DQ-1 to DQ-3)."""
    fmt = to.codes.fmt
    if not fmt.is_integer:
        return _float_codes.decode(codes, fmt) * to.scale
    return _scaled(codes.float() - to.zero, to)


def _clamp_(real: torch.Tensor, to: CodeMap) -> torch.Tensor:
    return real.clamp_(to.lower, to.upper)


def _values(clamped: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Values of clamped relative codes, computed in place."""
    if not to.codes.fmt.is_integer:
        return _float_codes.round_to_format(clamped, to.codes.fmt).mul_(to.scale)
    # A code is an integer and has no sign of zero; rounding left a -0 for small negatives (FQ-4).
    return _scaled(clamped.add_(0.0), to)


def _scaled(relative: torch.Tensor, to: CodeMap) -> torch.Tensor:
    values = relative.mul_(to.scale)
    return values if to.shift is None else values.add_(to.shift)  # two roundings, no FMA (DQ-2)
