"""Softmax and scaled dot-product attention (ADM-9)."""

from __future__ import annotations

import math

import numpy as np

from quant_reference.admissible.arithmetic import (
    EXTRA,
    FLOAT32,
    Arithmetic,
    gamma,
    gamma_probable,
)
from quant_reference.admissible.bounds import Bounds, Float64, Operand, bounds_of, result
from quant_reference.admissible.contractions import contraction
from quant_reference.admissible.elementwise import KINDS, add
from quant_reference.errors import InputError

ONLINE_BLOCK = 16
"""Least number of keys between two rescalings of an online softmax (ADM-9)."""

VANISHED = -745.0
"""Exponents from here down have no part in what rescaling an online softmax loses (ADM-9)."""


def softmax(
    x: Operand, dim: int = -1, *, arithmetic: Arithmetic = FLOAT32, online: bool = False
) -> Bounds:
    """Softmax along an axis, with or without subtracting the greatest element (ADM-9).

    Let t = |x − max x|, with what x and the maximum can move, and every exponential be off by the
    factor e^±L with L = 3u·t + 7u: u·t for
    the subtraction, 2u·t for a detour over 2^(x·log2 e), 6u for exp. A quotient of an exponential
    and a sum of them, each moved by its radius r too, lies within the factor
    F = e^(r + L)·Σ p·e^(r + L)·e^(7u)/(1 − γ) of p: the sum of n positive terms is off by γ_{n+5}
    at most, the division by 5u, a product with a reciprocal by 6u. The absolute term is what
    exponentials that underflow lose.

    Args:
        x: Any shape.
        dim: The axis.
        arithmetic: dtypes of values and sums.
        online: Allow for rescalings as in attention: 3u·t and 9u for each block of 16 more.
    """
    x = bounds_of(x, arithmetic)
    if not -x.value.ndim <= dim < max(x.value.ndim, 1):
        raise InputError(
            "softmax: axis", given=dim, allowed=f"an axis of {x.shape}", clause="ADM-9"
        )
    n = x.shape[dim]
    unit, roundings = arithmetic.value.unit, n + EXTRA
    sums = arithmetic.sum.unit
    factors = (gamma(roundings, sums), gamma_probable(roundings, sums, x.value.size // max(n, 1)))
    errors: list[Float64] = []
    with np.errstate(all="ignore"):
        greatest = x.value.max(axis=dim, keepdims=True)
        below = x.value - greatest
        weights = np.exp(below)
        share = weights / weights.sum(axis=dim, keepdims=True)
        for kind, factor in zip(KINDS, factors, strict=True):
            radius = getattr(x, kind)
            span = np.where(np.isneginf(below), 0.0, np.abs(below) + radius)
            # How far the maximum can move: an element far below it never becomes it, as those
            # that a mask took out, whose radius is theirs alone.
            up = (below + radius).max(axis=dim, keepdims=True)
            span = span + np.maximum(up, -(below - radius).max(axis=dim, keepdims=True))
            exponent = 3 * unit * span + 7 * unit
            if online:
                blocks = math.ceil(n / ONLINE_BLOCK)
                # A sum is rescaled by what its terms are below the maximum; those that vanished
                # have no part in it.
                near = np.where(below + radius > VANISHED, span, 0.0)
                exponent = exponent + 3 * unit * near.max(axis=dim, keepdims=True)
                exponent = exponent + 9 * unit * blocks
            grown = np.exp(radius + exponent)
            # The rest of float64's error hides in 7u. An element of which nothing is known makes
            # a NaN of the sum, and with it of the row, however small its own share.
            # Where e^x is 0 in float64, the factor is applied to x before the exponential.
            vanished = np.exp(below + radius + exponent) / weights.sum(axis=dim, keepdims=True)
            most = np.where(share == 0, vanished, share * grown)
            total = most.sum(axis=dim, keepdims=True)
            reach = total * np.exp(7 * unit) / (1 - factor) if factor < 1 else np.inf
            lost = 2 * arithmetic.value.tiny * (4 + 3 * n * share)
            moved = np.where(vanished == 0, 0.0, vanished * reach)
            error = np.where(share == 0, moved, share * (grown * reach - 1)) + lost
            # e^-inf is exactly 0 beside a greatest element that is known to be finite.
            error = np.where(np.isneginf(below) & np.isfinite(greatest), 0.0, error)
            errors.append(np.where(np.isfinite(total), error, np.inf))
    zeros = np.zeros_like(share)
    return result(share, (zeros, zeros), (errors[0], errors[1]), arithmetic)


def scaled_dot_product_attention(
    query: Operand,
    key: Operand,
    value: Operand,
    attn_mask: Operand | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    arithmetic: Arithmetic = FLOAT32,
) -> Bounds:
    """``softmax(query · keyᵀ · scale + mask) · value`` (ADM-9).

    The scale may come before the product, on one or both operands (with its root), or behind it:
    at most two roundings beyond ADM-2. Fused kernels that rescale a running sum after blocks of at
    least 16 keys are inside.

    Args:
        query: Shape (..., L, E).
        key: Shape (..., S, E).
        value: Shape (..., S, V).
        attn_mask: Added to the scores; or boolean, where False takes a key out.
        dropout_p: Must be 0.
        is_causal: Take out the keys behind the query.
        scale: 1/√E if None.
        arithmetic: dtypes of values and sums.
    """
    q, k, v = (bounds_of(operand, arithmetic) for operand in (query, key, value))
    if dropout_p:
        raise InputError("dropout_p", given=dropout_p, allowed="0", clause="ADM-9")
    if q.value.ndim < 2 or k.value.ndim < 2 or q.shape[-1:] != k.shape[-1:]:
        raise InputError(
            "attention: shapes",
            given=f"{q.shape} and {k.shape}",
            allowed="(..., L, E) and (..., S, E)",
            clause="ADM-9",
        )
    depth = q.shape[-1]
    factor = 1 / math.sqrt(depth) if scale is None else float(scale)

    def scores_of(a: Float64, b: Float64) -> Float64:
        # A negative scale would make the radii negative: it is moved into the sign of the value.
        return np.asarray(a @ b.swapaxes(-1, -2) * abs(factor))

    signed = q if factor >= 0 else Bounds(-q.value, q.rigorous, q.probable)
    scores = contraction(scores_of, signed, k, None, depth + 2, arithmetic)
    if is_causal:
        allowed = np.tril(np.ones(scores.shape[-2:], bool))
        scores = _masked(scores, allowed)
    if attn_mask is not None:
        given = attn_mask.value if isinstance(attn_mask, Bounds) else np.asarray(attn_mask)
        if given.dtype == bool:
            scores = _masked(scores, given)
        else:
            scores = add(scores, attn_mask, arithmetic=arithmetic)
    weights = softmax(scores, -1, arithmetic=arithmetic, online=True)
    return contraction(lambda a, b: np.asarray(a @ b), weights, v, None, v.shape[-2], arithmetic)


def _masked(scores: Bounds, allowed: np.ndarray) -> Bounds:
    """Scores of −∞, exactly, where a key is taken out."""
    return Bounds(
        np.where(allowed, scores.value, -np.inf),
        np.where(allowed, scores.rigorous, 0.0),
        np.where(allowed, scores.probable, 0.0),
    )
