"""Batch norm with running statistics, unfolded (ADM-8)."""

from __future__ import annotations

import numpy as np

from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic
from quant_reference.admissible.bounds import (
    Bounds,
    Float64,
    Operand,
    bounds_of,
    result,
    rounding,
)
from quant_reference.admissible.elementwise import KINDS
from quant_reference.errors import InputError


def batch_norm(
    x: Operand,
    running_mean: Operand | None,
    running_var: Operand | None,
    weight: Operand | None = None,
    bias: Operand | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """Batch norm of (N, C, …) with running statistics, unfolded (ADM-8).

    ``(x − μ)·k + β`` or ``x·k + (β − μ·k)`` with k = γ/√(σ² + ε). k is off by 13u: two for σ² + ε,
    halved by the root, 6u for the root, 5u for the division, or 4u and u by rsqrt; the product, the
    shift and the sum add three.

    Raises:
        InputError: Missing statistics, batch statistics, or operands of it that are not exact.
    """
    x = bounds_of(x, arithmetic)
    if training or running_mean is None or running_var is None:
        raise InputError(
            "batch_norm", given="batch statistics", allowed="running statistics", clause="ADM-8"
        )
    channels = (1, -1, *(1,) * (x.value.ndim - 2))
    mean, variance, gain, moved = (
        _exact(o, arithmetic).reshape(channels)
        for o in (
            running_mean,
            running_var,
            np.ones(1) if weight is None else weight,
            np.zeros(1) if bias is None else bias,
        )
    )
    with np.errstate(all="ignore"):
        factor = gain / np.sqrt(variance + eps)
        value = (x.value - mean) * factor + moved
        spread = tuple(getattr(x, k) * np.abs(factor) for k in KINDS)
        errors = [
            rounding(
                (np.abs(x.value) + getattr(x, k) + np.abs(mean)) * np.abs(factor), arithmetic, 16
            )
            + rounding(np.abs(moved), arithmetic, 3)
            for k in KINDS
        ]
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)


def _exact(operand: Operand, arithmetic: Arithmetic) -> Float64:
    found = bounds_of(operand, arithmetic)
    if not found.is_exact:
        raise InputError(
            "batch_norm: statistics", given="bounds", allowed="exact arrays", clause="ADM-8"
        )
    return found.value
