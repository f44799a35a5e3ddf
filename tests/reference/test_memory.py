"""How much memory the operations take beside their input: a limit that no other load can change."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from quant_reference import (
    PerBlock,
    PerChannel,
    PerTensor,
    QuantizationSpec,
    compute_qparams,
    dequantize,
    fake_quantize,
    fake_quantize_gradient,
    quantize,
    value_range,
)

GRANULARITIES = {
    "per tensor": PerTensor(),
    "per channel 0": PerChannel(0),
    "per channel 1": PerChannel(1),
    "per block 32 on axis 0": PerBlock(0, 32),
    "per block 32 on axis 1": PerBlock(1, 32),
}


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """16 MB, many times what the operations work on at once."""
    return np.random.default_rng(0).standard_normal((1024, 4096), dtype=np.float32)


def peak(call: Callable[[], object]) -> int:
    """Most bytes that were allocated at once while ``call`` ran; numpy tells tracemalloc."""
    call()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = call()
        most = tracemalloc.get_traced_memory()[1] - before
        del result
    finally:
        tracemalloc.stop()
    return most


@pytest.mark.parametrize("layout", GRANULARITIES)
@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn", "float4_e2m1fn"])
@pytest.mark.parametrize("transposed", [False, True])
def test_extra_memory_is_at_most_twice_the_input(
    x: np.ndarray, layout: str, dtype: str, transposed: bool
) -> None:
    """The result included: what remains for temporaries is one more input."""
    part = x.T if transposed else x
    spec = QuantizationSpec(dtype, granularity=GRANULARITIES[layout])
    params = compute_qparams(*value_range(part, spec, "weight"), spec)
    codes = quantize(part, spec, params)
    calls: list[Callable[[], object]] = [
        lambda: fake_quantize(part, spec, params),
        lambda: quantize(part, spec, params),
        lambda: dequantize(codes, spec, params),
        lambda: fake_quantize_gradient(part, part, spec, params),
    ]
    for call in calls:
        used = peak(call)
        assert part.nbytes // 4 <= used <= 2 * part.nbytes, f"{used / part.nbytes:.2f} inputs"
