"""encode beside ml_dtypes' cast, and NVFP4 of 16 M values beside the E2M1 encode alone.

Nothing here fails for being slow: ratios are reported (goals: no slower than the cast, which
neither saturates nor tells NaN; scales and codes of NVFP4 within twice the encode).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quant_conformance.verdicts.bits import CODE_DTYPES
from quant_reference import encode
from quant_reference.block import block_form, block_quantize, block_scale

pytestmark = pytest.mark.benchmark

F32 = np.float32
CASTS = {name: dtype for name, dtype in CODE_DTYPES.items() if name != "float8_e8m0fnu"}


@pytest.fixture(scope="module")
def x() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(1 << 24).astype(F32)


@pytest.mark.parametrize("who", ["reference", "ml_dtypes"])
@pytest.mark.parametrize("name", CASTS)
def test_encode(benchmark: Any, x: NDArray[np.float32], name: str, who: str) -> None:
    benchmark.group = f"encode to {name}"
    part, dtype = x[: 1 << 22], CASTS[name]
    call = (lambda: encode(part, name)) if who == "reference" else (lambda: part.astype(dtype))
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("what", ["E2M1 encode alone", "NVFP4 scales and codes"])
def test_nvfp4(benchmark: Any, x: NDArray[np.float32], what: str) -> None:
    benchmark.group = "NVFP4 of 16 M values"
    form, amax = block_form("nvfp4"), np.asarray(np.abs(x).max())

    def quantized() -> None:
        block_quantize(x, block_scale(x, form, amax), form, amax)

    call = quantized if what.startswith("NVFP4") else lambda: encode(x, "float4_e2m1fn")
    benchmark.pedantic(call, rounds=3, warmup_rounds=1)
