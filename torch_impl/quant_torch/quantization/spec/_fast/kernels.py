"""The formulas in the memory that costs least: parts that stay in the cache, and scratch memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import torch

from quant_torch.quantization.spec import formulas
from quant_torch.quantization.spec._code_map import CodeMap
from quant_torch.quantization.spec._fast.memory import holds_zero_byte
from quant_torch.quantization.spec._fast.switch import SWITCH

_PART = 1 << 18
"""Elements of a part: what is computed from one fits in a few megabytes of cache, and is large
enough for several threads to be worth waking."""


def fake_quantize(x: torch.Tensor, to: CodeMap, out: torch.Tensor | None = None) -> torch.Tensor:
    """Quantize and dequantize, in x's dtype (FQ-1 to FQ-4).

    Args:
        x: The values.
        to: Of x's shape.
        out: Where to write the result, which may be x itself; None for a new tensor.
    """
    if not SWITCH.on:
        values = formulas.fake_quantize(x, to)
        return values if out is None else out.copy_(values)
    result = torch.empty_like(x) if out is None else out
    for source, target, part in _parts(to, x, result):
        # In the target's memory if it is float32: new memory costs as much as the arithmetic.
        memory = target if target.dtype == torch.float32 else None
        real = formulas.relative_codes(source, part, memory)
        _write_values(formulas.clamp(real, part, real), part, target)
    return result


def fake_quantize_with_inside(
    x: torch.Tensor, to: CodeMap, out: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As :func:`fake_quantize`, and where the unclamped code was inside the range (GRAD-1).

    Returns:
        The values, and a bool tensor that is True where the gradient passes (NaN is outside), or
        None if it passes everywhere.
    """
    if not SWITCH.on:
        values, inside = formulas.fake_quantize_with_inside(x, to)
        return (values if out is None else out.copy_(values)), inside
    result = torch.empty_like(x) if out is None else out
    inside = torch.empty_like(x, dtype=torch.bool)
    for source, target, inside_part, part in _parts(to, x, result, inside):
        memory = target if target.dtype == torch.float32 else None
        real = formulas.relative_codes(source, part, memory)
        clamped = formulas.clamp(real, part, _scratch_like(real))
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
    if not SWITCH.on:
        return formulas.gradient(grad, inside)
    result = torch.empty_like(grad)
    whole = (result, grad, inside)
    if grad.numel() <= 2 * _PART or not (grad.is_contiguous() and inside.is_contiguous()):
        _select(*whole)
        return result
    for part in zip(*(t.view(-1).split(_PART) for t in whole), strict=True):
        _select(*part)
    return result


def quantize(x: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """Codes: int8 or uint8, bit codes in uint8 for float formats (Q-1 to Q-7)."""
    if not SWITCH.on:
        return formulas.quantize(x, to)
    result = torch.empty_like(x, dtype=torch.int8 if to.codes.fmt.kind == "int" else torch.uint8)
    for source, target, part in _parts(to, x, result):
        target.copy_(formulas.quantize(source, part))
    return result


def dequantize(codes: torch.Tensor, to: CodeMap) -> torch.Tensor:
    """float32 values of codes as :func:`quantize` gives them (DQ-1 to DQ-3)."""
    if not SWITCH.on:
        return formulas.dequantize(codes, to)
    result = torch.empty_like(codes, dtype=torch.float32)
    for source, target, part in _parts(to, codes, result):
        target.copy_(formulas.dequantize(source, part))
    return result


def _select(target: torch.Tensor, grad: torch.Tensor, inside: torch.Tensor) -> None:
    target.copy_(inside.view(torch.int8))  # 0 outside; bools are converted eight times slower
    # Up to 0.5 gives +0.
    torch.ops.aten.threshold_backward.grad_input(grad, target, 0.5, grad_input=target)


def _write_values(clamped: torch.Tensor, to: CodeMap, target: torch.Tensor) -> None:
    """Write the values of clamped relative codes, which are overwritten, to a tensor."""
    relative = formulas.represented(clamped, to)
    if target.dtype == torch.float32:
        formulas.scaled(relative, to, target)
    else:
        target.copy_(formulas.scaled(relative, to, relative))


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
        yield (*(t[rows] for t in whole), _of_rows(to, rows))


def _of_rows(to: CodeMap, rows: slice) -> CodeMap:
    """The map of some rows of the view."""
    count = len(range(*rows.indices(to.view[0])))
    to = to._replace(view=(count, *to.view[1:]))
    if to.scale.shape[0] == 1:
        return to
    scale, shift, zero, lower, upper = (
        part[rows] if isinstance(part, torch.Tensor) else part
        for part in (to.scale, to.shift, to.zero, to.lower, to.upper)
    )
    return to._replace(scale=scale, shift=shift, zero=zero, lower=lower, upper=upper)


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
