"""Chapter 13 and the sums of chapter 15 from the text of SPEC.md, in plain Python.

Nothing of the reference or of the oracle is used here: Python floats rounded by ``struct``, and
``decimal`` for what has to be exact. A question that came up while this was written was answered in
the text.
"""

from __future__ import annotations

import math
import struct
from decimal import Decimal, getcontext, localcontext
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from quant_reference.admissible import Arithmetic, Step, evaluate
from quant_reference.batch_norm import BatchNorm, train_batch_norm
from quant_vectors import VectorSet, load

getcontext().prec = 60
PRECISION = {"float32": (24, -126, 128), "float16": (11, -14, 16), "bfloat16": (8, -126, 128)}
"""Bits of the significand, least exponent, and the power of two that is too large (CONV-1)."""


@cache
def v1() -> VectorSet:
    return load()


def rounded(value: float, dtype: str) -> float:
    """CONV-1; a float64 sum, product, quotient or root of such numbers is near enough to be it."""
    if not math.isfinite(value) or value == 0:
        return value
    bits, least, beyond = PRECISION[dtype]
    unit = 2.0 ** (max(math.frexp(value)[1] - 1, least) - bits + 1)
    found = math.copysign(round(abs(value) / unit) * unit, value)
    return math.copysign(math.inf, value) if abs(found) >= 2.0**beyond else found


def wider(*dtypes: str) -> str:
    """BN-1: operands of two dtypes are widened to float32."""
    return dtypes[0] if len(set(dtypes)) == 1 else "float32"


def divided(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)


def root(value: float) -> float:
    return math.nan if value < 0 else math.sqrt(value)


class Channel:
    """BN-1 and BN-2 for one output channel; an entry is (number, dtype), or None."""

    def __init__(self, norm: dict[str, Any], eps: float) -> None:
        self.mean, self.shift = norm["mean"], norm.get("beta")
        variance, of_variance = norm["variance"]
        constant = rounded(rounded(eps, "float32"), of_variance)
        deviation = rounded(root(rounded(variance + constant, of_variance)), of_variance)
        gamma, of_gamma = norm.get("gamma") or (1.0, of_variance)
        self.of_factor = wider(of_gamma, of_variance)
        self.factor = rounded(divided(gamma, deviation), self.of_factor)

    def weight(self, element: float, dtype: str) -> float:
        return rounded(rounded(element * self.factor, wider(dtype, self.of_factor)), dtype)

    def bias(self, bias: tuple[float, str] | None, dtype: str) -> float:
        mean, of_mean = self.mean
        given, of_bias = bias or (0.0, of_mean)
        beta, of_beta = self.shift or (0.0, of_mean)
        step = wider(of_bias, of_mean)
        difference = rounded(given - mean, step)
        step = wider(step, self.of_factor)
        scaled = rounded(difference * self.factor, step)
        return rounded(rounded(scaled + beta, wider(step, of_beta)), dtype)


def test_batch_norms_fold_as_the_text_says() -> None:
    """Every case of the vectors."""
    cases = [case for case in v1() if case.operation == "fold_batch_norm"]
    assert len(cases) > 40
    for case in (case for case in cases if case.expected):
        tensors, a = v1().inputs(case), case.arguments
        named = {k: t for k, t in tensors.items() if k not in ("weight", "bias")}
        channels = [
            Channel({k: (float(t[i]), t.dtype.name) for k, t in named.items()}, a["eps"])
            for i in range(tensors["mean"].size)
        ]
        weight, want = tensors["weight"], v1().expected(case)
        dtype, groups = weight.dtype.name, a["groups"]
        for place in np.ndindex(weight.shape):
            at = place[0]
            if a["transposed"]:  # rows i with ⌊i·g/I⌋ = k take the channels from k·O/g on
                at = place[0] * groups // weight.shape[0] * weight.shape[1] + place[1]
            got = channels[at].weight(float(weight[place]), dtype)
            assert same(got, want["weight"][place]), (case.id, place)
        bias = tensors.get("bias")
        for i, channel in enumerate(channels):
            given = None if bias is None else (float(bias[i]), bias.dtype.name)
            assert same(channel.bias(given, dtype), want["bias"][i]), (case.id, i)


def same(got: float, want: Any) -> bool:
    value = float(want)
    return struct.pack("d", got) == struct.pack("d", value) or (got != got and value != value)


@pytest.mark.parametrize("bias", [None, 0.375])
def test_a_training_step_is_what_the_text_says(bias: float | None) -> None:
    """BN-3, with statistics that are exact; numpy's float64 may be off by an ulp of float32."""
    random = np.random.default_rng(5)
    y = random.normal(size=7).astype(np.float32)
    mean, variance, gamma, beta = (float(np.float32(v)) for v in (0.3, 1.7, -0.8, 0.2))
    eps, c = 1e-5, 0.1
    norm = {"mean": (mean, "float32"), "variance": (variance, "float32"),
            "gamma": (gamma, "float32")}  # fmt: skip
    factor = Channel(norm, eps).factor
    v = [rounded(float(x) / factor, "float32") for x in y]
    v = v if bias is None else [rounded(x + bias, "float32") for x in v]
    n, exact = len(v), [Decimal(x) for x in v]
    m = sum(exact) / n
    s = sum((x - m) ** 2 for x in exact) / n
    result = [(x - m) / (s + Decimal(eps)).sqrt() * Decimal(gamma) + Decimal(beta) for x in exact]
    running = [
        (1 - Decimal(c)) * Decimal(mean) + Decimal(c) * m,
        (1 - Decimal(c)) * Decimal(variance) + Decimal(c) * s * n / (n - 1),
    ]
    columns = [np.array([x], np.float32) for x in (mean, variance, gamma, beta)]
    before = BatchNorm(columns[0], columns[1], eps, columns[2], columns[3])
    added = None if bias is None else np.array([bias], np.float32)
    found, after = train_batch_norm(y[:, None], added, before, c)
    got = [*found.ravel().tolist(), float(after.mean[0]), float(after.variance[0])]
    for have, want in zip(got, [*result, *running], strict=True):
        assert abs(Decimal(have) - want) <= abs(want) * Decimal(2) ** -24 * Decimal("1.0001")


# Chapter 15: u and t of a dtype, γ and γ̃.
UNITS = {"float32": (24, 150), "float16": (11, 25)}


def unit(dtype: str) -> Decimal:
    return Decimal(2) ** -UNITS[dtype][0]


def tiny(dtype: str) -> Decimal:
    return Decimal(2) ** -UNITS[dtype][1]


def gamma(n: int, dtype: str) -> Decimal:
    total = n * unit(dtype)
    return total / (1 - total) if total < 1 else Decimal("Infinity")


def gamma_probable(n: int, dtype: str, elements: int) -> Decimal:
    u = unit(dtype)
    with localcontext() as context:
        context.prec = 60
        likelihood = (2 * (2 * n * elements / Decimal("1e-9")).ln()).sqrt() / (1 - u)
        return (likelihood * Decimal(n).sqrt() * u + n * u * u / (1 - u)).exp() - 1


def radii(
    size: Decimal, value: Decimal, n: int, elements: int, arithmetic: Arithmetic
) -> list[Decimal]:
    """ADM-2 to ADM-4 of exact operands: both radii of a sum of n terms whose sizes sum to size."""
    values, sums = arithmetic.values, arithmetic.accumulate
    rigorous = gamma(n + 5, sums)
    found = []
    for factor in (rigorous, min(rigorous, gamma_probable(n + 5, sums, elements))):
        error = factor * size + ((n + 5) * tiny(sums) * (1 + factor) if size else 0)
        if values != sums:
            error += gamma(1, values) * (abs(value) + error) + tiny(values)
        found.append(error)
    return found


ARITHMETICS = [Arithmetic(), Arithmetic("float16", "float32"), Arithmetic("float16", "float16")]


def drawn(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float16).astype(np.float64)


def held(op: str, operands: dict[str, Any], arithmetic: Arithmetic, **given: Any) -> Any:
    return evaluate([Step(op, tuple(operands), "y", given)], operands, arithmetic)["y"]


def assert_held(found: Any, place: Any, value: Decimal, wanted: list[Decimal]) -> None:
    assert abs(Decimal(float(found.value[place])) - value) <= abs(value) * Decimal(2) ** -40 + (
        wanted[1] * Decimal(2) ** -20
    )
    for got, want in zip((found.rigorous[place], found.probable[place]), wanted, strict=True):
        # ADM-1 adds 16·2^−53 of the value and 2^−26 of the radius.
        most = want * (1 + Decimal(2) ** -20) + abs(value) * Decimal(2) ** -44
        assert want * (1 - Decimal(2) ** -40) <= Decimal(float(got)) <= most


def exact_sum(pairs: list[tuple[float, float]]) -> tuple[Decimal, Decimal]:
    products = [Decimal(a) * Decimal(b) for a, b in pairs]
    return sum(products, Decimal(0)), sum(map(abs, products), Decimal(0))


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)
@pytest.mark.parametrize("n", [1, 6, 90])
def test_a_linear_layer_has_the_radii_of_the_text(n: int, arithmetic: Arithmetic) -> None:
    x, weight, bias = drawn(n, 3, n), drawn(n + 1, 2, n), drawn(n + 2, 2)
    found = held("linear", {"x": x, "w": weight, "b": bias}, arithmetic)
    for i, j in product(range(3), range(2)):
        value, size = exact_sum(list(zip(x[i].tolist(), weight[j].tolist(), strict=True)))
        shift = Decimal(float(bias[j]))
        wanted = radii(size + abs(shift), value + shift, n, 6, arithmetic)
        assert_held(found, (i, j), value + shift, wanted)


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)
@pytest.mark.parametrize("op", ["sum", "mean"])
def test_a_sum_and_a_mean_have_the_radii_of_the_text(op: str, arithmetic: Arithmetic) -> None:
    x = drawn(3, 4, 25)
    x[1] = 0
    found = held(op, {"x": x}, arithmetic, dim=1)
    for i in range(4):
        value, size = exact_sum([(v, 1.0) for v in x[i].tolist()])
        divisor = 25 if op == "mean" else 1
        value, size = value / divisor, size / divisor
        assert_held(found, i, value, radii(size, value, 25, 4, arithmetic))


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (2, 2), (3, 2), (4, 6)])
def test_the_taps_of_a_transposed_convolution_are_counted_as_in_the_text(
    stride: int, dilation: int
) -> None:
    x, weight = drawn(4, 1, 2, 5), drawn(5, 2, 3, 3)
    found = held(
        "conv_transpose1d", {"x": x, "w": weight}, Arithmetic(), stride=stride, dilation=dilation
    )
    n = 2 * math.ceil(3 / (stride // math.gcd(stride, dilation)))
    extent = (5 - 1) * stride + dilation * 2 + 1
    assert found.shape == (1, 3, extent)
    for channel, at in product(range(3), range(extent)):
        pairs = [
            (float(x[0, c, i]), float(weight[c, channel, tap]))
            for c, i, tap in product(range(2), range(5), range(3))
            if i * stride + tap * dilation == at
        ]
        assert len(pairs) <= n
        value, size = exact_sum(pairs)
        assert_held(found, (0, channel, at), value, radii(size, value, n, 3 * extent, Arithmetic()))


def test_another_number_of_roundings_would_be_seen() -> None:
    x = drawn(6, 1, 9)
    found = held("sum", {"x": x}, Arithmetic(), dim=1)
    value, size = exact_sum([(v, 1.0) for v in x[0].tolist()])
    assert_held(found, 0, value, radii(size, value, 9, 1, Arithmetic()))
    for n in (8, 10):
        with pytest.raises(AssertionError):
            assert_held(found, 0, value, radii(size, value, n, 1, Arithmetic()))
