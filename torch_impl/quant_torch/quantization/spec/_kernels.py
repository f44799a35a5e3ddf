"""quantize, dequantize and fake_quantize on torch tensors (SPEC.md, Q, DQ, FQ and GRAD clauses).

All arithmetic is float32, one rounding per operation: a true division, then round half to even,
clamp, multiply. Codes are held relative to the code of zero, ``q - zero_point`` (or
``q - quant_min`` under minval): every operand is a small integer, so the difference is exact, and
clamping to ``[quant_min - zero, quant_max - zero]`` is the same as adding, clamping, subtracting.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from quant_torch.quantization.spec import _float_codes
from quant_torch.quantization.spec._memory import holds_zero_byte
from quant_torch.quantization.spec._qparams import QuantRange

Bound = float | torch.Tensor

_ZERO = torch.zeros((), dtype=torch.float32, device="cpu")

_PART = 1 << 18
"""Elements of a part: what is computed from one fits in a few megabytes of cache, and is large
enough for several threads to be worth waking."""


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

    def rows(self, rows: slice) -> CodeMap:
        """The map of some rows of the view."""
        if not self.view or self.scale.shape[0] == 1:
            return self
        shift, zero = self.shift, self.zero
        return self._replace(
            scale=self.scale[rows],
            shift=None if shift is None else shift[rows],
            zero=zero[rows] if isinstance(zero, torch.Tensor) else zero,
        )

    @property
    def lower(self) -> Bound:
        """Least relative code."""
        return self.codes.quant_min - self.zero

    @property
    def upper(self) -> Bound:
        """Greatest relative code."""
        return self.codes.quant_max - self.zero


def fake_quantize(x: torch.Tensor, to: CodeMap, out: torch.Tensor | None = None) -> torch.Tensor:
    """Quantize and dequantize, in x's dtype (FQ-1 to FQ-4).

    Args:
        x: The values.
        to: Of x's shape.
        out: Where to write the result, which may be x itself; None for a new tensor.
    """
    result = torch.empty_like(x) if out is None else out
    for source, target, part in _parts(to, x, result):
        real = _real_codes(source, part, target)
        _write_values(real.clamp_(part.lower, part.upper), part, target)
    return result


def fake_quantize_with_inside(
    x: torch.Tensor, to: CodeMap, out: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As :func:`fake_quantize`, and where the unclamped code was inside the range (GRAD-1).

    Returns:
        The values, and a bool tensor that is True where the gradient passes (NaN is outside), or
        None if it passes everywhere.
    """
    result = torch.empty_like(x) if out is None else out
    inside = torch.empty_like(x, dtype=torch.bool)
    for source, target, inside_part, part in _parts(to, x, result, inside):
        real = _real_codes(source, part, target)
        clamped = torch.clamp(real, part.lower, part.upper, out=_scratch_like(real))
        # Equal exactly where nothing was clamped; a NaN equals nothing (GRAD-4). As 1 and 0 in
        # the floats: written to bools at once, the comparison is not vectorised.
        inside_part.copy_(real.eq_(clamped))
        _write_values(clamped, part, target)
    return result, inside if holds_zero_byte(inside) else None


def gradient(grad: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """The gradient where ``inside`` is True, else +0 (GRAD-1, GRAD-2).

    Selects as ``torch.where`` does, bit for bit, in a third of its time: that one is not vectorised
    for a bool beside floats.
    """
    result = torch.empty_like(grad)
    whole = (result, grad, inside)
    if grad.numel() <= 2 * _PART or not (grad.is_contiguous() and inside.is_contiguous()):
        _select(*whole)
        return result
    for part in zip(*(t.view(-1).split(_PART) for t in whole), strict=True):
        _select(*part)
    return result


def _select(target: torch.Tensor, grad: torch.Tensor, inside: torch.Tensor) -> None:
    target.copy_(inside.view(torch.int8))  # 0 outside; bools are converted eight times slower
    # Up to 0.5 gives +0.
    torch.ops.aten.threshold_backward.grad_input(grad, target, 0.5, grad_input=target)


def quantize(x: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Codes: int8 or uint8, bit codes in uint8 for float formats (Q-3 to Q-7)."""
    fmt = to.codes.fmt
    result = torch.empty_like(x, dtype=torch.int8 if fmt.kind == "int" else torch.uint8)
    for source, target, part in _parts(to, x, result):
        clamped = _real_codes(source, part).clamp_(part.lower, part.upper)
        if fmt.is_integer:
            # NaN has no code: the code of zero is taken. Only then comes the cast.
            target.copy_(clamped.nan_to_num_(nan=0.0).add_(part.zero))
        else:
            target.copy_(_float_codes.encode(clamped, fmt))
    return result


def dequantize(codes: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """float32 values of codes as :func:`quantize` gives them (DQ-1 to DQ-3)."""
    fmt = to.codes.fmt
    result = torch.empty_like(codes, dtype=torch.float32)
    for source, target, part in _parts(to, codes, result):
        if fmt.is_integer:
            _scale(torch.sub(source.float(), part.zero, out=target), part)
        else:
            _scale(target.copy_(_float_codes.decode(source, fmt)), part)
    return result


def _parts(to: CodeMap, *tensors: torch.Tensor) -> Iterator[tuple[Any, ...]]:
    """Views of the tensors in blocks, with the code map that goes with them.

    Large tensors come in parts along the first axis: the temporaries of a part stay in the cache,
    and only results are as large as the tensor.
    """
    whole = [t if t.shape == to.view else t.reshape(to.view) for t in tensors]
    count = to.view[0] if to.view else 1
    if whole[0].numel() <= 2 * _PART or count == 1:
        yield (*whole, to)
        return
    step = max(1, _PART * count // whole[0].numel())
    for start in range(0, count, step):
        rows = slice(start, start + step)
        yield (*(t[rows] for t in whole), to.rows(rows))


class _Scratch(threading.local):
    """Memory for one temporary of a thread."""

    memory: torch.Tensor | None = None


_SCRATCH = _Scratch()


def _scratch_like(x: torch.Tensor) -> torch.Tensor | None:
    """Memory for a temporary in the shape and strides of x, until the next call; None for new.

    New memory costs more than the arithmetic on it: the system hands it out page by page, on the
    first write to each.

    Args:
        x: float32, no two elements in one place.
    """
    if x.is_contiguous():
        extent = x.numel()
    else:
        extent = 1 + sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
    if not 0 < extent <= 2 * _PART or x.device.type != "cpu" or type(x) is not torch.Tensor:
        return None
    if _SCRATCH.memory is None:
        with torch.inference_mode(False):
            _SCRATCH.memory = torch.empty(2 * _PART, dtype=torch.float32, device="cpu")
    return _SCRATCH.memory.as_strided(x.shape, x.stride())


def _real_codes(x: torch.Tensor, to: CodeMap, target: torch.Tensor | None = None) -> torch.Tensor:
    """Relative codes before clamping, in float32: x/scale, rounded for integers (Q-1).

    They are in the memory of the target if that is float32: new memory costs as much as arithmetic.
    """
    out = target if target is not None and target.dtype == torch.float32 else None
    x = x.float()
    if to.shift is None:
        real = torch.div(x, to.scale, out=out)
    else:
        real = torch.sub(x, to.shift, out=out).div_(to.scale)
    return real.round_() if to.codes.fmt.is_integer else real


def _write_values(clamped: torch.Tensor, to: CodeMap, target: torch.Tensor) -> None:
    """Write the values of clamped relative codes, which are overwritten, to a tensor."""
    if to.codes.fmt.is_integer:
        # A code is an integer and has no sign of zero; rounding leaves -0 for small negatives
        # (FQ-4). Adding a tensor is faster than adding a Python number.
        clamped.add_(_ZERO)
    else:
        clamped = _float_codes.round_to_format(clamped, to.codes.fmt)
    if to.shift is None and target.dtype == torch.float32:
        torch.mul(clamped, to.scale, out=target)
    else:
        target.copy_(_scale(clamped, to))


def _scale(relative: torch.Tensor, to: CodeMap) -> torch.Tensor:
    relative.mul_(to.scale)
    if to.shift is not None:
        relative.add_(to.shift)  # after the product is rounded: no FMA (DQ-2)
    return relative
