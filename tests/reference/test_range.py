"""RANGE-1 to RANGE-5: the range of every block, against the oracle and by hand."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.support import DTYPES, Array, bit_arrays, numbers

from quant_reference import (
    Granularity,
    InputError,
    PerBlock,
    PerChannel,
    PerTensor,
    QuantizationSpec,
    oracle,
    value_range,
)

GRANULARITIES = (PerTensor(), PerChannel(1), PerBlock(1, 2), PerBlock(None, (2, -1)))
BOUNDS = (
    (None, None),
    (-1.5, None),
    (None, 0.1),
    (-0.1, 3.0),
    (0.0, None),
    (None, 1e30),
    (-1e-60, None),
)


def assert_like_the_oracle(x: Array, spec: QuantizationSpec, target: Any) -> None:
    lo, hi = value_range(x, spec, target)
    extents = oracle.block_extents(x.shape, spec.granularity, target)
    elements = numbers(x)
    for index, members in enumerate(oracle.block_members(x.shape, extents)):
        block = [elements[member] for member in members]
        expected = oracle.value_range(block, spec, x.dtype.name)
        assert lo.dtype == hi.dtype == DTYPES[expected.dtype]
        for got, wanted in ((lo, expected.lo), (hi, expected.hi)):
            np.testing.assert_equal(float(got.ravel()[index]) + 0.0, float(wanted) + 0.0)


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data(), bounds=st.sampled_from(BOUNDS))
def test_any_tensor(dtype: str, granularity: Granularity, data: st.DataObject, bounds: Any) -> None:
    x = data.draw(bit_arrays(dtype, 8, 8)).reshape(2, 4)
    spec = QuantizationSpec(granularity=granularity, float_range=bounds)
    target = data.draw(st.sampled_from(["weight", "activation"]))
    if dtype == "float16" and bounds == (None, 1e30):
        with pytest.raises(InputError, match="RANGE-2"):
            value_range(x, spec, target)
    else:
        assert_like_the_oracle(x, spec, target)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("values", "lo", "hi"),
    [
        ([1.0, 2.0], 0.0, 2.0),  # RANGE-1: one-sided ranges reach zero
        ([-1.0, -2.0], -2.0, 0.0),
        ([-1.0, 2.0], -1.0, 2.0),
        ([0.0, 0.0], 0.0, 0.0),
        ([-0.0, -0.0], 0.0, 0.0),
        ([np.inf, -1.0], -1.0, np.inf),  # RANGE-4
        ([-np.inf, np.inf], -np.inf, np.inf),
        ([np.nan, 1.0], np.nan, np.nan),
        ([1.0, np.nan], np.nan, np.nan),
        ([np.inf, np.nan], np.nan, np.nan),
    ],
)
def test_ranges_by_hand(dtype: str, values: list[float], lo: float, hi: float) -> None:
    x = np.array(values, np.float32).astype(DTYPES[dtype])
    got = value_range(x, QuantizationSpec(), "activation")
    np.testing.assert_array_equal([float(bound[0]) for bound in got], [lo, hi])
    assert {bound.dtype for bound in got} == {DTYPES[dtype]}


def test_range_4_other_blocks_are_not_touched() -> None:
    x = np.array([[1.0, np.nan], [np.inf, -2.0], [3.0, -4.0]], np.float32)
    lo, hi = value_range(x, QuantizationSpec(granularity=PerChannel(0)), "weight")
    np.testing.assert_array_equal(lo, np.array([[np.nan], [-2], [-4]], np.float32))
    np.testing.assert_array_equal(hi, np.array([[np.nan], [np.inf], [3]], np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_range_2_one_bound_replaces_its_side(dtype: str) -> None:
    x = np.array([-2.0, 5.0], np.float32).astype(DTYPES[dtype])
    for bounds, expected in (((-0.3, None), (-0.3, 5.0)), ((None, 0.3), (-2.0, 0.3))):
        got = value_range(x, QuantizationSpec(float_range=bounds), "weight")
        wanted = np.array(expected, np.float32).astype(DTYPES[dtype])
        np.testing.assert_array_equal([bound[0] for bound in got], wanted)


@pytest.mark.parametrize(("dtype", "half_ulp"), [("bfloat16", 2.0**-8), ("float16", 2.0**-11)])
def test_range_2_a_bound_is_rounded_twice(dtype: str, half_ulp: float) -> None:
    """Through float32, which makes it a tie, on the way: one rounding would go the other way."""
    bound = 1 + half_ulp + 2.0**-40
    spec = QuantizationSpec(float_range=(None, bound))
    x = np.ones(1, DTYPES[dtype])
    assert float(value_range(x, spec, "weight")[1][0]) == 1.0
    once = oracle.round_to(oracle.number(bound), oracle.DTYPES[dtype])
    assert float(once) == 1 + 2 * half_ulp


# A dtype's greatest number, and half a step beyond it: the tie goes to infinity.
@pytest.mark.parametrize(
    ("dtype", "greatest", "half_step"),
    [("float16", 65504.0, 16.0), ("bfloat16", 2.0**128 - 2.0**120, 2.0**119)],
)
@pytest.mark.parametrize("side", [0, 1])
def test_range_2_a_bound_that_becomes_infinite_is_refused(
    dtype: str, greatest: float, half_step: float, side: int
) -> None:
    x = np.ones(1, DTYPES[dtype])

    def bounds(size: float) -> tuple[float | None, float | None]:
        return (None, size) if side else (-size, None)

    just_below = float(np.nextafter(np.float32(greatest + half_step), np.float32(0)))
    found = value_range(x, QuantizationSpec(float_range=bounds(just_below)), "weight")[side]
    assert abs(float(found[0])) == greatest
    with pytest.raises(InputError, match="RANGE-2"):
        value_range(x, QuantizationSpec(float_range=bounds(greatest + half_step)), "weight")


@pytest.mark.parametrize("dtype", DTYPES)
def test_range_2_two_bounds_do_not_depend_on_x(dtype: str) -> None:
    spec = QuantizationSpec(float_range=(-0.1, 0.7), granularity=PerChannel(0))
    for values in ([[-9.0, 9.0], [np.nan, np.inf]], [[0.0, 0.0], [0.1, 0.2]]):
        lo, hi = value_range(np.array(values, np.float32).astype(DTYPES[dtype]), spec, "weight")
        assert lo.dtype == hi.dtype == np.float32
        np.testing.assert_array_equal(lo, np.full((2, 1), np.float32(-0.1)))
        np.testing.assert_array_equal(hi, np.full((2, 1), np.float32(0.7)))


def test_range_4_one_fixed_bound_does_not_hide_a_nan() -> None:
    lo, hi = value_range(
        np.array([np.nan], np.float32), QuantizationSpec(float_range=(-1, None)), "weight"
    )
    assert lo.tolist() == [-1.0]
    assert np.isnan(hi).all()


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int8, bool, np.complex64])
def test_range_3_other_dtypes_are_refused(dtype: type) -> None:
    with pytest.raises(InputError, match="RANGE-3") as refusal:
        value_range(np.ones(2, dtype), QuantizationSpec(), "weight")
    assert refusal.value.given == repr(np.dtype(dtype))
    assert refusal.value.allowed == "float16, bfloat16 or float32"


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3)])
@pytest.mark.parametrize("bounds", [(None, None), (-1, 1)])
def test_range_5_no_elements(shape: tuple[int, ...], bounds: Any) -> None:
    spec = QuantizationSpec(float_range=bounds)
    for granularity in (PerTensor(), PerChannel(0)):
        with pytest.raises(InputError, match="RANGE-5") as refusal:
            value_range(
                np.zeros(shape, np.float32),
                dataclasses.replace(spec, granularity=granularity),
                "weight",
            )
        assert str(shape) in refusal.value.given
