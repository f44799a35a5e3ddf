"""Tensors of a file are found by what they hold."""

from __future__ import annotations

import numpy as np
import pytest

from quant_conformance.gate.alignment.matching import (
    BY_VALUES,
    match,
    match_floats,
    match_order,
)
from quant_conformance.gate.alignment.thresholds import THRESHOLDS


def tensors(count: int, size: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.normal(size=size).astype(np.float32) for _ in range(count)]


def noisy(x: np.ndarray, share: float) -> np.ndarray:
    noise = np.random.default_rng(6).normal(size=x.shape)
    return x + share * np.linalg.norm(x) / np.linalg.norm(noise) * noise


def test_in_any_order() -> None:
    ours = tensors(4)
    order = [2, 0, 3, 1]
    assert match(ours, [ours[i] for i in order]) == {i: order.index(i) for i in range(4)}


def test_in_any_shape() -> None:
    ours = tensors(3)
    theirs = [x.reshape(1, 8, 8) for x in ours]
    assert match(ours, theirs) == {0: 0, 1: 1, 2: 2}


def test_one_that_is_missing_and_one_too_many() -> None:
    ours = tensors(3)
    assert match(ours, ours[1:]) == {1: 0, 2: 1}
    assert match(ours[1:], ours) == {0: 1, 1: 2}
    assert match(ours, []) == match([], ours) == {}


def test_another_size_is_another_tensor() -> None:
    ours = tensors(2)
    assert match(ours, [ours[0][:32], ours[1]]) == {1: 1}


def test_equal_values_go_in_order() -> None:
    x, y = tensors(2)
    assert match([x, y, x], [x, x, y]) == {0: 0, 2: 1, 1: 2}
    assert match([x] * 3, [x] * 3) == {0: 0, 1: 1, 2: 2}
    zero = np.zeros(64)
    assert match([zero, x], [zero, x]) == {0: 0, 1: 1}


def test_noise_below_and_above_what_is_the_same_tensor() -> None:
    x, y = tensors(2)
    assert match([x], [noisy(x, 0.5)]) == {0: 0}
    assert match([x], [y]) == {}  # about 1.4 / 2 of both norms apart


def test_a_tensor_up_to_a_factor_is_found_after_those_that_are_equal() -> None:
    x, y = tensors(2)
    assert match([x, y], [7.5 * x, y]) == {0: 0, 1: 1}
    assert match([x, y], [y, 0.01 * x]) == {0: 1, 1: 0}
    assert match([x], [4 * x, x]) == {0: 1}
    assert match([x], [-x]) == {}


def test_nan_and_infinity_match_themselves_alone() -> None:
    (x,) = tensors(1)
    broken = x.copy()
    broken[3] = np.nan
    assert match([broken], [broken.copy()]) == {0: 0}
    assert match([broken], [x]) == {}
    assert match([np.full(4, np.inf)], [np.full(4, np.inf)]) == {0: 0}


def test_float_results_by_name_the_first_where_a_reshape_repeats_them() -> None:
    x, y = tensors(2)
    theirs = {"conv": y, "matmul": noisy(x, 1e-4), "reshape": noisy(x, 1e-4).reshape(8, 8)}
    assert match_floats({"mm": x}, theirs) == {"mm": "matmul"}
    assert match_floats({"mm": x, "conv2d": y}, theirs) == {"mm": "matmul", "conv2d": "conv"}


@pytest.mark.parametrize("share", [0.001, 0.03])
def test_float_results_must_be_close(share: float) -> None:
    (x,) = tensors(1)
    # The difference is relative to both norms together, so half of the share.
    found = match_floats({"mm": x}, {"matmul": noisy(x, 2 * share)})
    assert found == ({"mm": "matmul"} if share < 0.02 else {})


def test_what_a_relu_took_away_tells_two_float_results_apart() -> None:
    """A batch norm with a bias of -8e-7 after a relu, the relu behind it, and what it reads."""
    x = np.maximum(tensors(1)[0], 0)
    right = x - 8e-7
    theirs = {"cat": x, "batch_norm": right, "relu": np.maximum(right, 0)}
    half = {name: array.astype(np.float16).astype(np.float64) for name, array in theirs.items()}
    for names in (("cat", "batch_norm", "relu"), ("relu", "cat", "batch_norm")):
        found = match_floats({"batch_norm": right}, {name: half[name] for name in names})
        assert found == {"batch_norm": "batch_norm"}


def test_a_float_result_is_given_once() -> None:
    (x,) = tensors(1)
    assert match_floats({"a": x, "b": x}, {"one": x}) == {"a": "one"}
    assert match_floats({"a": x, "b": x}, {"one": x, "two": x}) == {"a": "one", "b": "two"}


def test_like_qparams_tell_apart_what_values_do_not() -> None:
    x, y = tensors(2)
    alike = np.array([[False, True], [True, False]])
    assert match([x, y], [x, y], alike, THRESHOLDS.by_qparams) == {0: 1, 1: 0}
    assert match([x, y], [x, y], alike, BY_VALUES) == {0: 0, 1: 1}
    assert match([x], [y], np.array([[True]]), THRESHOLDS.by_both) == {0: 0}


def test_what_a_file_may_leave_out_stands_back() -> None:
    (x,) = tensors(1)
    assert match([x, x, x], [x, x], spare=[False, True, False]) == {0: 0, 2: 1}
    assert match([x, x], [x, x], spare=[False, True]) == {0: 0, 1: 1}


def test_by_order_and_size_alone() -> None:
    assert match_order([4, 8, 8, 2], [4, 8, 8, 2]) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert match_order([4, 8, 2], [8, 2, 6]) == {1: 0, 2: 1}
    assert match_order([], [3]) == {}
