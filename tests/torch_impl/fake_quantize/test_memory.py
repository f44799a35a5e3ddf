"""Fake-quantize modules in unusual hands: swapped memory, other defaults, rules of users."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.torch_impl.finalize.specs import (
    as_numpy,
    assert_same_bits,
    expected,
    named,
    per_block,
    per_channel,
    quantizer,
    weight,
)
from torch import Tensor

import quant_reference as reference
from quant_torch.quantization.spec import QuantizationComponentFactory, QuantizationSpec
from quant_torch.quantization.spec.qparams_calculator import (
    QParamsCalculatorBase,
    StatefulQParamsCalculatorBase,
)

SPECS = [
    {"qscheme": "asymmetric", "granularity": per_channel()},
    {"qscheme": "asymmetric", "qformulation": "minval", "granularity": per_channel()},
    {"dtype": "float8_e4m3fn", "granularity": per_channel()},
    {"dtype": "float4_e2m1fn", "granularity": per_channel()},
    {"qscheme": "asymmetric", "float_range": (-1.0, 1.0)},
]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class TestDefaultDtype:
    """Models in 16 bits are often made under another default dtype; the formulas know none."""

    @pytest.mark.parametrize("default", [torch.bfloat16, torch.float64], ids=str)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("spec", SPECS, ids=named)
    def test_values_and_gradients(
        self, spec: dict[str, Any], dtype: torch.dtype, default: torch.dtype
    ) -> None:
        x, grad = weight(6, 48, dtype=dtype), weight(6, 48, dtype=dtype, seed=9)

        def passes() -> tuple[Tensor, Tensor, Tensor]:
            module = quantizer(spec, x / 2)
            module.disable_observer()
            leaf = x.clone().requires_grad_()
            y = module(leaf)
            y.backward(grad)
            return module(x), y, leaf.grad

        with default_dtype(default), ThreadPoolExecutor(1) as new_thread:
            plain, y, given = new_thread.submit(passes).result()
        qparams = expected(spec, x / 2)[1]
        rules = reference.QuantizationSpec.from_dict(spec)
        wanted = reference.fake_quantize(as_numpy(x), rules, qparams)
        assert_same_bits(plain, wanted)
        assert_same_bits(y, wanted)
        wanted = reference.fake_quantize_gradient(as_numpy(x), as_numpy(grad), rules, qparams)
        assert_same_bits(given, wanted)


@pytest.mark.parametrize("name", ["scale", "minval"])
def test_swapped_qparams(name: str) -> None:
    """``buffer.data = other`` leaves the buffer and takes the memory from under it."""
    spec = {"qscheme": "asymmetric", "qformulation": "minval", "granularity": per_block(4)}
    x = weight(6, 16)
    module = quantizer(spec, x).eval()
    module.disable_observer()
    with torch.no_grad():
        module(x)
        buffer = getattr(module.qparams_calculator, name)
        buffer.data = buffer.data * 2
        rules = reference.QuantizationSpec.from_dict(spec)
        qparams = reference.QParams(*(as_numpy(q) for q in module.calculate_qparams()))
        assert_same_bits(module(x), reference.fake_quantize(as_numpy(x), rules, qparams))


class TestCalculatorsOfUsers:
    """What a calculator returns stays its own, and may be any tensor of the right content."""

    @staticmethod
    def using(calculator: type[StatefulQParamsCalculatorBase]) -> Any:
        key = f"test_memory_{calculator.__name__}"
        QParamsCalculatorBase.register(key)(calculator)
        spec = QuantizationSpec(granularity=per_channel(), qparam_calculator_cls=key)
        return QuantizationComponentFactory.create_fake_quantizer(spec, "weight", "w")

    def test_tensors_that_it_keeps_are_not_written(self) -> None:
        candidates = (torch.full((4, 1), 0.5), torch.full((4, 1), 0.25))
        turns = itertools.cycle(candidates)

        class Alternating(StatefulQParamsCalculatorBase):
            def compute_qparams(self, *given: Tensor) -> Any:
                return super().compute_qparams(*given)._replace(scale=next(turns))

        module = self.using(Alternating)
        for wanted in (0.5, 0.25, 0.5, 0.25):
            module(weight(4, 8))
            assert module.calculate_qparams().scale.flatten().tolist() == [wanted] * 4
        assert [c[0].item() for c in candidates] == [0.5, 0.25]

    def test_expanded_tensors(self) -> None:
        steps = iter((3.0, 5.0))

        class Expanding(StatefulQParamsCalculatorBase):
            def compute_qparams(self, *given: Tensor) -> Any:
                scale = torch.full((1, 1), next(steps)).expand(4, 1)
                return super().compute_qparams(*given)._replace(scale=scale)

        module = self.using(Expanding)
        for wanted in (3.0, 5.0):
            module(weight(4, 8))
            assert module.calculate_qparams().scale.flatten().tolist() == [wanted] * 4

    def test_learned_scales_stay_parameters(self) -> None:
        class Learned(StatefulQParamsCalculatorBase):
            def __init__(self, **given: Any) -> None:
                super().__init__(**given)
                self.learned = torch.nn.Parameter(torch.full((4, 1), 0.5))

            def compute_qparams(self, *given: Tensor) -> Any:
                return super().compute_qparams(*given)._replace(scale=self.learned)

        module = self.using(Learned)
        for _ in range(2):
            with torch.no_grad():
                module(weight(4, 8))
            assert module.calculate_qparams().scale is module.qparams_calculator.learned


@pytest.mark.parametrize("qformulation", ["zp", "minval"])
def test_a_loaded_scale_is_checked(qformulation: str) -> None:
    spec = {"qscheme": "asymmetric", "qformulation": qformulation, "granularity": per_channel()}
    x = weight(6, 16)
    module = quantizer(spec, x)
    module(x)
    scale = module.calculate_qparams().scale
    module.load_state_dict({**module.state_dict(), "qparams_calculator.scale": -scale})
    with pytest.raises(reference.InputError, match=r"scale.*Q-8"):
        module(x)


def test_a_gradient_can_be_differentiated() -> None:
    """As a penalty on gradients does: that of y² is 2·y where it passes, and so 2 in its turn."""
    spec = {"granularity": per_channel()}
    x = weight(6, 16)
    module = quantizer(spec, x / 2)
    module.disable_observer()
    leaf = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(module(leaf).square().sum(), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), leaf)
    rules, qparams = reference.QuantizationSpec.from_dict(spec), expected(spec, x / 2)[1]
    twos = torch.full_like(x, 2.0)
    wanted = reference.fake_quantize_gradient(as_numpy(x), as_numpy(twos), rules, qparams)
    assert 0 < (wanted == 0).sum() < wanted.size
    assert_same_bits(second, wanted)
