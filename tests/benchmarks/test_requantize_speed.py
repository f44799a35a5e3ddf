"""requantize of 16 M accumulators on one thread, each rule.

Nothing here fails for being slow: rates are reported (goals: 100 M/s for the rules in floating
point and with a single rounding, 40 M/s for those of two steps).
"""

from typing import Any

import numpy as np
import pytest

from quant_reference.integer import RULES, Requantization, requantize

pytestmark = pytest.mark.benchmark

SIDE = 4096
ROUNDS = 5
F32 = np.float32


@pytest.fixture(scope="module")
def acc() -> np.ndarray:
    return np.random.default_rng(0).integers(-(2**20), 2**20, (SIDE, SIDE), dtype=np.int32)


@pytest.mark.parametrize("layout", ["one scale", "a scale for each channel"])
@pytest.mark.parametrize("rule", RULES)
def test_requantize(benchmark: Any, acc: np.ndarray, rule: str, layout: str) -> None:
    scale = np.array(0.013, F32)
    if layout != "one scale":
        scale = np.random.default_rng(1).uniform(0.001, 0.02, SIDE).astype(F32)
    params = Requantization(np.array(0.02, F32), scale, np.array(0.11, F32), 3)
    benchmark.group = f"requantize 16 M, {layout}"
    benchmark.pedantic(lambda: requantize(acc, params, rule), rounds=ROUNDS, warmup_rounds=1)
    if benchmark.stats is not None:  # it is None under --benchmark-disable
        rate = round(acc.size / benchmark.stats.stats.min / 1e6)
        benchmark.extra_info["million_per_second"] = rate
        print(f"\n{rule}, {layout}: {rate} M/s")
