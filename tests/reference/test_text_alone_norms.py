"""Activations, normalizations and softmax (ADM-7 to ADM-9) from the text alone, in decimals."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from tests.reference.test_text_alone import (
    ARITHMETICS,
    assert_held,
    drawn,
    gamma,
    gamma_probable,
    held,
    tiny,
    unit,
)

from quant_reference.admissible import Arithmetic

ONE, HALF = Decimal(1), Decimal("0.5")
LEAST_NORMAL = {"float32": Decimal(2) ** -126, "float16": Decimal(2) ** -14}


def sigmoid(x: Decimal) -> Decimal:
    return 1 / (1 + (-x).exp())


def softplus(x: Decimal) -> Decimal:
    return (1 + x.exp()).ln()


def tanh(x: Decimal) -> Decimal:
    return 1 - 2 / (1 + (2 * x).exp())


def some(count: int, dtype: str, size: Decimal) -> Decimal:
    """ADM-4: so many roundings of something of a size."""
    return gamma(count, dtype) * size + count * tiny(dtype)


Row = tuple[Callable[[Decimal], Decimal], Callable[[Decimal, Decimal, str], Decimal]]
ALPHA, LAMBDA = Decimal("1.6732632423543772"), Decimal("1.0507009873554805")


def bent(positive: Decimal, alpha: Decimal) -> Callable[[Decimal], Decimal]:
    return lambda x: positive * x if x > 0 else positive * alpha * (x.exp() - 1)


TABLE: dict[str, Row] = {
    "sigmoid": (sigmoid, lambda f, x, d: some(13, d, f) + 6 * unit(d) + LEAST_NORMAL[d]),
    "silu": (lambda x: x * sigmoid(x), lambda f, x, d: some(14, d, abs(f)) + some(6, d, abs(x))),
    "softplus": (softplus, lambda f, x, d: some(14, d, abs(f)) + 9 * unit(d)),
    "logsigmoid": (
        lambda x: -softplus(-x),
        lambda f, x, d: some(14, d, abs(f)) + 9 * unit(d),
    ),
    "mish": (
        lambda x: x * tanh(softplus(x)),
        lambda f, x, d: some(3, d, abs(f)) + some(25, d, abs(x)),
    ),
    "hardsigmoid": (
        lambda x: min(max(x + 3, Decimal(0)), Decimal(6)) / 6,
        lambda f, x, d: some(8, d, f) + (3 * unit(d) if abs(x) < 3 else 0),
    ),
    "hardswish": (
        lambda x: x * min(max(x + 3, Decimal(0)), Decimal(6)) / 6,
        lambda f, x, d: (
            Decimal(0)
            if x <= -3
            else some(9, d, abs(f)) + (some(3, d, min(abs(x), Decimal(3))) if abs(x) < 3 else 0)
        ),
    ),
    "leaky_relu": (
        lambda x: x if x > 0 else Decimal.from_float(0.01) * x,
        lambda f, x, d: some(3, d, abs(Decimal.from_float(0.01) * x)) if x < 0 else Decimal(0),
    ),
    "elu": (
        bent(ONE, ONE),
        lambda f, x, d: some(9, d, abs(f)) + some(8, d, ONE) if x < 0 else Decimal(0),
    ),
    "celu": (
        bent(ONE, ONE),
        lambda f, x, d: some(9, d, abs(f)) + some(10, d, ONE) if x < 0 else Decimal(0),
    ),
    "selu": (
        bent(LAMBDA, ALPHA),
        lambda f, x, d: (
            some(11, d, abs(f)) + some(8, d, LAMBDA * ALPHA) if x < 0 else some(3, d, abs(f))
        ),
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("op", TABLE)
def test_an_activation_has_the_error_of_the_table(op: str, dtype: str) -> None:
    x = np.array([-4.0, -3.0, -1.25, -0.5, 0.5, 1.25, 2.75, 4.0])
    found = held(op, {"x": x}, Arithmetic(dtype, dtype))
    form, error = TABLE[op]
    for i, v in enumerate(x.tolist()):
        value = form(Decimal(v))
        assert_held(found, i, value, [error(value, Decimal(v), dtype)] * 2)


def mean(values: list[Decimal]) -> Decimal:
    return sum(values, Decimal(0)) / len(values)


def normal_error(
    x: list[Decimal], eps: Decimal, g: Decimal, dtype: str, centred: bool
) -> list[Decimal]:
    """ADM-8 of one group of exact operands, step by step as the list there."""
    u, t = unit(dtype), tiny(dtype)
    mu = mean(x) if centred else Decimal(0)
    size = [abs(v) for v in x]
    e_mu = (g * mean(size) + t) * (1 + u) + u * abs(mu) if centred else Decimal(0)
    apart = [abs(v - mu) for v in x]
    e_d = [e_mu + u * (d + e_mu) + t if centred else Decimal(0) for d in apart]
    variance = mean([d * d for d in apart])
    squares = mean([v * v for v in size])
    two = mean([(2 * d + e) * e for d, e in zip(apart, e_d, strict=True)])
    two += g * mean([(d + e) ** 2 for d, e in zip(apart, e_d, strict=True)])
    one = g * squares + (2 * abs(mu) + e_mu) * e_mu
    one += u * (squares * (1 + g) + 2 * (abs(mu) + e_mu) ** 2)
    e_s = (1 + u) * max(two, one) + u * variance + 2 * t
    total = variance + eps
    e_v = e_s + gamma(2, dtype) * (total + e_s) + 2 * t
    inverse = 1 / total.sqrt()
    e_r = (1 + gamma(12, dtype)) / (total - e_v).sqrt() - inverse
    return [
        e * (inverse + e_r) + d * e_r + some(3, dtype, (s + abs(mu) + e_mu) * (inverse + e_r))
        for e, d, s in zip(e_d, apart, size, strict=True)
    ]


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)
@pytest.mark.parametrize("op", ["layer_norm", "rms_norm"])
def test_a_normalization_has_the_radii_of_the_text(op: str, arithmetic: Arithmetic) -> None:
    x, eps, n = drawn(11, 3, 8), 2.0**-10, 8
    found = held(op, {"x": x}, arithmetic, normalized_shape=8, eps=eps)
    centred = op == "layer_norm"
    for row in range(3):
        exact = [Decimal(v) for v in x[row].tolist()]
        mu = mean(exact) if centred else Decimal(0)
        root = (mean([(v - mu) ** 2 for v in exact]) + Decimal(eps)).sqrt()
        sums = arithmetic.accumulate
        g = gamma(n + 5, sums)
        likely = min(g, gamma_probable(n + 5, sums, 3))
        radii = [
            normal_error(exact, Decimal(eps), factor, arithmetic.values, centred)
            for factor in (g, likely)
        ]
        for i, v in enumerate(exact):
            assert_held(found, (row, i), (v - mu) / root, [radii[0][i], radii[1][i]])


def softmax_error(x: list[Decimal], g: Decimal, dtype: str) -> tuple[list[Decimal], list[Decimal]]:
    """ADM-9 of exact operands: the shares, and their radii."""
    u, t, n = unit(dtype), tiny(dtype), len(x)
    below = [v - max(x) for v in x]
    total = sum(v.exp() for v in below)
    shares = [v.exp() / total for v in below]
    grown = [(3 * u * abs(v) + 7 * u).exp() for v in below]
    reach = sum(p * e for p, e in zip(shares, grown, strict=True)) * (7 * u).exp() / (1 - g)
    return shares, [
        p * (e * reach - 1) + 2 * t * (4 + 3 * n * p) for p, e in zip(shares, grown, strict=True)
    ]


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)
def test_a_softmax_has_the_radii_of_the_text(arithmetic: Arithmetic) -> None:
    x = drawn(12, 2, 9)
    found: Any = held("softmax", {"x": x}, arithmetic)
    for row in range(2):
        exact = [Decimal(v) for v in x[row].tolist()]
        sums = arithmetic.accumulate
        g = gamma(9 + 5, sums)
        likely = min(g, gamma_probable(9 + 5, sums, 2))
        shares, rigorous = softmax_error(exact, g, arithmetic.values)
        probable = softmax_error(exact, likely, arithmetic.values)[1]
        for i, share in enumerate(shares):
            assert_held(found, (row, i), share, [rigorous[i], probable[i]])
