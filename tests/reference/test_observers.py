"""OBS-1 to OBS-6: batches folded into qparams, against the oracle and by hand."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.support import DTYPES, Array, bit_arrays, label, numbers, specs, to_array

from quant_reference import (
    InputError,
    PerChannel,
    QParams,
    QuantizationSpec,
    SpecError,
    compute_qparams,
    make_observer,
    oracle,
    value_range,
)

KINDS: tuple[Any, ...] = ("static", "moving_average", "global_minmax", "dynamic")


def observed(
    kind: Any, batches: list[Array], spec: QuantizationSpec, constant: float = 0.01
) -> QParams:
    observer = make_observer(kind, spec, "activation", constant)
    for batch in batches:
        observer = observer.update(batch)
    return observer.qparams()


def assert_like_the_oracle(
    kind: str, batches: list[Array], spec: QuantizationSpec, constant: float = 0.01
) -> None:
    """Batches of rank 2, per tensor or per channel on axis 0."""
    params = observed(kind, batches, spec, constant)
    rows = [batch.reshape(params.scale.size, -1) for batch in batches]
    for index, scale in enumerate(params.scale.ravel().tolist()):
        ranges = [oracle.value_range(numbers(row[index]), spec, row.dtype.name) for row in rows]
        expected = oracle.compute_qparams(oracle.observe(kind, ranges, spec, constant), spec)
        np.testing.assert_equal(scale, float(expected.scale))
        if expected.zero_point is not None and expected.minval is not None:
            assert params.zero_point is not None
            assert params.minval is not None
            assert params.zero_point.ravel()[index] == expected.zero_point
            minval = float(params.minval.ravel()[index])
            np.testing.assert_equal(minval + 0.0, float(expected.minval) + 0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_any_batches(dtype: str, kind: str, data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from([s for s in specs() if s.qformulation == "zp"]))
    if data.draw(st.booleans()):
        spec = dataclasses.replace(spec, granularity=PerChannel(0))
    if kind == "dynamic":
        if spec.qscheme == "symmetric_with_clipping":
            spec = dataclasses.replace(spec, qscheme="symmetric")
    else:
        ranges = [(None, None), (None, None), (-0.3, None), (None, 6e4), (-0.1, 0.3)]
        spec = dataclasses.replace(spec, float_range=data.draw(st.sampled_from(ranges)))
    if data.draw(st.booleans()):
        batch = bit_arrays(dtype, 4, 4)
    else:
        values = st.lists(st.floats(-300, 300, width=16), min_size=4, max_size=4)
        batch = values.map(lambda v: np.array(v, np.float32).astype(DTYPES[dtype]))
    batches = data.draw(st.lists(batch.map(lambda a: a.reshape(2, 2)), min_size=1, max_size=4))
    constant = data.draw(st.sampled_from([0.01, 0.01, 0.9, 0.9, 0.5, 1.0, 1e-9]))
    assert_like_the_oracle(kind, batches, spec, constant)


@pytest.mark.parametrize(
    ("dtype", "hi"), [("float32", 1.02211), ("float16", 1.02246), ("bfloat16", 1.02344)]
)
def test_obs_2_in_the_dtype_of_x(dtype: str, hi: float) -> None:
    """0.01 · 3.211 + 0.99 · 1: three dtypes, three answers, none of them a matter of taste."""
    observer = make_observer("moving_average", QuantizationSpec(), "activation")
    for value in (1.0, 3.211):
        observer = observer.update(np.array([[value]], np.float32).astype(DTYPES[dtype]))
    assert observer.hi is not None
    assert observer.hi.dtype == DTYPES[dtype]
    assert round(float(observer.hi[0, 0]), 5) == hi


@pytest.mark.parametrize(
    ("kind", "lo", "hi"),
    [
        ("static", 0.0, 1.0),
        ("dynamic", 0.0, 1.0),
        ("global_minmax", -6.0, 2.0),
        # c = 1/2: lo -4, (-6 - 4)/2 = -5, (0 - 5)/2; hi 2, (0 + 2)/2 = 1, (1 + 1)/2
        ("moving_average", -2.5, 1.0),
    ],
)
def test_by_hand(kind: Any, lo: float, hi: float) -> None:
    observer = make_observer(kind, QuantizationSpec(), "activation", 0.5)
    for values in ([-4.0, 2.0], [-6.0, -1.0], [1.0, 0.5]):
        observer = observer.update(np.array([values], np.float32))
    assert observer.lo is not None
    assert observer.hi is not None
    assert (observer.lo.tolist(), observer.hi.tolist()) == ([[lo]], [[hi]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", specs()[:8], ids=label)
def test_one_batch_is_its_range(spec: QuantizationSpec, kind: Any) -> None:
    if kind == "dynamic" and spec.qscheme == "symmetric_with_clipping":
        spec = dataclasses.replace(spec, qscheme="symmetric")
    batch = np.array([[-0.3, 2.0], [0.1, 7.0]], np.float32)
    plain = compute_qparams(*value_range(batch, spec, "activation"), spec)
    params = observed(kind, [batch], spec)
    np.testing.assert_array_equal(params.scale, plain.scale)
    np.testing.assert_array_equal(params.zero_point, plain.zero_point)


def test_obs_2_the_range_stays_fixed_between_two_bounds() -> None:
    """Averaging 0.1 with itself in float32 would drift."""
    spec = QuantizationSpec(qscheme="asymmetric", float_range=(-0.1, 0.3))
    batch = np.array([[np.nan, 9.0]], np.float16)
    first = observed("moving_average", [batch], spec, 1 / 3)
    later = observed("moving_average", [batch] * 50, spec, 1 / 3)
    np.testing.assert_array_equal(first.scale, later.scale)
    np.testing.assert_array_equal(first.minval, later.minval)


@pytest.mark.parametrize(
    ("kind", "stays"), [("static", False), ("moving_average", True), ("global_minmax", True)]
)
def test_obs_5_nothing_is_dropped(kind: Any, stays: bool) -> None:
    good = np.array([[1.0, -1.0], [2.0, -2.0]], np.float32)
    bad = np.array([[np.nan, -1.0], [2.0, -2.0]], np.float32)
    spec = QuantizationSpec(granularity=PerChannel(0))
    assert np.isnan(observed(kind, [good, bad], spec).scale).tolist() == [[True], [False]]
    assert np.isnan(observed(kind, [bad, good], spec).scale).tolist() == [[stays], [False]]
    infinite = np.array([[np.inf, -1.0], [2.0, -2.0]], np.float32)
    assert np.isinf(observed(kind, [good, infinite], spec).scale).tolist() == [[True], [False]]
    assert np.isinf(observed(kind, [infinite, good], spec).scale).tolist() == [[stays], [False]]


@pytest.mark.parametrize("kind", ["moving_average", "global_minmax"])
@pytest.mark.parametrize(
    "second",
    [
        np.zeros((2, 2), np.float16),
        np.zeros((3, 2), np.float32),
        np.zeros((2, 2, 1), np.float32),
    ],
)
def test_obs_6_batches_agree(kind: Any, second: Array) -> None:
    spec = QuantizationSpec(granularity=PerChannel(0))
    observer = make_observer(kind, spec, "activation").update(np.zeros((2, 2), np.float32))
    with pytest.raises(InputError, match="OBS-6"):
        observer.update(second)
    observer.update(np.zeros((2, 7), np.float32))  # as many blocks: fine


@pytest.mark.parametrize("kind", KINDS)
def test_obs_6_no_batch_no_qparams(kind: Any) -> None:
    with pytest.raises(InputError, match="OBS-6"):
        make_observer(kind, QuantizationSpec(), "activation").qparams()


@pytest.mark.parametrize("kind", ["default", "ema", "", None, ["static"]])
def test_obs_1_other_kinds_are_refused(kind: Any) -> None:
    with pytest.raises(SpecError, match="OBS-1"):
        make_observer(kind, QuantizationSpec(), "activation")


@pytest.mark.parametrize("c", [0.0, -0.1, 1.0001, np.nan, np.inf, "0.1", None, True, 1j])
def test_obs_2_other_constants_are_refused(c: Any) -> None:
    with pytest.raises(SpecError, match="OBS-2"):
        make_observer("moving_average", QuantizationSpec(), "activation", c)


@pytest.mark.parametrize("kind", KINDS)
def test_an_observer_is_a_state_and_not_a_thing_that_changes(kind: Any) -> None:
    empty = make_observer(kind, QuantizationSpec(), "activation")
    batch = np.array([[1.0, -2.0]], np.float32)
    once = empty.update(batch)
    before = once.qparams().scale.copy()
    twice = once.update(batch * 8)
    batch *= 100
    assert empty.lo is None
    assert twice is not once
    np.testing.assert_array_equal(once.qparams().scale, before)
    for observer in (empty, once):
        with pytest.raises(dataclasses.FrozenInstanceError):
            observer.lo = None  # type: ignore[misc]
        for bound in (observer.lo, observer.hi):
            assert bound is None or not bound.flags.writeable
    params = once.qparams()
    assert params.minval is not None
    params.minval[...] = 0
    params.scale[...] = 0
    np.testing.assert_array_equal(once.qparams().scale, before)


def test_the_expected_arrays_are_exact() -> None:
    with pytest.raises(AssertionError, match="not representable"):
        to_array([oracle.number(0.1)])
