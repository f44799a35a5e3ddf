"""Gradients of fake-quantization: one autograd node each (SPEC.md, GRAD-1 to GRAD-4)."""

from __future__ import annotations

from typing import Any

import torch

from quant_torch.quantization.spec import formulas
from quant_torch.quantization.spec._code_map import CodeMap
from quant_torch.quantization.spec._fast import kernels


class StraightThrough(torch.autograd.Function):
    """Fake-quantize; the gradient passes inside the range and is +0 outside.

    Saves one byte per element, where the unclamped code was inside, or nothing if all were.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, to: CodeMap, overwrite: bool) -> torch.Tensor:
        """Values in the shape and dtype of x; x itself, written in place, if it may be."""
        values, inside = kernels.fake_quantize_with_inside(x, to, x if overwrite else None)
        if inside is not None:
            ctx.save_for_backward(inside)
        if overwrite:
            ctx.mark_dirty(x)
        return values

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Gradient of x; nothing for the qparams."""
        saved = ctx.saved_tensors  # read once: checkpointing allows no more
        if not saved:
            return grad, None, None
        (inside,) = saved
        if torch.is_grad_enabled():  # this will be differentiated in its turn
            return formulas.gradient(grad, inside), None, None
        return kernels.gradient(grad, inside), None, None


class PassThrough(torch.autograd.Function):
    """Quantize and dequantize by a module's own formulas; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, module: Any, qparams: tuple[Any, ...]) -> torch.Tensor:
        """Values in the shape and dtype of x."""
        codes = module.quantize(x, *qparams)
        return module.dequantize(codes, *qparams, output_dtype=x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """The gradient as it is."""
        return grad, None, None
