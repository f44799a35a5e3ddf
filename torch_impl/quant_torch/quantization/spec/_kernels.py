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
        view: Shape of the view in which every block is a rectangle.
        scale: float32, shaped to broadcast against the view.
        shift: minval to subtract before the division, or None.
        zero: Code of zero as a number, or a float32 tensor shaped like scale.
    """

    codes: QuantRange
    view: tuple[int, ...]
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


def fake_quantize(x: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Quantize and dequantize, in x's dtype (FQ-1 to FQ-4)."""
    result, real = _real_codes(x, to)
    _write_values(real.clamp_(to.lower, to.upper), to)
    return result.to(x.dtype)


def fake_quantize_with_outside(x: torch.Tensor, to: CodeMap) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`fake_quantize`, and where the unclamped code was outside the range (GRAD-1).

    Returns:
        The values, and a bool tensor that is True where no gradient passes; NaN is outside.
    """
    unclamped, real = _real_codes(x, to)
    result = torch.empty_like(unclamped)
    clamped = torch.clamp(real, to.lower, to.upper, out=result.view(to.view))
    # The difference is zero exactly where nothing was clamped; a NaN is not zero (GRAD-4).
    real.sub_(clamped)
    _write_values(clamped, to)
    return result.to(x.dtype), unclamped.to(torch.bool)


def quantize(x: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Codes: int8 or uint8, bit codes in uint8 for float formats (Q-3 to Q-7)."""
    fmt = to.codes.fmt
    result, real = _real_codes(x, to)
    real.clamp_(to.lower, to.upper)
    if not fmt.is_integer:
        return _float_codes.encode(result, fmt)
    # NaN has no code: the code of zero stands in. Only then is there an integer cast.
    real.nan_to_num_(nan=0.0).add_(to.zero)
    return result.to(torch.int8 if fmt.kind == "int" else torch.uint8)


def dequantize(codes: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """float32 values of codes as :func:`quantize` gives them (DQ-1 to DQ-3)."""
    fmt = to.codes.fmt
    result = codes.float() if fmt.is_integer else _float_codes.decode(codes, fmt)
    values = result.view(to.view)
    if fmt.is_integer:
        values.sub_(to.zero)
    _scale(values, to)
    return result


def _real_codes(x: torch.Tensor, to: CodeMap) -> tuple[torch.Tensor, torch.Tensor]:
    """Relative codes before clamping (Q-1, Q-2): rounded for integers, x/scale for floats.

    Returns:
        A new float32 tensor in x's shape, and its view in blocks. The tensor itself is what
        autograd hands out: a view could not be written in place by the model.
    """
    result = torch.empty_like(x, dtype=torch.float32)
    real, source = result.view(to.view), x.reshape(to.view)
    if to.shift is None:
        torch.div(source, to.scale, out=real)
    else:
        torch.sub(source, to.shift, out=real).div_(to.scale)
    if to.codes.fmt.is_integer:
        real.round_()
    return result, real


def _write_values(clamped: torch.Tensor, to: CodeMap) -> None:
    """Replace clamped relative codes by their values."""
    if to.codes.fmt.is_integer:
        # A code is an integer and has no sign of zero; rounding leaves -0 for small negatives
        # (FQ-4).
        clamped.add_(0.0)
    else:
        clamped.copy_(_float_codes.round_to_format(clamped, to.codes.fmt))
    _scale(clamped, to)


def _scale(relative: torch.Tensor, to: CodeMap) -> None:
    relative.mul_(to.scale)
    if to.shift is not None:
        relative.add_(to.shift)  # after the product is rounded: no FMA (DQ-2)
