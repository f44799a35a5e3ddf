"""Requantization of the reference beside the oracle, and every rule beside every other."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_reference import QuantError, integer
from quant_reference.integer import (
    CODE_FORMATS,
    FIXED_POINT_FORMS,
    MULTIPLIER_ORDERS,
    RULE_ALIASES,
    RULES,
    Requantization,
    accumulate,
    fixed_point,
    get_rule,
    quantize_bias,
    real_multiplier,
    requantize,
)
from quant_reference.oracle import integers

F32 = np.float32
INT32 = (-(2**31), 2**31 - 1)
NAMES = [
    *RULES,
    *(
        f"{name}@{order}"
        for name, rule in RULES.items()
        for order in MULTIPLIER_ORDERS
        if rule.kind != "division" and order != rule.order
    ),
]
"""Every rule under every order of its multiplier."""


def exact(value: Any) -> Fraction:
    return Fraction(float(value))


def expected(acc: Any, params: Requantization, rule: str) -> list[int]:
    scales = tuple(map(exact, (params.input_scale, params.weight_scale, params.output_scale)))
    bounds = (params.quant_min, params.quant_max)
    return [
        integers.requantize(int(one), scales, rule, params.zero_point, params.dtype, bounds)  # type: ignore[arg-type]
        for one in acc
    ]


def near_ties(params: Requantization, count: int, seed: int) -> np.ndarray[Any, Any]:
    """Accumulators beside half steps of the output, at its ends, and anywhere."""
    rng = np.random.default_rng(seed)
    a, w, out = map(float, (params.input_scale, params.weight_scale, params.output_scale))
    span = params.format.quant_max
    half = np.rint((rng.integers(-span - 1, span + 1, count) + 0.5) / (a * w / out))
    ends = [0, 1, -1, INT32[0], INT32[1], 2**24 + 1, -(2**24) - 1]
    acc = np.concatenate([half, half + 1, half - 1, ends, rng.integers(*INT32, 6)])
    return np.clip(acc, *INT32).astype(np.int64).astype(np.int32)


def drawn(seed: int) -> Requantization:
    """Scales with an M from 2^−31 to 2^20, exact powers of two among them."""
    rng = np.random.default_rng(seed)
    exponent = int(rng.integers(-31, 8)) if seed % 5 else int(rng.integers(-31, 21))
    a, w, out = 2.0**exponent * rng.uniform(0.5, 1), rng.uniform(0.5, 1), rng.uniform(0.5, 1)
    if seed % 3 == 0:
        a, w, out = 2.0**exponent * rng.integers(1, 8) / 4, 1.0, 1.0
    fmt = list(CODE_FORMATS.values())[seed % len(CODE_FORMATS)]
    zero_point = int(rng.integers(fmt.quant_min, fmt.quant_max + 1))
    return Requantization(F32(a), F32(w), F32(out), zero_point, fmt.name)  # type: ignore[arg-type]


def takes(params: Requantization, rule: str) -> bool:
    """Whether the multiplier has the form that the rule needs (INT-4)."""
    form = get_rule(rule).form
    scales = (params.input_scale, params.weight_scale, params.output_scale)
    real = float(real_multiplier(*scales, "float64"))
    return real < (2.0**14 if form.startswith("q15") else 2.0**30) * (1 - 2.0**-14)


@pytest.mark.parametrize("rule", NAMES)
def test_a_rule_is_the_oracle_s(rule: str) -> None:
    for seed in range(4 if "@" in rule else 16):
        params = drawn(seed)
        if not takes(params, rule):
            with pytest.raises(QuantError):
                requantize(np.zeros(1, np.int32), params, rule)
            continue
        acc = near_ties(params, 4, seed)
        got = requantize(acc, params, rule)
        assert got.dtype == params.format.dtype
        assert got.tolist() == expected(acc, params, rule), (seed, params)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_accumulators_and_scales(data: st.DataObject) -> None:
    scale = st.floats(2.0**-20, 2.0**10, width=32)
    fmt = data.draw(st.sampled_from(list(CODE_FORMATS.values())))
    low = data.draw(st.integers(fmt.quant_min, fmt.quant_max))
    high = data.draw(st.integers(low, fmt.quant_max))
    zero_point = data.draw(st.integers(fmt.quant_min, fmt.quant_max))
    a, w, out = (F32(data.draw(scale)) for _ in range(3))
    params = Requantization(a, w, out, zero_point, fmt.name, low, high)  # type: ignore[arg-type]
    rule = data.draw(st.sampled_from(NAMES))
    acc = np.array(data.draw(st.lists(st.integers(*INT32), min_size=1, max_size=8)), np.int32)
    if takes(params, rule):
        assert requantize(acc, params, rule).tolist() == expected(acc, params, rule)


@pytest.mark.parametrize("rule", RULES)
def test_every_accumulator_of_ten_bits(rule: str) -> None:
    """All of them, at a step of 2^−2 and at one of 3·2^−3, whose halves are met by many."""
    acc = np.arange(-(2**9), 2**9, dtype=np.int32)
    for scale, zero_point in ((2.0**-2, -128), (3 * 2.0**-3, 3)):
        params = Requantization(F32(scale), F32(1), F32(1), zero_point)  # type: ignore[arg-type]
        assert requantize(acc, params, rule).tolist() == expected(acc, params, rule)


def telling(first: str, second: str) -> tuple[int, Requantization] | None:
    """An accumulator of which two rules make different codes, and its scales."""
    for seed in range(4000):
        params = drawn(seed)
        if not (takes(params, first) and takes(params, second)):
            continue
        acc = near_ties(params, 60, seed)
        differs = requantize(acc, params, first) != requantize(acc, params, second)
        if differs.any():
            return int(acc[differs][np.argmin(np.abs(acc[differs].astype(np.int64)))]), params
    # The greatest mantissa of 15 bits carries in one form and not in the other.
    params = Requantization(F32(2.0**-15 * (2 - 2.0**-16)), F32(1), F32(1), 0, "int16")  # type: ignore[arg-type]
    acc = np.arange(2**27, 2**27 + 2**16, 17, dtype=np.int32)
    differs = requantize(acc, params, first) != requantize(acc, params, second)
    return (int(acc[differs][0]), params) if differs.any() else None


@pytest.mark.parametrize(("first", "second"), list(combinations(RULES, 2)))
def test_two_rules_are_two_functions(first: str, second: str) -> None:
    """By an accumulator of which the oracle, too, makes two codes."""
    found = telling(first, second)
    assert found is not None
    acc, params = found
    assert expected([acc], params, first) != expected([acc], params, second)


SAME_IN_FLOAT32 = (
    {"float64", "float64_to_float32"},
    # A quotient of two float32 numbers that is rounded to float64 first is rounded right.
    {"float32_product_division", "float32_product_float64_division"},
)
"""Orders that are one where the rule rounds M to float32."""


@pytest.mark.parametrize("base", ["float32_even", "float64_even", "fixed_up"])
@pytest.mark.parametrize(("first", "second"), list(combinations(MULTIPLIER_ORDERS, 2)))
def test_two_orders_are_two_functions(base: str, first: str, second: str) -> None:
    one, other = f"{base}@{first}", f"{base}@{second}"
    if base == "float32_even" and {first, second} in SAME_IN_FLOAT32:
        return
    found = telling(one, other)
    assert found is not None
    acc, params = found
    assert expected([acc], params, one) != expected([acc], params, other)


def test_aliases_name_rules() -> None:
    assert {get_rule(alias).name.partition("@")[0] for alias in RULE_ALIASES} <= set(RULES)
    assert get_rule("tosa_double") is get_rule("gemmlowp") is RULES["double"]
    assert get_rule("xnnpack_rndnu").order == "float32_product_division"
    assert get_rule("gemmlowp@float64_to_float32").name == "double@float64_to_float32"


def test_tosa_s_sum_of_two_constants_is_gemmlowp_s_rule() -> None:
    """TOSA states one sum and one shift where gemmlowp rounds twice (INT-7)."""
    rng = np.random.default_rng(5)
    for _ in range(400):
        multiplier, shift = int(rng.integers(2**30, 2**31)), int(rng.integers(2, 63))
        limit = min(2 ** (shift - 1), 2**31)
        for value in (int(rng.integers(-limit, limit)), -limit, limit - 1, 0):
            constant = 2 ** (shift - 1)
            if shift > 31:
                constant += 2**30 if value >= 0 else -(2**30)
            stated = (value * multiplier + constant) >> shift
            rule = RULES["double"]
            assert integers.scaled(value, multiplier, shift, rule) == stated


@pytest.mark.parametrize("form", FIXED_POINT_FORMS)
def test_fixed_point_is_the_oracle_s(form: str) -> None:
    rng = np.random.default_rng(7)
    real = np.concatenate(
        [
            2.0 ** rng.uniform(-34, 13, 400),
            2.0 ** np.arange(-34, 14),
            (2.0 - 2.0 ** -np.arange(13.0, 52.0)) * 2.0 ** rng.integers(-33, 12, 39),
        ]
    )
    found = fixed_point(real, form)
    pairs = list(zip(found.multiplier.tolist(), found.shift.tolist(), strict=True))
    assert pairs == [integers.fixed_point(Fraction(one), form) for one in real.tolist()]


def test_biases_are_the_oracle_s() -> None:
    rng = np.random.default_rng(11)
    a, w = F32(0.37), rng.uniform(0.001, 0.9, 300).astype(F32)
    bias = (w.astype(np.float64) * 0.37 * (rng.integers(-50, 50, 300) + 0.5)).astype(F32)
    bias[:4] = [1e30, -1e30, 0.0, -0.0]
    for rule in ("float64_away", "float32_even"):
        got = quantize_bias(bias, a, w, rule)
        assert got.dtype == np.int32
        assert got.tolist() == [
            integers.quantize_bias(exact(b), exact(a), exact(one), rule)
            for b, one in zip(bias, w, strict=True)
        ]


def test_channels_have_their_own_multipliers() -> None:
    scales = np.array([0.5, 0.25, 0.125], F32)
    acc = np.arange(-60, 60, dtype=np.int32).reshape(2, 3, 20)
    whole = requantize(acc, Requantization(F32(1), scales, F32(1), 2, axis=1), "double")  # type: ignore[arg-type]
    for channel, scale in enumerate(scales):
        alone = Requantization(F32(1), scale, F32(1), 2)  # type: ignore[arg-type]
        part = requantize(acc[:, channel], alone, "double")
        np.testing.assert_array_equal(whole[:, channel], part)


def test_wide_accumulators() -> None:
    """int64 for 16-bit multipliers and floats, as the oracle has it."""
    acc = np.array([2**47 - 1, -(2**47), 2**40 + 1, -3, 0], np.int64)
    params = Requantization(F32(2.0**-30), F32(0.3), F32(0.007), 5, "int16")  # type: ignore[arg-type]
    for rule in ("fixed16_up", "fixed16_up_reduced", "float32_even", "float64_away"):
        assert requantize(acc, params, rule).tolist() == expected(acc, params, rule)


ONE = np.zeros(1, np.int32)
HALF = F32(0.5)


@pytest.mark.parametrize(
    ("clause", "call"),
    [
        ("INT-1", lambda: accumulate("linear", np.zeros((1, 1), np.int32), ONE)),
        ("INT-1", lambda: accumulate("dot", ONE, ONE)),
        ("INT-1", lambda: accumulate(
            "linear", np.full((1, 1), -128, np.int8), np.full((1, 1), -128, np.int8),
            np.array([2**31 - 1], np.int32))),
        ("INT-1", lambda: accumulate(
            "linear", np.zeros((1, 2), np.int8), np.zeros((3, 2), np.int8), np.zeros(2, np.int32))),
        ("INT-1", lambda: accumulate(
            "linear", np.zeros((1, 2), np.int8), np.zeros((3, 2), np.int8),
            weight_zero_point=np.zeros(2, np.int32))),
        ("INT-2", lambda: quantize_bias(np.array([np.inf], F32), HALF, HALF)),
        ("INT-2", lambda: quantize_bias(np.ones(2, F32), HALF, np.ones(3, F32))),
        ("INT-2", lambda: quantize_bias(np.ones(2, F32), HALF, HALF, "up")),
        ("INT-3", lambda: real_multiplier(F32(0), HALF, HALF, "float64")),
        ("INT-3", lambda: real_multiplier(F32(1e-30), F32(1e-30), HALF, "float64")),
        ("INT-3", lambda: real_multiplier(
            F32(1e-30), F32(1e-30), F32(1e-30), "float32_product_division")),
        ("INT-3", lambda: real_multiplier(HALF, HALF, HALF, "backwards")),
        ("INT-3", lambda: get_rule("float32_division@float64")),
        ("INT-4", lambda: fixed_point(np.float64(2.0**30), "q31")),
        ("INT-4", lambda: fixed_point(np.float64(2.0**15), "q15_reduced")),
        ("INT-4", lambda: fixed_point(np.float64(-1), "q31")),
        ("INT-4", lambda: fixed_point(np.float64(1), "q63")),
        ("INT-4", lambda: integer.FixedPoint(np.int64(1), np.int64(63))),
        ("INT-4", lambda: integer.FixedPoint(np.int64(-1), np.int64(3))),
        ("INT-5", lambda: get_rule("float32_evn")),
        ("INT-8", lambda: requantize(ONE, Requantization(HALF, HALF, HALF, 128))),
        ("INT-8", lambda: requantize(ONE, Requantization(HALF, HALF, HALF, 0, "int8", 5, 4))),
        ("INT-8", lambda: requantize(ONE, Requantization(np.ones(2, F32), HALF, HALF))),
        ("INT-8", lambda: requantize(ONE, Requantization(HALF, HALF, F32(np.nan)))),
        ("INT-1", lambda: requantize(ONE, Requantization(HALF, HALF, HALF, 0, "int2"))),
        ("INT-8", lambda: requantize(np.zeros(1, np.int16), Requantization(HALF, HALF, HALF))),
        ("INT-8", lambda: requantize(
            np.zeros(1, np.int64), Requantization(HALF, HALF, HALF), "double")),
        ("INT-8", lambda: requantize(
            np.array([2**47]), Requantization(HALF, HALF, HALF), "fixed16_up")),
        ("INT-8", lambda: requantize(
            np.zeros((2, 3), np.int32), Requantization(HALF, np.ones(2, F32), HALF))),
        ("INT-8", lambda: requantize(
            np.zeros((2, 3), np.int32), Requantization(HALF, np.ones(2, F32), HALF, axis=2))),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_its_clause(clause: str, call: Any) -> None:
    with pytest.raises(QuantError) as caught:
        call()
    assert caught.value.clause == clause
    assert caught.value.allowed
