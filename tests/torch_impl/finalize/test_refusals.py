"""What a backend cannot express is refused by name, and nothing has changed then."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.torch_impl.finalize.specs import PER_TENSOR, per_block, per_channel
from torch import nn

from quant_torch import CoreMLExportError, ExportBackend
from quant_torch.quantization import Quantizer, QuantizerConfig

MODES = ("eager", "graph")


def prepared(mode: str, weight: Any, activation: Any, model: nn.Module | None = None) -> Quantizer:
    model = nn.Sequential(nn.Linear(32, 4), nn.ReLU()) if model is None else model
    config = QuantizerConfig.from_dict(
        {
            "quantization_config": {
                "execution_mode": mode,
                "global_config": {
                    "op_state_spec": {"weight": weight},
                    "op_input_spec": {"*": activation},
                    "op_output_spec": None,
                },
            }
        }
    )
    quantizer = Quantizer(model.eval(), config)
    quantizer.prepare((torch.randn(2, 32),))
    return quantizer


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_refused(quantizer: Quantizer, backend: ExportBackend, *words: str) -> None:
    model = quantizer._prepared
    before, printed = state(model), repr(model)
    error = CoreMLExportError if backend is ExportBackend.CoreML else ValueError
    with pytest.raises(error) as caught:
        quantizer.finalize(backend=backend)
    for word in words:
        assert word in str(caught.value)
    assert repr(model) == printed
    after = model.state_dict()
    assert list(after) == list(before)
    for name, tensor in before.items():
        assert torch.equal(after[name].view(torch.uint8), tensor.view(torch.uint8))


INT8 = {"dtype": "int8"}
MINVAL = {"dtype": "int4", "qformulation": "minval"}
FP8 = {"dtype": "float8_e4m3fn"}
FP4 = {"dtype": "float4_e2m1fn", "granularity": per_block(32)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("weight", "activation", "words"),
    [
        (INT8, {"dtype": "int4"}, ["int4 per_tensor", "int8, uint8, float8_e4m3fn"]),
        (INT8, {"dtype": "uint2"}, ["uint2 per_tensor"]),
        (INT8, {**INT8, "granularity": per_block(8)}, ["int8 per_block", "per channel"]),
        (INT8, {**INT8, "qparam_calculator_cls": "dynamic"}, ["dynamic", "moving_average"]),
        ({"dtype": "float4_e2m1fn"}, None, ["0.weight", "float4_e2m1fn per_tensor", "last axis"]),
        ({**FP4, "granularity": per_block(4, 0)}, None, ["0.weight", "float4_e2m1fn per_block"]),
    ],
)
def test_coreai(mode, weight, activation, words) -> None:
    assert_refused(prepared(mode, weight, activation), ExportBackend.CoreAI, *words)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("weight", "activation", "words"),
    [
        ({"dtype": "int2"}, None, ["0.weight", "int2 per_tensor", "int4, uint4, int8 or uint8"]),
        ({"dtype": "uint2"}, None, ["0.weight", "uint2"]),
        (FP8, None, ["0.weight", "float8_e4m3fn"]),
        (FP4, None, ["0.weight", "float4_e2m1fn"]),
        (MINVAL, None, ["0.weight", "int4 minval per_tensor", "qformulation zp"]),
        (INT8, FP8, ["float8_e4m3fn per_tensor", "int8 or uint8 activations"]),
        (INT8, {"dtype": "int4"}, ["int4"]),
        (INT8, {**INT8, "granularity": per_channel(-1)}, ["per_channel", "activations per tensor"]),
        (INT8, {**INT8, "granularity": per_block(8)}, ["per_block"]),
        (INT8, {**INT8, "qparam_calculator_cls": "dynamic"}, ["dynamic"]),
    ],
)
def test_coreml(mode, weight, activation, words) -> None:
    assert_refused(prepared(mode, weight, activation), ExportBackend.CoreML, *words)


@pytest.mark.parametrize("mode", MODES)
def test_every_tensor_is_named_at_once(mode) -> None:
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 4))
    quantizer = prepared(mode, {"dtype": "int2"}, {**FP8, "granularity": PER_TENSOR}, model)
    assert_refused(quantizer, ExportBackend.CoreML, "0.weight", "1.weight", "activation")


@pytest.mark.parametrize("mode", MODES)
def test_a_convolution_does_not_take_fp4(mode) -> None:
    model = nn.Conv1d(32, 4, 3)
    config = {
        "execution_mode": mode,
        "global_config": {
            "op_state_spec": {"weight": FP4},
            "op_input_spec": None,
            "op_output_spec": None,
        },
    }
    quantizer = Quantizer(model.eval(), QuantizerConfig.from_dict({"quantization_config": config}))
    quantizer.prepare((torch.randn(1, 32, 9),))
    assert_refused(quantizer, ExportBackend.CoreAI, "weight", "(4, 32, 3)", "int8")


@pytest.mark.parametrize("mode", MODES)
def test_after_a_refusal_the_other_backend_is_open(mode) -> None:
    quantizer = prepared(mode, MINVAL, None)
    assert_refused(quantizer, ExportBackend.CoreML, "minval")
    x = torch.randn(2, 32)
    wanted = quantizer._prepared(x)
    assert torch.equal(quantizer.finalize(backend=ExportBackend.CoreAI)(x), wanted)


@pytest.mark.parametrize("mode", MODES)
def test_a_bfloat16_model_is_not_for_core_ml(mode) -> None:
    model = nn.Sequential(nn.Linear(32, 4)).bfloat16().eval()
    quantizer = Quantizer(model, QuantizerConfig.presets.w8(execution_mode=mode))
    quantizer.prepare((torch.randn(2, 32).bfloat16(),))
    assert_refused(quantizer, ExportBackend.CoreML, "0.weight", "bfloat16", "model.float()")


@pytest.mark.parametrize("mode", MODES)
def test_order(mode) -> None:
    quantizer = Quantizer(nn.Linear(4, 4), QuantizerConfig.presets.w8(execution_mode=mode))
    with pytest.raises(RuntimeError, match=r"prepare\(\) first"):
        quantizer.finalize()
    quantizer.prepare((torch.randn(1, 4),))
    with (
        quantizer.calibration_mode(),
        pytest.raises(RuntimeError, match=r"inside calibration_mode"),
    ):
        quantizer.finalize()
    quantizer.finalize()
    with pytest.raises(RuntimeError, match=r"finalize"):
        quantizer.finalize()


@pytest.mark.parametrize("mode", MODES)
def test_without_coreai_torch_the_extra_is_named(mode, monkeypatch) -> None:
    quantizer = prepared(mode, INT8, None)
    monkeypatch.setitem(__import__("sys").modules, "coreai_torch._compression.custom_layers", None)
    with pytest.raises(ImportError, match=r"quant-conformance\[coreai\]"):
        quantizer.finalize(backend=ExportBackend.CoreAI)
    quantizer.finalize(backend=ExportBackend.CoreML)
