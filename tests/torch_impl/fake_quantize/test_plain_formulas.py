"""The formulas alone and with every trick for speed: the same bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch_impl.finalize.specs import per_block, per_channel
from torch import Tensor

from quant_conformance.backends.quant_torch import QuantTorch
from quant_conformance.runner.invoke import invoke
from quant_torch.quantization.spec import QuantizationComponentFactory, QuantizationSpec
from quant_torch.quantization.spec import qparams_calculator as calculators
from quant_torch.quantization.spec._fast import kernels, known_maps, memory, value_cache
from quant_torch.quantization.spec._fast.switch import SWITCH, switched_off
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase
from quant_vectors import VectorSet, load

LEAST = {
    "range": 20,
    "qparams": 80,
    "observe": 60,
    "quantize": 80,
    "dequantize": 40,
    "fake_quantize": 700,
    "gradient": 40,
}
"""Family to the number of cases that are surely answered."""

EVERY = 8
"""Of the families other than fake_quantize, one case in so many."""

SPECS: dict[str, dict[str, Any]] = {
    "tensor": {},
    "asymmetric": {"qscheme": "asymmetric", "granularity": per_channel()},
    "minval": {"qscheme": "asymmetric", "qformulation": "minval", "granularity": per_channel()},
    "blocks": {"dtype": "int4", "granularity": per_block(32)},
    "fp8": {"dtype": "float8_e4m3fn", "granularity": per_channel()},
    "fp4": {"dtype": "float4_e2m1fn", "granularity": per_block(32)},
}


@pytest.fixture(scope="module")
def vectors() -> VectorSet:
    return load()


def made(spec: dict[str, Any], target: str) -> FakeQuantizeImplBase:
    of = QuantizationSpec(**spec)
    return QuantizationComponentFactory.create_fake_quantizer(of, target, "x")


def bits(tensors: tuple[Tensor | None, ...]) -> list[tuple[Any, ...] | None]:
    return [
        None
        if t is None
        else (
            t.dtype,
            t.shape,
            t.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes(),
        )
        for t in tensors
    ]


def without_payload(values: np.ndarray) -> bytes:
    """Bits of an answer; which NaN a NaN is, is free."""
    if values.dtype.kind in "iub":
        return values.tobytes()
    return np.where(np.isnan(values), values.dtype.type("nan"), values).tobytes()


@pytest.mark.parametrize("family", LEAST)
def test_vectors_have_one_answer(family: str, vectors: VectorSet) -> None:
    """The fast one is judged elsewhere, on the same cases."""
    backend, answered = QuantTorch(), 0
    cases = [case for case in vectors.cases if case.family == family]
    for case in cases[:: 1 if family == "fake_quantize" else EVERY]:
        inputs = vectors.inputs(case)
        fast = invoke(backend, case, inputs, "full")
        with switched_off():
            plain = invoke(backend, case, inputs, "full")
        assert (fast.kind, fast.refused) == (plain.kind, plain.refused), case.id
        assert fast.outputs.keys() == plain.outputs.keys(), case.id
        for name, values in fast.outputs.items():
            other = plain.outputs[name]
            assert (values.dtype, values.shape) == (other.dtype, other.shape), case.id
            assert without_payload(values) == without_payload(other), case.id
        answered += fast.kind == "answer"
    assert answered >= LEAST[family]


def steps(spec: dict[str, Any], target: str, dtype: torch.dtype, rows: int) -> list[Any]:
    """Bits of what a module gives in training and evaluation, asked twice, and its qparams."""
    module, found = made(spec, target), []
    generator = torch.Generator().manual_seed(rows)
    first = torch.randn(rows, 96, generator=generator).to(dtype)
    wide = torch.randn(rows, 96, generator=generator).to(dtype) * 3
    wide[0, :4] = torch.tensor([float("nan"), float("inf"), -0.0, -1e-9])
    grad = torch.randn(rows, 96, generator=generator).to(dtype)
    for x in (first, first * 1.5, wide):
        leaf = x.clone().requires_grad_()
        values = module(leaf)
        values.backward(grad)
        found += bits((values, leaf.grad, *module.calculate_qparams()))
        module.observer_enabled = x is first  # what comes last is clamped
    module.eval()
    with torch.no_grad():
        for _ in range(2):
            found += bits((module(wide), module(wide.clone(), overwrite=True)))
    codes = module.quantize(wide, *module.calculate_qparams())
    return found + bits((codes, module.dequantize(codes, *module.calculate_qparams())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [32, 8192])
@pytest.mark.parametrize("target", ["weight", "activation"])
@pytest.mark.parametrize("spec", SPECS)
def test_training_and_evaluation(spec: str, target: str, rows: int, dtype: torch.dtype) -> None:
    """Also of a tensor that is computed in parts: of more than half a million elements."""
    fast = steps(SPECS[spec], target, dtype, rows)
    with switched_off():
        plain = steps(SPECS[spec], target, dtype, rows)
    assert fast == plain


TRICKS: dict[str, tuple[Any, str]] = {
    "parts": (kernels, "_parts"),
    "scratch memory": (kernels, "_scratch_like"),
    "a gradient without where": (kernels, "_select"),
    "libc": (memory, "_memcmp"),
    "bools in libc": (memory, "_memchr"),
    "hashes": (memory.xxhash, "xxh3_128_digest"),
    "code maps": (known_maps.KnownMaps, "_anew"),
    "values": (value_cache, "_key"),
    "numbers": (calculators, "compute_qparams"),
}


def test_the_switch_turns_every_trick_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trick that it left on would be compared with itself; one that is never used, with none."""
    used: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            used[name] += 1
            return function(*args)

        return call

    for name, (home, attribute) in TRICKS.items():
        monkeypatch.setattr(home, attribute, counted(name, getattr(home, attribute)))
    for spec, target in (("tensor", "activation"), ("asymmetric", "weight")):
        steps(SPECS[spec], target, torch.float32, 32)
    assert set(used) == set(TRICKS)
    used.clear()
    with switched_off():
        for spec, target in (("tensor", "activation"), ("asymmetric", "weight")):
            steps(SPECS[spec], target, torch.float32, 32)
    assert not used
    assert SWITCH.on
