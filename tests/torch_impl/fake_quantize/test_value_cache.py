"""Weights that are not quantized anew: never a stale value, however the weight was written."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quant_reference import PerChannel, QuantizationSpec, fake_quantize
from quant_reference import QParams as ReferenceQParams
from quant_torch.quantization import Quantizer, QuantizerConfig
from quant_torch.quantization.spec import QuantizationComponentFactory
from quant_torch.quantization.spec import QuantizationSpec as TorchSpec
from quant_torch.quantization.spec._fast import kernels
from quant_torch.quantization.spec._fast.memory import (
    fingerprint,
    has_fingerprint,
    holds_zero_byte,
    same_bits,
)
from quant_torch.quantization.spec._fast.value_cache import ValueCache
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase

SHAPES = {"linear": (24, 17), "conv": (6, 5, 3, 3)}


def module(qformulation: str = "zp") -> FakeQuantizeImplBase:
    spec = TorchSpec(
        granularity={"type": "per_channel", "axis": 0}, qscheme="asymmetric",
        qformulation=qformulation,
    )  # fmt: skip
    made = QuantizationComponentFactory.create_fake_quantizer(spec, "weight", "w").eval()
    return made


def expected(weight: Tensor, of: FakeQuantizeImplBase) -> Tensor:
    """The reference's answer for the qparams as they stand."""
    kind = {torch.bfloat16: ml_dtypes.bfloat16, torch.float16: np.float16}
    x = weight.detach().float().numpy().astype(kind.get(weight.dtype, np.float32))
    spec = QuantizationSpec(
        granularity=PerChannel(0), qscheme="asymmetric", qformulation=str(of.qformulation)
    )
    scale, zero_point, minval = (t.detach().numpy() for t in of.calculate_qparams())
    values = fake_quantize(x, spec, ReferenceQParams(scale, zero_point, minval))
    return torch.from_numpy(values.astype(np.float32)).to(weight.dtype)


def observed(weight: Tensor, qformulation: str = "zp") -> FakeQuantizeImplBase:
    """A module that has seen the weight, with its values kept."""
    made = module(qformulation)
    with torch.no_grad():
        made(weight)
        made.disable_observer()
        assert made(weight).data_ptr() == made(weight).data_ptr(), "nothing is kept"
    return made


WRITES: dict[str, Callable[[Tensor], object]] = {
    "one element through data": lambda w: w.data.view(-1)[37].fill_(0.5),
    "the last element through data": lambda w: w.data.view(-1)[-1].fill_(-0.25),
    "all of it through data": lambda w: w.data.copy_(w.data.flip(0)),
    "other storage": lambda w: setattr(w, "data", w.data.flip(0).clone()),
    "in place": lambda w: w.mul_(0.5),
    "in place, detached": lambda w: w.detach().view(-1)[37].fill_(0.5),
    "through numpy": lambda w: w.detach().numpy().__setitem__((3, 4), 0.125),
    "a NaN": lambda w: w.data.view(-1)[5].fill_(float("nan")),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("qformulation", ["zp", "minval"])
def test_a_written_weight_is_quantized_anew(write: str, shape: str, qformulation: str) -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(SHAPES[shape]), requires_grad=False)
    made = observed(weight, qformulation)
    before = made(weight).clone()
    WRITES[write](weight)
    after = made(weight)
    torch.testing.assert_close(after, expected(weight, made), rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(after, before)


def test_no_element_is_overlooked() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(12, 11), requires_grad=False)
    made = observed(weight)
    for index in range(weight.numel()):
        weight.data.view(-1)[index] *= -0.5
        assert torch.equal(made(weight), expected(weight, made)), index


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_weights(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(9, 7).to(dtype), requires_grad=False)
    made = observed(weight)
    weight.data[3, 4] = 7
    assert torch.equal(made(weight), expected(weight, made))


def test_another_layout_of_the_same_memory() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(9, 9), requires_grad=False)
    made = observed(weight)
    weight.data = weight.data.t()
    assert torch.equal(made(weight), expected(weight, made))


def test_channels_last_is_kept_and_compared() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 5, 3, 3).to(memory_format=torch.channels_last)
    weight = nn.Parameter(weight, requires_grad=False)
    made = observed(weight)
    weight.data[3, 4, 1, 2] = 7
    assert torch.equal(made(weight), expected(weight, made))


@pytest.mark.parametrize("name", ["scale", "zero_point", "minval"])
@pytest.mark.parametrize("through_data", [True, False])
def test_written_qparams(name: str, through_data: bool) -> None:
    """Averaged models copy buffers through ``.data``."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(24, 17), requires_grad=False)
    made = observed(weight, "minval" if name == "minval" else "zp")
    before = made(weight).clone()
    buffer = getattr(made.qparams_calculator, name)
    buffer = buffer.data if through_data else buffer
    buffer.copy_(buffer + 3 if name == "zero_point" else buffer * 1.5)
    assert torch.equal(made(weight), expected(weight, made))
    assert not torch.equal(made(weight), before)


def test_a_written_result_is_not_handed_out_again() -> None:
    weight = nn.Parameter(torch.randn(24, 17), requires_grad=False)
    made = observed(weight)
    made(weight).zero_()
    assert torch.equal(made(weight), expected(weight, made))


def test_the_weight_of_a_model() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(16, 8).eval()
    config = QuantizerConfig.presets.w8(execution_mode="eager")
    prepared = Quantizer(layer, config).prepare((torch.randn(2, 16),))
    original = prepared.parametrizations.weight.original
    x = torch.randn(2, 16)
    with torch.no_grad():
        prepared(x)
        original.data[3, 4] = 7
        (quantizer,) = prepared.parametrizations.weight
        weight = expected(original, quantizer)
        assert torch.equal(prepared(x), nn.functional.linear(x, weight, layer.bias))


def test_an_unchanged_weight_is_not_quantized_again(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = nn.Parameter(torch.randn(24, 17), requires_grad=False)
    made = observed(weight)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("quantized again")

    monkeypatch.setattr(kernels, "fake_quantize", refuse)
    made(weight)


def test_training_and_gradients_bypass_it() -> None:
    weight = nn.Parameter(torch.randn(24, 17))
    made = module()
    made(weight)
    made.disable_observer()
    assert made(weight).grad_fn is not None
    assert made._cache._values is None
    with torch.no_grad():
        made.train()(weight)
    assert made._cache._values is None


BN_WRITES: dict[str, Callable[[nn.Module], object]] = {
    "weight": lambda m: m.get_parameter("0.weight").data[2, 1].fill_(3.0),
    "bias": lambda m: m.get_parameter("0.bias").data[2].fill_(3.0),
    "gamma": lambda m: m.get_parameter("1.weight").data[1].fill_(2.0),
    "beta": lambda m: m.get_parameter("1.bias").data[3].fill_(2.0),
    "mean": lambda m: m.get_buffer("1.running_mean").data[0].fill_(0.75),
    "variance": lambda m: m.get_buffer("1.running_var").data[4].fill_(0.25),
}


@pytest.mark.parametrize("write", BN_WRITES)
def test_a_layer_with_batch_norm_is_folded_anew(write: str) -> None:
    """A copy of the model keeps nothing, so it computes everything anew."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()).eval()
    x = torch.randn(2, 3, 8, 8)
    prepared = Quantizer(model).prepare((x,))
    with torch.no_grad():
        before = prepared(x)
        BN_WRITES[write](prepared)
        after = prepared(x)
        assert not torch.equal(before, after)
        assert torch.equal(after, copy.deepcopy(prepared)(x))


def test_a_folded_weight_is_not_read_twice() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)).eval()
    x = torch.randn(2, 3, 8, 8)
    prepared = Quantizer(model).prepare((x,))
    with torch.no_grad():
        prepared(x)
    (weight,) = [
        m
        for m in prepared.modules()
        if isinstance(m, FakeQuantizeImplBase) and m.quantization_target == "weight"
    ]
    folded, *qparams = weight._cache._contents
    assert folded is None
    assert all(kept is not None for kept in qparams)


def test_inference_tensors_are_not_kept() -> None:
    with torch.inference_mode():
        weight = torch.randn(24, 17)
    made = module()
    with torch.no_grad():
        made(weight)
        made.disable_observer()
        made(weight)
    assert made._cache._values is None


def test_copies_are_empty() -> None:
    weight = nn.Parameter(torch.randn(24, 17), requires_grad=False)
    made = observed(weight)
    assert made._cache._values is not None
    for copied in (copy.deepcopy(made._cache), pickle.loads(pickle.dumps(made._cache))):
        assert isinstance(copied, ValueCache)
        assert copied._values is None
    assert torch.equal(copy.deepcopy(made)(weight), made(weight))


def test_memory_with_gaps_is_never_read_as_if_it_had_none() -> None:
    expanded = torch.zeros(1).expand(1000)
    assert not same_bits(expanded, expanded)
    assert not same_bits(torch.zeros(4), torch.zeros(5))
    assert not same_bits(torch.zeros(4), torch.zeros(4, dtype=torch.int32))
    assert same_bits(torch.full((3,), torch.nan), torch.full((3,), torch.nan))
    assert not same_bits(torch.tensor(0.0), torch.tensor(-0.0))


@pytest.mark.parametrize("size", [0, 1, 7, 4096, 100_003])
def test_one_false_among_many(size: int) -> None:
    flags = torch.ones(size, dtype=torch.bool)
    assert not holds_zero_byte(flags)
    for index in {0, size // 2, size - 1} & set(range(size)):
        flags[index] = False
        assert holds_zero_byte(flags)
        flags[index] = True


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int32])
@pytest.mark.parametrize("size", [0, 1, 7, 4097])
def test_every_bit_counts_in_a_fingerprint(size: int, dtype: torch.dtype) -> None:
    tensor = torch.arange(size).to(dtype)
    known = fingerprint(tensor)
    assert has_fingerprint(tensor.clone(), known)
    raw = tensor.view(torch.uint8)
    for index in {0, len(raw) // 2, len(raw) - 1} & set(range(len(raw))):
        for bit in range(8):
            raw[index] ^= 1 << bit
            assert not has_fingerprint(tensor, known)
            raw[index] ^= 1 << bit
    assert has_fingerprint(tensor, known)


def test_a_tensor_that_has_gaps_has_no_fingerprint() -> None:
    assert not has_fingerprint(torch.zeros(1).expand(8), fingerprint(torch.zeros(8)))
