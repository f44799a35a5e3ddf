"""The coreai-runtime backend: batches, what it says no to, and that a crash is a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from quant_conformance.backends.coreai_runtime import CoreAIRuntime
from quant_conformance.runner.in_process import InProcess
from quant_conformance.runner.questions import Limits
from quant_conformance.runtimes.coreai import client
from quant_conformance.runtimes.coreai.requests import Request
from quant_conformance.runtimes.coreai.types import ELEMENT_TYPES, from_system, to_system
from quant_reference import FORMATS, PerBlock, PerTensor, QParams, QuantizationSpec, encode
from quant_vectors import Case, VectorSet, load

IDS = [
    "decode/float4_e2m1fn/every-code",
    "dequantize/layout/square-block-axis1-2-int4-asym-minval",
    "quantize/zeros/float8_e4m3fn-e8m0-float16",
    "quantize/layout/act4d-channel-3-float8_e4m3fn-scale32",  # the system refuses this one
    "fake_quantize/not-finite/int4-sym-minval-float16",
    "qparams/small/uint8-asym-zp-nan",
]


@pytest.fixture(scope="module")
def vectors() -> VectorSet:
    return load()


def chosen(vectors: VectorSet) -> list[Case]:
    """The cases of IDS, and every 97th besides."""
    named = [vectors.case(name) for name in IDS]
    return [*named, *(case for case in vectors.cases[::97] if case.id not in IDS)]


def answers(vectors: VectorSet, cases: Sequence[Case], chunk: int) -> dict[str, Any]:
    """Asks the cases, as many at a time as the runner announces at a time."""
    questions = [(case, vectors.inputs(case)) for case in cases]
    executor = InProcess("coreai-runtime", questions, Limits())
    found = {}
    for start in range(0, len(cases), chunk):
        for index, outcome in executor.run(range(start, min(start + chunk, len(cases)))):
            outputs = {k: np.asarray(v).tobytes() for k, v in outcome.outputs.items()}
            text = outcome.text if outcome.kind == "unsupported" else ""
            found[cases[index].id] = (outcome.kind, outputs, text)
    return found


@pytest.mark.peers
def test_batches_give_the_bits_of_single_programs(vectors: VectorSet) -> None:
    pytest.importorskip("coreai")
    cases = chosen(vectors)
    together, alone = answers(vectors, cases, len(cases)), answers(vectors, cases, 1)
    assert together == alone
    assert sum(kind == "answer" for kind, _, _ in together.values()) > 15
    assert together["quantize/layout/act4d-channel-3-float8_e4m3fn-scale32"][0] == "raised"


def test_what_core_ai_lacks_says_so() -> None:
    backend = CoreAIRuntime()
    x = np.zeros((2, 4), np.float32)
    scales, zeros = np.ones((2, 2), np.float32), np.zeros((2, 2), np.int32)
    blocks = QuantizationSpec(granularity=PerBlock(axis=1, block_size=2))
    with pytest.raises(NotImplementedError, match="per tensor or along one axis"):
        backend.quantize(x, blocks, QParams(scales, zeros, None))
    with pytest.raises(NotImplementedError, match="no int2"):
        backend.encode(x, "int2")
    with pytest.raises(NotImplementedError, match="no minval"):
        backend.qparams(
            x, QuantizationSpec(qformulation="minval", granularity=PerTensor()), "weight"
        )
    with pytest.raises(NotImplementedError, match="no observer state"):
        backend.observe([x], QuantizationSpec(), "activation", "moving_average")


def test_a_runtime_that_dies_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WORKER", "tests.conformance.runtimes.coreai_workers")
    backend = CoreAIRuntime()
    x = np.float32([1, 2])

    def requests(operation: str) -> list[Request]:
        return [Request(operation, x, "float32", "float32")]

    monkeypatch.setattr(backend, "_decode", lambda *_: requests("live"))
    monkeypatch.setattr(backend, "_encode", lambda *_: requests("crash"))
    with pytest.raises(client.CoreAICrashError, match="SIGABRT"):
        backend.encode(x, "float8_e4m3fn")
    assert backend.decode(x, "float8_e4m3fn").tobytes() == x.tobytes()


@pytest.mark.parametrize("name", [name for name in FORMATS if name in ELEMENT_TYPES])
def test_codes_go_to_the_system_and_come_back(name: str) -> None:
    fmt = FORMATS[name]
    values = np.exp2(np.arange(-3, 4)).astype(np.float32)
    codes = encode(values, name)
    for given in (codes, codes[:0], codes[0].reshape(())):
        held = to_system(given, name)
        assert held.dtype == ELEMENT_TYPES[name]
        back = from_system(held)
        assert back.dtype == np.dtype(fmt.code_dtype)
        assert back.shape == given.shape
        assert back.tobytes() == given.tobytes()
