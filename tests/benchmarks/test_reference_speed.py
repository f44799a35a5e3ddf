"""fake_quantize of 16 M float32 values to int8, beside torch on one thread.

Nothing here fails for being slow: the times and the ratios are reported (goals: 5 times torch per
tensor, 3 times per channel and per block).
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from quant_reference import (
    PerBlock,
    PerChannel,
    PerTensor,
    QParams,
    QuantizationSpec,
    compute_qparams,
    fake_quantize,
    value_range,
)

pytestmark = pytest.mark.benchmark

SIDE = 4096
ROUNDS = 9
GRANULARITIES = {
    "per tensor": PerTensor(),
    "per channel 0": PerChannel(0),
    "per channel 1": PerChannel(1),
    "per block 32 on axis 0": PerBlock(0, 32),
    "per block 32 on axis 1": PerBlock(1, 32),
}


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spec_and_qparams(x: np.ndarray, layout: str) -> tuple[QuantizationSpec, QParams]:
    spec = QuantizationSpec(granularity=GRANULARITIES[layout])
    return spec, compute_qparams(*value_range(x, spec, "weight"), spec)


def torch_call(x: np.ndarray, layout: str, params: QParams) -> Callable[[], torch.Tensor]:
    """The same work for torch.

    It has no blocks, so each block becomes a channel of a matrix with rows of 32; where the
    blocks run down a column, the matrix is made before the clock starts, in torch's favour.
    """
    tensor = torch.from_numpy(x)
    scale = torch.from_numpy(params.scale.ravel())
    zero_point = torch.zeros(scale.numel(), dtype=torch.int32)
    if layout == "per tensor":
        return lambda: torch.fake_quantize_per_tensor_affine(tensor, float(scale), 0, -128, 127)
    axis = 1 if layout == "per channel 1" else 0
    if layout == "per block 32 on axis 1":
        tensor = tensor.reshape(-1, 32)
    elif layout == "per block 32 on axis 0":
        tensor = tensor.reshape(-1, 32, SIDE).permute(0, 2, 1).reshape(-1, 32)
    return lambda: torch.fake_quantize_per_channel_affine(
        tensor, scale, zero_point, axis, -128, 127
    )


@pytest.mark.parametrize("layout", GRANULARITIES)
@pytest.mark.parametrize("who", ["torch", "reference"])
def test_fake_quantize(benchmark: Any, x: np.ndarray, layout: str, who: str) -> None:
    """The ratio comes from rounds taken in turn, so that another load strikes both alike."""
    spec, params = spec_and_qparams(x, layout)
    theirs = torch_call(x, layout, params)
    benchmark.group = f"fake_quantize 16 M int8, {layout}"
    if who == "torch":
        benchmark.pedantic(theirs, rounds=ROUNDS, warmup_rounds=1)
        return
    torch_seconds: list[float] = []

    def time_torch() -> None:
        start = time.perf_counter()
        theirs()
        torch_seconds.append(time.perf_counter() - start)

    benchmark.pedantic(
        lambda: fake_quantize(x, spec, params), setup=time_torch, rounds=ROUNDS, warmup_rounds=1
    )
    if benchmark.stats is not None:  # it is None under --benchmark-disable
        ratio = round(min(torch_seconds) / benchmark.stats.stats.min, 2)
        benchmark.extra_info["times_as_fast_as_torch"] = ratio
        print(f"\n{layout}: {ratio} times as fast as torch")


@pytest.mark.parametrize("layout", GRANULARITIES)
def test_both_did_the_same_work(x: np.ndarray, layout: str) -> None:
    """On whole multiples of the scale nothing depends on how the quotient is rounded."""
    spec, params = spec_and_qparams(x, layout)
    whole = fake_quantize(x, spec, params)
    theirs = torch_call(whole, layout, params)().numpy()
    if layout == "per block 32 on axis 0":
        theirs = theirs.reshape(-1, SIDE, 32).transpose(0, 2, 1)
    np.testing.assert_array_equal(fake_quantize(whole, spec, params), theirs.reshape(x.shape))
