"""BN-1 and BN-2: the folded weight and bias, against the oracle, by hand, and against torch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.support import DTYPES, Array, assert_same, numbers

from quant_reference import oracle
from quant_reference.batch_norm import fold_batch_norm
from quant_reference.oracle import ChannelStatistics, Number, arithmetic

FINITE = st.floats(-8, 8, width=16)
NOT_NEGATIVE = st.floats(0, 8, width=16)


def statistics(
    mean: Array, variance: Array, eps: float, gamma: Array | None, beta: Array | None
) -> list[ChannelStatistics]:
    count = mean.size
    ones, zeros = np.ones(count, np.float32), np.zeros(count, np.float32)
    columns: list[list[Number]] = [
        numbers(column)
        for column in (
            mean,
            variance,
            ones if gamma is None else gamma,
            zeros if beta is None else beta,
        )
    ]
    dtypes = tuple(
        (mean if column is None else column).dtype.name for column in (mean, variance, gamma, beta)
    )
    if gamma is None:  # 1 in the dtype of the root
        dtypes = (*dtypes[:2], dtypes[1], dtypes[3])
    return [
        ChannelStatistics(m, v, eps, g, b, dtypes)  # type: ignore[arg-type]
        for m, v, g, b in zip(*columns, strict=True)
    ]


def assert_like_the_oracle(
    weight: Array,
    bias: Array | None,
    norm: dict[str, Any],
    *,
    transposed: bool = False,
    groups: int = 1,
) -> None:
    dtype = weight.dtype.name
    kept = weight.tobytes()
    got_weight, got_bias = fold_batch_norm(
        weight, bias, **norm, transposed=transposed, groups=groups
    )
    assert weight.tobytes() == kept
    channels = statistics(**norm)
    expected = []
    for place, element in zip(np.ndindex(weight.shape), numbers(weight), strict=True):
        channel = place[0]
        if transposed:
            channel = oracle.output_channel(place, weight.shape[0], weight.shape[1], groups)
        expected.append(oracle.fold_weight(element, channels[channel], dtype))
    assert got_weight.shape == weight.shape
    assert_same(got_weight, expected, weight.dtype, weight)
    biases = [None] * len(channels) if bias is None else numbers(bias)
    of_bias = None if bias is None else bias.dtype.name
    folded = [oracle.fold_bias(b, c, dtype, of_bias) for b, c in zip(biases, channels, strict=True)]
    assert_same(got_bias, folded, weight.dtype)


@pytest.mark.parametrize("mixed", [False, True])
@given(data=st.data(), dtype=st.sampled_from(list(DTYPES)))
def test_any_layer(dtype: str, mixed: bool, data: st.DataObject) -> None:
    """In one dtype, or with each tensor in its own."""
    groups = data.draw(st.integers(1, 2))
    transposed = data.draw(st.booleans())
    channels = 2 * groups
    shape = (2 * groups, 2, 3) if transposed else (channels, 3)

    def draw(values: st.SearchStrategy[float], size: int) -> Array:
        drawn = data.draw(st.lists(values, min_size=size, max_size=size))
        own = data.draw(st.sampled_from(list(DTYPES))) if mixed else dtype
        return np.array(drawn, np.float32).astype(DTYPES[own])

    norm = {
        "mean": draw(FINITE, channels),
        "variance": draw(NOT_NEGATIVE, channels),
        "eps": data.draw(st.sampled_from([1e-5, 1e-3, 0.1])),
        "gamma": draw(FINITE, channels) if data.draw(st.booleans()) else None,
        "beta": draw(FINITE, channels) if data.draw(st.booleans()) else None,
    }
    weight = draw(FINITE, int(np.prod(shape))).reshape(shape)
    bias = draw(FINITE, channels) if data.draw(st.booleans()) else None
    assert_like_the_oracle(
        weight, bias, norm, transposed=transposed, groups=groups if transposed else 1
    )


def test_by_hand() -> None:
    """f = 3/√(3.75 + 0.25) = 1.5 and 1/√(0 + 0.25) = 2: every step is exact."""
    weight = np.array([[1.0, -2.0], [0.5, 4.0]], np.float32)
    folded, bias = fold_batch_norm(
        weight,
        np.array([1.0, 2.0], np.float32),
        gamma=np.array([3.0, 1.0], np.float32),
        beta=np.array([10.0, 20.0], np.float32),
        mean=np.array([2.0, -1.0], np.float32),
        variance=np.array([3.75, 0.0], np.float32),
        eps=0.25,
    )
    assert folded.tolist() == [[1.5, -3.0], [1.0, 8.0]]
    assert bias.tolist() == [8.5, 26.0]


@pytest.mark.parametrize("transposed", [False, True])
def test_torch_folds_to_nearly_the_same(transposed: bool) -> None:
    """Torch multiplies by a reciprocal root, so a few units in the last place may lie between."""
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((6, 4, 3, 3)).astype(np.float32)
    channels = 4 if transposed else 6
    mean, gamma, beta, bias = rng.standard_normal((4, channels)).astype(np.float32)
    variance = rng.random(channels).astype(np.float32)
    folded, new_bias = fold_batch_norm(
        weight, bias, gamma, beta, mean, variance, 1e-5, transposed=transposed
    )
    tensors = (torch.from_numpy(array) for array in (weight, bias, mean, variance))
    their_weight, their_bias = torch.nn.utils.fuse_conv_bn_weights(
        *tensors, 1e-5, torch.from_numpy(gamma), torch.from_numpy(beta), transpose=transposed
    )
    # At most five roundings apart on either side, each of half an ulp: 5 · 2^-23.
    theirs = their_weight.detach().numpy()
    assert (np.abs(folded - theirs) <= 5 * 2.0**-23 * np.abs(theirs)).all()
    # The sum of the bias may cancel; its terms bound the error.
    terms = np.abs((bias - mean) * gamma / np.sqrt(variance)) + np.abs(beta)
    assert (np.abs(new_bias - their_bias.detach().numpy()) <= 5 * 2.0**-23 * terms).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@given(bits=st.integers(0, 2**32 - 1))
def test_the_oracle_s_square_root_is_numpy_s(dtype: type, bits: int) -> None:
    value = np.array([bits], np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        value = value.astype(dtype)
        expected = np.sqrt(value)
    root = arithmetic.square_root(numbers(value)[0], oracle.DTYPES[np.dtype(dtype).name])
    assert_same(expected, [root], dtype, value)
