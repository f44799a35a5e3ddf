"""Sums in every order that an engine may take stay inside the bounds (ADM-2, ADM-3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_reference import QParams, QuantizationSpec, dequantize
from quant_reference.admissible import Arithmetic, Bounds, linear, mean

Array = NDArray[Any]
F32 = np.float32
Sum = Callable[[Array, np.random.Generator], Array]
"""From products (depth, outputs) to sums, in one order or another."""


def in_random_order(products: Array, draw: np.random.Generator) -> Array:
    total = np.zeros(products.shape[1:], products.dtype)
    for index in draw.permutation(len(products)):
        total = total + products[index]
    return total


def pairwise(products: Array, draw: np.random.Generator) -> Array:
    while len(products) > 1:
        if len(products) % 2:
            products = np.concatenate([products, np.zeros_like(products[:1])])
        products = products[::2] + products[1::2]
    return products[0]


def in_blocks(products: Array, draw: np.random.Generator) -> Array:
    size = int(draw.integers(2, 17))
    blocks = [in_random_order(products[i : i + size], draw) for i in range(0, len(products), size)]
    return in_random_order(np.stack(blocks), draw)


def as_a_random_tree(products: Array, draw: np.random.Generator) -> Array:
    terms = list(products)
    while len(terms) > 1:
        a, b = (terms.pop(int(draw.integers(len(terms)))) for _ in range(2))
        terms.append(a + b)
    return terms[0]


ORDERS: dict[str, Sum] = {
    "random": in_random_order,
    "pairwise": pairwise,
    "blocks": in_blocks,
    "tree": as_a_random_tree,
}


def inside(result: Array, bounds: Bounds, kind: str = "rigorous") -> Any:
    radius = getattr(bounds, kind)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        near = np.abs(result.astype(np.float64) - bounds.value) <= radius
    return near | (result == bounds.value) | np.isinf(radius)


@st.composite
def operands(draw: st.DrawFn) -> tuple[Array, Array, Array, int]:
    """Weights, one input and a bias with magnitudes far apart, so that sums cancel; and a seed."""
    seed = draw(st.integers(0, 2**32 - 1))
    depth = draw(st.integers(1, 40))
    spread = draw(st.sampled_from([0, 4, 20]))
    random = np.random.default_rng(seed)

    def made(*shape: int) -> Array:
        return (random.standard_normal(shape) * 2.0 ** random.integers(-spread, spread + 1, shape)
                ).astype(F32)  # fmt: skip

    x, weight, bias = made(depth), made(5, depth), made(5)
    if draw(st.booleans()):  # what the products add up to is all but nothing
        exact = weight.astype(np.float64) @ x
        bias = (-exact).astype(F32)
    return x, weight, bias, seed


@pytest.mark.parametrize("order", ORDERS)
@settings(derandomize=True, max_examples=40, deadline=None)
@given(drawn=operands())
def test_any_order_with_the_bias_first_or_last(
    order: str, drawn: tuple[Array, Array, Array, int]
) -> None:
    x, weight, bias, seed = drawn
    random = np.random.default_rng(seed)
    bounds = linear(x, weight, bias)
    products = (weight * x).T
    last = ORDERS[order](products, random) + bias
    first = ORDERS[order](np.concatenate([bias[None], products]), random)
    assert inside(last, bounds).all()
    assert inside(first, bounds).all()


@settings(derandomize=True, max_examples=40, deadline=None)
@given(drawn=operands())
def test_fused_multiply_adds(drawn: tuple[Array, Array, Array, int]) -> None:
    x, weight, bias, _ = drawn
    total = bias
    for column, value in zip(weight.T, x, strict=True):
        # The product is exact in float64; its sum is rounded to 53 bits and then to 24, which is
        # off by one rounding of float32 and a 2^-29th of it, much less than the rounding that a
        # fused multiply-add saves.
        total = (column.astype(np.float64) * float(value) + total).astype(F32)
    assert inside(total, linear(x, weight, bias)).all()


@settings(derandomize=True, max_examples=40, deadline=None)
@given(drawn=operands())
def test_float16_with_sums_in_float32_and_in_float16(
    drawn: tuple[Array, Array, Array, int],
) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        x, weight, bias = (array.astype(np.float16) for array in drawn[:3])
        for accumulate in (F32, np.float16):
            arithmetic = Arithmetic("float16", np.dtype(accumulate).name)
            bounds = linear(x, weight, bias, arithmetic=arithmetic)
            products = (weight.astype(accumulate) * x.astype(accumulate)).T
            total = in_random_order(products, np.random.default_rng(drawn[3]))
            total = (total + bias.astype(accumulate)).astype(np.float16)
            assert inside(total, bounds).all()


INT8 = QuantizationSpec(dtype="int8", qscheme="asymmetric")


@pytest.mark.parametrize("depth", [1, 2, 9, 64, 576])
@pytest.mark.parametrize("blocks", [1, 3])
def test_integer_sums_scaled_afterwards(depth: int, blocks: int) -> None:
    """Codes are multiplied and summed exactly; scale·scale and the product round, bias last."""
    random = np.random.default_rng(depth)
    extent = depth * blocks
    worst = 0.0
    for _ in range(20):
        x_codes = random.integers(-128, 128, (8, extent), np.int8)
        w_codes = random.integers(-128, 128, (16, extent), np.int8)
        x_scale = np.exp(random.normal(-4, 1, (1, 1))).astype(F32)
        w_scale = np.exp(random.normal(-6, 1, (16, blocks))).astype(F32)
        x_zero = random.integers(-128, 128, (1, 1), np.int32)
        w_zero = random.integers(-128, 128, (16, blocks), np.int32)
        bias = random.standard_normal(16).astype(F32)
        x = dequantize(x_codes, INT8, QParams(x_scale, x_zero))
        weight = dequantize(w_codes, INT8, QParams(w_scale, w_zero))
        bounds = linear(x, weight, bias)

        total = np.zeros((8, 16), F32)
        steps = x_codes.astype(np.int64) - x_zero
        for block in range(blocks):
            part = slice(block * depth, (block + 1) * depth)
            levels = w_codes[:, part].astype(np.int64) - w_zero[:, block : block + 1]
            summed = (steps[:, part] @ levels.T).astype(F32)
            total = total + summed * (x_scale[0, 0] * w_scale[:, block])
        total = total + bias
        assert inside(total, bounds).all()
        worst = max(worst, float((np.abs(total - bounds.value) / bounds.rigorous).max()))
    # Where the sum is short the roundings of the scales are most of it: the bound is not idle.
    assert worst > (0.2 if depth < 3 else 0.0)


def test_subnormal_products_underflow_gradually() -> None:
    random = np.random.default_rng(3)
    x = (random.standard_normal((50, 7)) * 2.0**-80).astype(F32)
    weight = (random.standard_normal((9, 7)) * 2.0**-62).astype(F32)
    bounds = linear(x, weight)
    total = np.zeros((50, 9), F32)
    for a, b in zip(x.T, weight.T, strict=True):
        total = total + np.multiply.outer(a, b)
    assert inside(total, bounds).all()
    # Flushing subnormals is not gradual: it loses more than is allowed.
    assert not inside(np.where(np.abs(total) < 2.0**-126, 0, total), bounds).all()


@pytest.mark.parametrize("depth", [64, 576, 4608])
def test_the_probable_radius_holds_in_large_numbers(depth: int) -> None:
    """20,000 results in each of three orders, of random and of all positive terms."""
    random = np.random.default_rng(depth)
    for positive in (False, True):
        x = random.standard_normal((20, depth)).astype(F32)
        weight = random.standard_normal((1000, depth)).astype(F32)
        if positive:
            x, weight = np.abs(x), np.abs(weight)
        bounds = linear(x, weight)
        assert (bounds.probable <= bounds.rigorous).all()
        assert (bounds.probable < bounds.rigorous).all() == (depth > 64)
        blas = x @ weight.T
        one_by_one = np.zeros((20, 1000), F32)
        for a, b in zip(x.T, weight.T, strict=True):
            one_by_one = one_by_one + np.multiply.outer(a, b)
        strided = np.stack([x[:, i::8] @ weight[:, i::8].T for i in range(8)]).sum(0, dtype=F32)
        for result in (blas, one_by_one, strided):
            assert inside(result, bounds, "probable").all()


def test_sums_that_round_toward_zero_leave_the_probable_radius_first() -> None:
    """Biased errors are what the model of ADM-3 excludes, and the rigorous radius admits."""
    terms = np.random.default_rng(5).uniform(0.5, 1, (1, 8192)).astype(F32)
    bounds = mean(terms, -1)
    total = F32(0)
    for term in terms[0]:
        exact = float(total) + float(term)
        rounded = F32(exact)
        total = np.nextafter(rounded, F32(0)) if float(rounded) > exact else rounded
    result = np.asarray([total / F32(8192)])
    assert inside(result, bounds).all()
    assert not inside(result, bounds, "probable").any()


@pytest.mark.parametrize("depth", [3000, 2**20])
def test_where_the_analysis_ends_nothing_is_known(depth: int) -> None:
    half = Arithmetic("float16", "float16")
    bounds = mean(np.ones((1, depth), np.float16), -1, arithmetic=half)
    assert np.isinf(bounds.rigorous).all()
    assert np.isinf(bounds.probable).all() == (depth > 3000)
