"""Sums of products: linear, matmul, einsum, and plain sums (ADM-2 to ADM-4)."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from quant_reference.admissible.arithmetic import (
    EXTRA,
    FLOAT32,
    FLOAT64_UNIT,
    Arithmetic,
    gamma,
    gamma_probable,
)
from quant_reference.admissible.bounds import (
    Bounds,
    Float64,
    Operand,
    Pair,
    bounds_of,
    result,
    rounding,
)
from quant_reference.errors import InputError

Contraction = Callable[[Float64, Float64], Float64]


def linear(
    x: Operand, weight: Operand, bias: Operand | None = None, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """``x @ weight.T + bias`` (ADM-2, ADM-3).

    Args:
        x: Shape (..., in).
        weight: Shape (out, in).
        bias: Shape (out,), or None.
        arithmetic: dtypes of values and sums.
    """
    x, weight = bounds_of(x, arithmetic), bounds_of(weight, arithmetic)
    if weight.value.ndim not in (1, 2) or x.shape[-1:] != weight.shape[-1:]:
        raise InputError(
            "linear: shapes",
            given=f"{x.shape} and {weight.shape}",
            allowed="(..., in) and (out, in)",
            clause="ADM-2",
        )
    added = None if bias is None else bounds_of(bias, arithmetic)
    return contraction(
        lambda a, b: np.asarray(a @ b.T), x, weight, added, weight.shape[-1], arithmetic
    )


def matmul(a: Operand, b: Operand, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``a @ b``, batched and broadcast as in numpy (ADM-2, ADM-3)."""
    a, b = bounds_of(a, arithmetic), bounds_of(b, arithmetic)
    inner = b.shape[-2:][:1]
    if not a.shape or not inner or a.shape[-1] != inner[0]:
        raise InputError(
            "matmul: shapes",
            given=f"{a.shape} and {b.shape}",
            allowed="(..., m, n) and (..., n, k)",
            clause="ADM-2",
        )
    return contraction(lambda x, y: np.asarray(x @ y), a, b, None, a.shape[-1], arithmetic)


def einsum(a: Operand, b: Operand, *, equation: str, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """``einsum(equation, a, b)`` of two operands (ADM-2, ADM-3).

    Args:
        a: First operand.
        b: Second operand.
        equation: As numpy and torch write it, an ellipsis allowed.
        arithmetic: dtypes of values and sums.
    """
    a, b = bounds_of(a, arithmetic), bounds_of(b, arithmetic)
    text = equation.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != 2:
        raise InputError("einsum", given=equation, allowed="two operands", clause="ADM-2")
    letters = inputs.replace("...", "").replace(",", "")
    if not arrow:
        output = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    extents: dict[str, int] = {}
    for term, shape in zip(terms, (a.shape, b.shape), strict=True):
        head, _, tail = term.partition("...")
        if len(head + tail) > len(shape):
            raise InputError(
                "einsum: rank",
                given=f"{equation}, {shape}",
                allowed="one letter an axis",
                clause="ADM-2",
            )
        extents.update(zip(head, shape, strict=False))
        extents.update(zip(tail[::-1], shape[::-1], strict=False))
    depth = prod(extents[letter] for letter in set(letters) - set(output))
    return contraction(
        lambda x, y: np.asarray(np.einsum(text, x, y, optimize=True), np.float64),
        a, b, None, depth, arithmetic,
    )  # fmt: skip


def contraction(
    contract: Contraction,
    a: Bounds,
    b: Bounds,
    bias: Bounds | None,
    depth: int,
    arithmetic: Arithmetic,
) -> Bounds:
    """Bounds of a bilinear sum of ``depth`` products for each element (ADM-2).

    With A = Σ(|a| + r_a)(|b| + r_b) + |bias| + r_bias, any order of summation, with or without
    fused multiply-adds, the bias first or last, is off by at most γ_{depth+5}·A. depth + 1
    roundings do for plain sums (one for the product, depth − 1 for additions, one for the bias);
    the others let pass a sum of exact integer codes that is scaled afterwards: two for the
    dequantized operands that it does not round, one for the conversion of the integer sum, one
    for scale·scale and one for the product with it.

    Args:
        contract: The bilinear sum in float64; called with magnitudes too.
        a: First operand.
        b: Second operand.
        bias: Added to the sum, broadcast, or None.
        depth: Greatest number of products in one sum.
        arithmetic: dtypes of values and sums.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        value = contract(a.value, b.value)
        size_a, size_b = np.abs(a.value), np.abs(b.value)
        plain = contract(size_a, size_b)
        spreads: list[Float64] = []
        sizes: list[Float64] = []
        for kind in ("rigorous", "probable"):
            radius_a, radius_b = getattr(a, kind), getattr(b, kind)
            spread = np.zeros_like(plain)
            if radius_a.any():
                spread = spread + contract(radius_a, size_b + radius_b)
            if radius_b.any():
                spread = spread + contract(size_a, radius_b)
            size = plain + spread
            if bias is not None:
                radius = getattr(bias, kind)
                spread, size = spread + radius, size + np.abs(bias.value) + radius
            spreads.append(spread)
            sizes.append(size)
        if bias is not None:
            value = value + bias.value
    return accumulated(value, (spreads[0], spreads[1]), (sizes[0], sizes[1]), depth, arithmetic)


def accumulated(
    value: Float64,
    spread: Pair,
    size: Pair,
    depth: int,
    arithmetic: Arithmetic,
    divisor: Float64 | float = 1.0,
) -> Bounds:
    """Bounds of a sum of ``depth`` terms whose magnitudes add up to ``size`` (ADM-2 to ADM-4).

    float64's own sum is off by γ_{depth+5} of float64 in the same way, which is added. Each product
    may underflow (the tiny term); additions never lose anything there. Of a mean, the sum before
    it is divided by ``divisor`` must not overflow (ADM-6).
    """
    roundings = depth + EXTRA
    unit = arithmetic.sum.unit
    factors = (gamma(roundings, unit), gamma_probable(roundings, unit, value.size))
    own = gamma(roundings, FLOAT64_UNIT)
    moved: list[Float64] = []
    errors: list[Float64] = []
    with np.errstate(invalid="ignore", over="ignore"):
        for factor, total, of_operands in zip(factors, size, spread, strict=True):
            # Where nothing but zeros is summed, nothing is rounded.
            scaled = np.where(total == 0, 0.0, factor * total) + own * total
            lost = roundings * arithmetic.sum.tiny * (1 + factor)
            error = scaled + np.where(total == 0, 0.0, lost)
            if arithmetic.mixed:
                error = error + rounding(np.abs(value) + of_operands + error, arithmetic)
            errors.append(error)
            # A partial sum beyond the range of the accumulator is an infinity in some order, and
            # with an infinite operand perhaps a NaN: not even an infinite value is sure then.
            reach = total * (1 + factor) * divisor
            moved.append(np.where(reach <= arithmetic.sum.greatest, of_operands, np.inf))
    return result(value, (moved[0], moved[1]), (errors[0], errors[1]), arithmetic)


Axes = int | tuple[int, ...] | list[int] | None


def sum(
    x: Operand, dim: Axes = None, keepdim: bool = False, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """Sum over axes (ADM-2, ADM-3): n terms of which each is rounded n − 1 times at most."""
    return _reduce(bounds_of(x, arithmetic), dim, keepdim, False, arithmetic)


def mean(
    x: Operand, dim: Axes = None, keepdim: bool = False, *, arithmetic: Arithmetic = FLOAT32
) -> Bounds:
    """Mean over axes (ADM-2, ADM-3): a sum, then a division or a product with 1/n.

    A division of 2.5 ulp is five roundings, a product with a rounded reciprocal six, and the sum
    has n − 1: n + 5 together.
    """
    return _reduce(bounds_of(x, arithmetic), dim, keepdim, True, arithmetic)


def cumsum(x: Operand, dim: int, *, arithmetic: Arithmetic = FLOAT32) -> Bounds:
    """Sums of the first elements along an axis, in any order: n terms, as for a sum (ADM-2)."""
    x = bounds_of(x, arithmetic)

    def total(array: Float64) -> Float64:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.cumsum(array, axis=dim), np.float64)

    sizes = tuple(total(np.abs(x.value) + radius) for radius in (x.rigorous, x.probable))
    spread = (total(x.rigorous), total(x.probable))
    depth = x.shape[dim]
    return accumulated(total(x.value), spread, (sizes[0], sizes[1]), depth, arithmetic)


def _reduce(x: Bounds, dim: Axes, keepdim: bool, average: bool, arithmetic: Arithmetic) -> Bounds:
    axes = reduced_axes(x.shape, dim)
    count = prod(x.shape[axis] for axis in axes)
    divisor = float(count) if average else 1.0

    def total(array: Float64) -> Float64:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(array.sum(axis=axes, keepdims=keepdim) / divisor, np.float64)

    sizes = tuple(total(np.abs(x.value) + getattr(x, k)) for k in ("rigorous", "probable"))
    spread = (total(x.rigorous), total(x.probable))
    return accumulated(total(x.value), spread, (sizes[0], sizes[1]), count, arithmetic, divisor)


def reduced_axes(shape: tuple[int, ...], dim: Axes) -> tuple[int, ...]:
    """Axes as non-negative ints; None is all of them."""
    rank = len(shape)
    axes = range(rank) if dim is None else ((dim,) if isinstance(dim, int) else tuple(dim))
    for axis in axes:
        if not -rank <= axis < rank:
            raise InputError(
                f"axis of a tensor of rank {rank}",
                given=axis,
                allowed=f"{-rank} to {rank - 1}",
                clause="ADM-2",
            )
    return tuple(sorted({axis % rank for axis in axes}))
