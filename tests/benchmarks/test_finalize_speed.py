"""Finalizing beside the peer, on the ResNet-18 layout at 1×3×64×64; reported as ratios of one run.

Nothing here fails for being slow. The goal: graph finalize at most 1/50 of the peer's.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.torch_impl.models import ResNet18

from quant_torch.quantization import Quantizer, QuantizerConfig

pytestmark = [pytest.mark.benchmark, pytest.mark.peers, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def prepared(quantizer: Any, config: Any) -> Any:
    """A quantizer that has prepared the model."""
    torch.manual_seed(0)
    made = quantizer(ResNet18().eval(), config)
    made.prepare((torch.randn(1, 3, 64, 64),))
    return made


def seconds(made: Any, backend: Any) -> float:
    start = time.perf_counter()
    made.finalize(backend=backend)
    return time.perf_counter() - start


@pytest.mark.parametrize("backend", ["CoreAI", "CoreML"])
@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_finalize(benchmark: Any, mode: str, backend: str) -> None:
    coreai_opt = pytest.importorskip("coreai_opt")
    from coreai_opt.quantization import Quantizer as Peer
    from coreai_opt.quantization import QuantizerConfig as PeerConfig
    from coreai_opt.quantization.config import ExecutionMode

    from quant_torch import ExportBackend

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = seconds(
            prepared(Peer, PeerConfig(execution_mode=ExecutionMode(mode))),
            getattr(coreai_opt.ExportBackend, backend),
        )

        def setup() -> tuple[tuple[Any, Any], dict[str, Any]]:
            config = QuantizerConfig(execution_mode=mode)
            return (prepared(Quantizer, config), ExportBackend[backend]), {}

        benchmark.pedantic(seconds, setup=setup, rounds=3, warmup_rounds=1)
    ours = benchmark.stats.stats.median
    benchmark.extra_info["peer_seconds"] = round(theirs, 3)
    benchmark.extra_info["ratio"] = round(ours / theirs, 4)
    print(f"{mode} {backend}: {ours:.3f} s, the peer {theirs:.2f} s, ratio 1/{theirs / ours:.0f}")
