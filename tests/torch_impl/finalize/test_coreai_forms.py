"""Core AI forms of single tensors: stored codes and qparams, and the values they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.torch_impl.finalize.specs import (
    E8M0,
    PER_TENSOR,
    assert_same_bits,
    expected,
    fp8_specs,
    integer_specs,
    named,
    per_block,
    per_channel,
    quantizer,
    weight,
)

from quant_torch.quantization._finalize.coreai import (
    CoreAIActivation,
    CoreAIWeight,
    load_operators,
)
from quant_torch.quantization._finalize.facts import Facts
from quant_torch.quantization._finalize.storage import Storage

pytest.importorskip("coreai_torch")

GRANULARITIES = (
    PER_TENSOR,
    per_channel(0),
    per_channel(-1),
    per_block(8),
    per_block((2, -1), None),
)
WEIGHT_SPECS = [*integer_specs(GRANULARITIES), *fp8_specs(GRANULARITIES)]
ACTIVATION_SPECS = [
    *[s for s in integer_specs((PER_TENSOR, per_channel(-1))) if s["dtype"] in ("int8", "uint8")],
    *fp8_specs((PER_TENSOR, per_channel(1))),
]


@pytest.fixture(scope="module", autouse=True)
def operators() -> None:
    load_operators()


def stored(spec, tensor: torch.Tensor) -> CoreAIWeight:
    facts = Facts(quantizer(spec, tensor), "weight", tuple(tensor.shape), tensor.dtype)
    return CoreAIWeight(facts, tensor, Storage(None))


def assert_qparams(module: torch.nn.Module, qparams, spec, shape=None) -> None:
    def shaped(array):
        return array if shape is None else array.reshape(shape)

    assert_same_bits(module.scale.float(), shaped(qparams.scale))
    if "float" in spec["dtype"]:
        assert module.zero_point is None
        assert module.minval is None
    elif spec["qformulation"] == "zp":
        np.testing.assert_array_equal(module.zero_point.int(), shaped(qparams.zero_point))
        assert module.minval is None
    else:
        assert_same_bits(module.minval, shaped(qparams.minval))
        assert module.zero_point is None


@pytest.mark.parametrize("spec", WEIGHT_SPECS, ids=named)
def test_weight(spec) -> None:
    tensor = weight(8, 16)
    codes, qparams, values = expected(spec, tensor)
    module = stored(spec, tensor)
    # With clipping, minval counts from a code that the operator does not know of: codes move.
    clipped = spec["dtype"].startswith("int") and "clipping" in spec["qscheme"]
    moved = -1 if clipped and spec["qformulation"] == "minval" else 0
    raw = module.codes.view(torch.uint8 if codes.dtype == np.uint8 else torch.int8)
    assert_same_bits(raw, codes + codes.dtype.type(moved))
    assert_qparams(module, qparams, spec)
    assert_same_bits(module(), values)
    assert module.scale.dtype is (
        torch.float8_e8m0fnu if spec.get("scale_dtype") else torch.float32
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("spec", WEIGHT_SPECS[::7], ids=named)
def test_weight_of_a_half_precision_model(spec, dtype) -> None:
    tensor = weight(8, 16, dtype=dtype)
    _, qparams, values = expected(spec, tensor)
    module = stored(spec, tensor)
    assert_qparams(module, qparams, spec)
    assert_same_bits(module(), values)


@pytest.mark.parametrize("shape", [(8,), (4, 6, 3), (4, 6, 3, 3), (4, 6, 2, 3, 3)])
def test_weight_of_any_rank(shape) -> None:
    for granularity in (PER_TENSOR, per_channel(0), per_channel(len(shape) - 1)):
        spec = {"dtype": "int4", "qscheme": "asymmetric", "granularity": granularity}
        tensor = weight(*shape)
        codes, qparams, values = expected(spec, tensor)
        module = stored(spec, tensor)
        assert_same_bits(module.codes, codes)
        assert_qparams(module, qparams, {**spec, "qformulation": "zp"})
        assert_same_bits(module(), values)


@pytest.mark.parametrize("shape", [(4, 32), (4, 96), (3, 2, 64)])
@pytest.mark.parametrize("size", [2, 16, 32])
def test_fp4(shape, size) -> None:
    spec = {
        "dtype": "float4_e2m1fn",
        "granularity": per_block((1,) * (len(shape) - 1) + (size,), None),
    }
    tensor = weight(*shape)
    codes, qparams, values = expected(spec, tensor)
    module = stored(spec, tensor)
    packed = module.codes.elem
    assert packed.dtype is torch.uint8
    assert packed.shape == (*shape[:-1], shape[-1] // 2)
    assert_same_bits(packed & 15, codes[..., 0::2])
    assert_same_bits(packed >> 4, codes[..., 1::2])
    assert module.scale.dtype is torch.float8_e8m0fnu
    assert_same_bits(module.scale.float(), qparams.scale)
    assert_same_bits(module(), values)


@pytest.mark.parametrize("spec", ACTIVATION_SPECS, ids=named)
def test_activation(spec) -> None:
    seen = weight(4, 8)
    fake = quantizer(spec, seen, "activation")
    module = CoreAIActivation(Facts(fake, "activation"))
    _, qparams, _ = expected(spec, seen, "activation")
    channels = spec["granularity"]["type"] == "per_channel"
    assert_qparams(module, qparams, spec, (-1,) if channels else ())
    given = torch.cat([seen, seen * 3, torch.full((1, 8), torch.inf), -torch.full((1, 8), 1e30)])
    assert_same_bits(module(given), fake(given).numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("spec", ACTIVATION_SPECS[::3], ids=named)
def test_activation_of_a_half_precision_model(spec, dtype) -> None:
    fake = quantizer(spec, weight(4, 8, dtype=dtype), "activation")
    module = CoreAIActivation(Facts(fake, "activation"))
    given = weight(4, 8, dtype=dtype, seed=1) * 2
    assert module(given).dtype is dtype
    assert torch.equal(module(given), fake(given))


def test_per_channel_activation_of_a_higher_rank() -> None:
    spec = {"dtype": "uint8", "qscheme": "asymmetric", "granularity": per_channel(1)}
    seen = weight(2, 3, 4, 5)
    fake = quantizer(spec, seen, "activation")
    module = CoreAIActivation(Facts(fake, "activation"))
    assert module.axis == 1
    assert module.scale.shape == (3,)
    assert_same_bits(module(seen * 1.5), fake(seen * 1.5).numpy())


def test_large_weights_are_quantized_in_pieces(monkeypatch) -> None:
    tensor = weight(64, 32)
    for granularity in GRANULARITIES:
        spec = {"dtype": "int4", "qscheme": "asymmetric", "granularity": granularity}
        codes, _, _ = expected(spec, tensor)
        monkeypatch.setattr("quant_torch.quantization._finalize.storage._PIECE", 5 * 32)
        assert_same_bits(stored(spec, tensor).codes, codes)


def test_e8m0_scales_of_any_exponent() -> None:
    tensor = torch.tensor([[0.0, 2.0**-120], [448.0 * 2.0**100, 1.0]]).repeat(1, 16)
    spec = {"dtype": "float8_e4m3fn", "scale_dtype": E8M0, "granularity": per_channel(0)}
    _, qparams, values = expected(spec, tensor)
    module = stored(spec, tensor)
    assert_same_bits(module.scales().float(), qparams.scale)
    assert_same_bits(module(), values)
