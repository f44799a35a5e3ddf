"""Distances between the rows of two matrices (ADM-2, ADM-5)."""

from __future__ import annotations

import numpy as np

from quant_reference.admissible.arithmetic import FLOAT32, ULP, Arithmetic, gamma, gamma_probable
from quant_reference.admissible.bounds import Bounds, Operand, bounds_of, result
from quant_reference.admissible.elementwise import KINDS, ulps
from quant_reference.errors import InputError

ROUNDINGS = 8
"""Beyond one for each element: of the differences or of the two squares, and of what is added."""


def cdist(a: Operand, b: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Euclidean distances of the rows of (…, P, n) from those of (…, R, n): (…, P, R).

    The square is summed over differences, or is |a|² + |b|² − 2·a·b, at least 0: it is off by
    γ_{n+8}·Σ (|a| + |b|)². Then a square root, at the ends of what that leaves (ADM-5).

    Raises:
        InputError: Rows of other lengths.
    """
    a, b = bounds_of(a, arithmetic), bounds_of(b, arithmetic)
    if a.value.ndim < 2 or b.value.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise InputError(
            "cdist: shapes",
            given=f"{a.shape} and {b.shape}",
            allowed="(..., P, n) and (..., R, n)",
            clause="ADM-2",
        )
    a, b = a.map(lambda v: v[..., :, None, :]), b.map(lambda v: v[..., None, :, :])
    unit, tiny = arithmetic.sum.unit, arithmetic.sum.tiny
    roundings = a.shape[-1] + ROUNDINGS
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(a.value - b.value)
        square = (apart**2).sum(axis=-1)
        value = np.sqrt(square)
        growths = gamma(roundings, unit), gamma_probable(roundings, unit, max(value.size, 1))
        spread, errors = [], []
        for kind, growth in zip(KINDS, growths, strict=True):
            ra, rb = getattr(a, kind), getattr(b, kind)
            moved = ((2 * apart + ra + rb) * (ra + rb)).sum(axis=-1)
            size = ((np.abs(a.value) + ra + np.abs(b.value) + rb) ** 2).sum(axis=-1)
            off = moved + growth * size + np.where(size == 0, 0.0, roundings * tiny * (1 + growth))
            off = np.where(size * (1 + growth) > arithmetic.sum.greatest, np.inf, off)
            far = np.sqrt(square + off) - value
            near = value - np.sqrt(np.maximum(square - off, 0.0))
            wide = np.where(np.isinf(off), np.inf, np.maximum(far, near))
            spread.append(wide)
            errors.append(ulps(value + wide, ULP["sqrt"], arithmetic))
    return result(value, (spread[0], spread[1]), (errors[0], errors[1]), arithmetic)
