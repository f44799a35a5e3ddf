"""What tensors and qparams the formulas accept (SPEC.md, Q-1, Q-8, DQ-4, RANGE-3)."""

from __future__ import annotations

import functools

import torch

from quant_reference.errors import InputError
from quant_reference.formats import Format
from quant_torch.quantization.spec._qparams import QuantRange

FLOAT_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def check_values(x: torch.Tensor, name: str, clause: str) -> None:
    """Refuse a tensor of another dtype than float16, bfloat16 or float32.

    Raises:
        InputError: Naming the tensor and the clause.
    """
    if x.dtype not in FLOAT_DTYPES:
        raise InputError(
            f"dtype of {name} is not supported",
            given=x.dtype,
            allowed="float16, bfloat16 or float32",
            clause=clause,
        )


def check_elements(x: torch.Tensor) -> None:
    """Refuse a tensor without elements, which has no range, fixed or not (RANGE-5).

    Raises:
        InputError: Naming the shape.
    """
    if x.numel() == 0:
        raise InputError(
            "a tensor without elements has no range",
            given=f"shape {tuple(x.shape)}",
            allowed="at least one element",
            clause="RANGE-5",
        )


def check_codes(codes: torch.Tensor, fmt: Format) -> None:
    """Refuse codes of another dtype than the format's, or wider than the format (DQ-4)."""
    expected = torch.int8 if fmt.kind == "int" else torch.uint8
    if codes.dtype != expected:
        raise InputError(
            f"dtype of {fmt.name} codes", given=codes.dtype, allowed=str(expected), clause="DQ-4"
        )
    if fmt.bits < 8 and codes.numel():
        least, greatest = (
            (int(fmt.quant_min), int(fmt.quant_max)) if fmt.is_integer else (0, 2**fmt.bits - 1)
        )
        low, high = (int(bound) for bound in codes.aminmax())
        if low < least or high > greatest:
            raise InputError(
                f"code outside the width of {fmt.name}",
                given=low if low < least else high,
                allowed=f"{least} to {greatest}",
                clause="DQ-4",
            )


def check_bounds(bounds: tuple[float | None, float | None], dtype: torch.dtype) -> None:
    """Refuse a single fixed bound that a tensor's dtype rounds to an infinity (RANGE-2)."""
    for bound in bounds:
        if bound is not None and not _holds(bound, dtype):
            raise InputError(
                f"float_range bound for a tensor of {dtype}",
                given=bound,
                allowed="one that the tensor's dtype can hold, or both bounds",
                clause="RANGE-2",
            )


@functools.lru_cache(maxsize=128)
def _holds(bound: float, dtype: torch.dtype) -> bool:
    return bool(torch.tensor(bound, dtype=torch.float32, device="cpu").to(dtype).isfinite())


def check_scale(scale: torch.Tensor, codes: QuantRange) -> None:
    """Refuse a scale that is not float32 or not positive, or no power of two for e8m0 (Q-8)."""
    if scale.dtype != torch.float32:
        raise InputError("dtype of scale", given=scale.dtype, allowed="float32", clause="Q-8")
    if bool((scale <= 0).any()):
        raise InputError(
            "scale", given=float(scale.min()), allowed="positive, +infinity or NaN", clause="Q-8"
        )
    if codes.scale_dtype is not None:
        mantissa, exponent = torch.frexp(scale)
        legal = scale.isnan() | ((mantissa == 0.5) & (exponent >= -126) & (exponent <= 128))
        if not bool(legal.all()):
            raise InputError(
                "e8m0 scale",
                given=float(scale[~legal][0]),
                allowed="a power of two from 2**-127 to 2**127, or NaN",
                clause="Q-8",
            )


def check_zero_point(zero_point: torch.Tensor, codes: QuantRange) -> None:
    """Refuse a zero point that is not int32 or not a code of the scheme (Q-8)."""
    if zero_point.dtype != torch.int32:
        raise InputError(
            "dtype of zero_point", given=zero_point.dtype, allowed="int32", clause="Q-8"
        )
    if zero_point.numel() == 0:  # of a tensor with an empty axis
        return
    low, high = (int(bound) for bound in zero_point.aminmax())
    if low < codes.quant_min or high > codes.quant_max:
        raise InputError(
            f"zero_point for {codes.fmt.name}, {codes.qscheme}",
            given=low if low < codes.quant_min else high,
            allowed=f"{codes.quant_min} to {codes.quant_max}",
            clause="Q-8",
        )
