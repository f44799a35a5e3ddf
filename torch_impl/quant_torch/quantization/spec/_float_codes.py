"""Rounding to the float formats, from float32 values that are clamped already (ENC-1 to ENC-4)."""

from __future__ import annotations

import torch

from quant_reference.formats import Format
from quant_torch.quantization.spec._dtypes import TORCH_DTYPES


def round_to_format(clamped: torch.Tensor, fmt: Format) -> torch.Tensor:
    """Round to the nearest value of a float format, ties to the even code.

    Args:
        clamped: float32 values inside ±max, or NaN.
        fmt: FP8 or FP4.

    Returns:
        float32 values of the format. The sign of zero and NaN survive.
    """
    if fmt.bits == 8:
        return clamped.to(TORCH_DTYPES[fmt.name]).float()
    return _round_e2m1(clamped)


def fp4_forward(tensor: torch.Tensor) -> torch.Tensor:
    """Round float32 values to float4_e2m1fn: saturating at 6, ties to the even code, NaN kept.

    Args:
        tensor: Values that are divided by their scale already.
    """
    return _round_e2m1(tensor.float().clamp(-6.0, 6.0))


def encode(clamped: torch.Tensor, fmt: Format) -> torch.Tensor:
    """Bit codes in uint8 of float32 values inside ±max, or NaN (ENC-1 to ENC-4).

    NaN is the canonical NaN code with its sign, or +0 in a format without NaN.
    """
    nan = clamped.isnan()
    if fmt.bits == 8:
        codes = clamped.to(TORCH_DTYPES[fmt.name]).view(torch.uint8)
        sign = clamped.signbit().to(torch.uint8) << (fmt.bits - 1)
        return torch.where(nan, sign | fmt.nan_code, codes)
    values = _round_e2m1(clamped)
    size = values.abs()
    # Codes 0 to 4 are steps of 0.5, then 3, 4 and 6 follow as 5, 6 and 7.
    code = torch.where(size <= 2, size * 2, torch.where(size <= 4, size + 2, size / 2 + 4))
    code = torch.where(nan, 0.0, code + 8 * values.signbit())
    return code.to(torch.uint8)


def decode(codes: torch.Tensor, fmt: Format) -> torch.Tensor:
    """Exact float32 values of bit codes held in uint8 (DEC-1)."""
    if fmt.bits == 8:
        return codes.view(TORCH_DTYPES[fmt.name]).float()
    magnitude = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], device=codes.device)
    values = torch.cat([magnitude, -magnitude])
    return values[codes.long()]


def _round_e2m1(clamped: torch.Tensor) -> torch.Tensor:
    # The values are 0.5 apart below 2, 1 apart below 4, and 2 apart from there on. Both operations
    # on the step are exact, so this rounds once; an even multiple of the step is an even code.
    size = clamped.abs()
    wide = torch.where(size < 4, 1.0, 2.0).to(size.dtype)  # of two numbers: torch's default dtype
    step = torch.where(size < 2, 0.5, wide)
    return (clamped / step).round() * step
