"""Float results: the ends of their intervals on the grid of values (ADM-12, ADM-13)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from quant_reference import InputError, QParams, QuantizationSpec
from quant_reference.admissible import (
    VERDICTS,
    Arithmetic,
    Bounds,
    FloatLayer,
    QuantizedTensor,
    Step,
    admissible_values,
    judge_value_sets,
    judge_values,
)

HALF = Arithmetic("float16", "float32")


def bounds(value: float, rigorous: float, probable: float) -> Bounds:
    return Bounds(*(np.array([number], np.float64) for number in (value, rigorous, probable)))


@pytest.mark.parametrize("arithmetic", [Arithmetic(), HALF])
def test_ends_are_rounded_outward_to_the_grid(arithmetic: Arithmetic) -> None:
    found = admissible_values(bounds(1.0, 2.0**-30, 2.0**-31), arithmetic)
    dtype = arithmetic.value.dtype
    for low, high in ((found.low, found.high), (found.likely_low, found.likely_high)):
        assert low.dtype == high.dtype == dtype
        # 1 ± less than half an ulp: the neighbours of 1, and no further.
        assert low[0] == np.nextafter(dtype.type(1), dtype.type(0))
        assert high[0] == np.nextafter(dtype.type(1), dtype.type(2))


def test_what_is_exact_has_one_value() -> None:
    found = admissible_values(Bounds.exact(np.array([0.1, -3.0], np.float32)))
    for end in (found.low, found.high, found.likely_low, found.likely_high):
        assert np.array_equal(end, np.array([0.1, -3.0], np.float32))


def test_what_is_unknown_may_be_anything() -> None:
    found = admissible_values(bounds(np.nan, np.inf, np.inf))
    assert (found.low[0], found.high[0]) == (-np.inf, np.inf)


def test_the_ends_are_what_the_verdicts_go_by() -> None:
    given = bounds(1.0, 1e-5, 1e-6)
    found = admissible_values(given)
    inside = np.array([found.low[0], found.likely_low[0], found.likely_high[0], found.high[0]])
    wide = Bounds(*(np.repeat(getattr(given, n), 4) for n in ("value", "rigorous", "probable")))
    assert judge_values(inside, wide).tolist() == [1, 0, 0, 1]  # unlikely, admissible
    beyond = np.nextafter(inside, np.float32([0, 0, 2, 2]))
    assert judge_values(beyond, wide).tolist() == [2, 1, 1, 2]  # wrong, unlikely


def test_a_float_layer_holds_every_order_of_a_sum() -> None:
    spec, scale = QuantizationSpec("int8"), np.full((1, 1), 2.0**-4, np.float32)
    qparams = QParams(scale, np.zeros((1, 1), np.int32))
    random = np.random.default_rng(2)
    codes = random.integers(-128, 128, (3, 40), np.int8)
    x = random.standard_normal((2, 40)).astype(np.float32)
    operands: dict[str, Any] = {"x": x, "w": QuantizedTensor(codes, spec, qparams)}
    layer = FloatLayer((Step("linear", ("x", "w", None), "y"),), operands)
    found = layer.admissible_values()
    weight = codes.astype(np.float32) * np.float32(2.0**-4)
    for row in range(2):
        for column in range(3):
            exact = sum(
                Fraction(float(a)) * Fraction(float(b))
                for a, b in zip(x[row], weight[column], strict=True)
            )
            low, high = found.likely_low[row, column], found.likely_high[row, column]
            assert Fraction(float(low)) < exact < Fraction(float(high))
            for _ in range(20):
                total = np.float32(0)
                for index in random.permutation(40):
                    total = np.float32(total + x[row, index] * weight[column, index])
                assert low <= total <= high


@pytest.mark.parametrize(
    ("steps", "operands", "said"),
    [
        ((), {}, "no steps"),
        ((Step("neg", ("x",), "y"),), {"x": np.zeros(1)}, "float64"),
        ((Step("neg", ("x",), "y"),), {"x": np.zeros(1, np.int64)}, "int64"),
    ],
)
def test_what_is_no_float_layer(steps: Any, operands: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        FloatLayer(steps, operands)


def test_what_overflows_on_both_sides_is_undecided_by_bounds_and_by_sets() -> None:
    """ADM-12 has one rule: in float16 these ends are infinite, though the radius is a number."""
    wide = Bounds(np.array([0.0, 0.0]), np.array([1e6, 1.0]), np.array([1e6, 1.0]))
    given = np.array([3.0, 3.0], np.float16)
    words = judge_values(given, wide, HALF)
    assert [VERDICTS[word] for word in words] == ["undecided", "wrong"]
    sets = admissible_values(wide, HALF)
    assert np.array_equal(judge_value_sets(given, sets), words)
