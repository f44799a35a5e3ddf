"""e8m0 scales that float16 does not have: coreai-torch makes NaN of such constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.torch_impl.finalize.specs import E8M0, assert_same_bits, expected, per_block, per_channel
from tests.torch_impl.finalize.test_coreai_forms import stored
from torch import nn

from quant_torch.export import to_coreai
from quant_torch.quantization import Quantizer, QuantizerConfig
from quant_torch.quantization._finalize.coreai import load_operators

pytest.importorskip("coreai_torch")

FP8 = {"dtype": "float8_e4m3fn", "scale_dtype": E8M0, "granularity": per_channel(0)}
FP4 = {"dtype": "float4_e2m1fn", "granularity": per_block(32)}


@pytest.fixture(scope="module", autouse=True)
def operators() -> None:
    load_operators()


@pytest.mark.parametrize(
    ("exponent", "in_table"), [(-24, False), (-25, True), (15, False), (16, True)]
)
def test_how_scales_are_held(exponent: int, in_table: bool) -> None:
    # The greatest power of two of the format is 2**8, so this is the scale of the first row.
    tensor = torch.tensor([[2.0 ** (exponent + 8), 0.0], [1.0, -0.5]])
    codes, qparams, values = expected(FP8, tensor)
    module = stored(FP8, tensor)
    assert (module.scale is None) is (module.scale_table is not None) is in_table
    assert module.scales().dtype is torch.float8_e8m0fnu
    assert module.scales().float()[0] == 2.0**exponent
    assert_same_bits(module.scales().float(), qparams.scale)
    assert_same_bits(module.codes.view(torch.uint8), codes)
    assert_same_bits(module(), values)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("spec", [FP8, FP4], ids=["fp8", "fp4"])
@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_a_block_of_zeros_through_a_file(mode: str, spec, half: bool, tmp_path: Path) -> None:
    from quant_conformance.runtimes import CoreAIExecutor

    model = nn.Linear(64, 2, bias=False).eval()
    with torch.no_grad():  # eighths: no product or sum below is rounded
        model.weight.copy_(torch.arange(128).reshape(2, 64) % 5 / 8 - 0.25)
        model.weight[1, 32:] = 0
        if spec is FP8:
            model.weight[1] = 0
    config = {
        "execution_mode": mode,
        "global_config": {
            "op_input_spec": None, "op_output_spec": None, "op_state_spec": {"weight": spec}
        },
    }  # fmt: skip
    quantizer = Quantizer(model, QuantizerConfig.from_dict({"quantization_config": config}))
    x = torch.ones(1, 64)
    prepared = quantizer.prepare((x,))
    with torch.no_grad():
        wanted = prepared(x).numpy()
    codes, qparams, _ = expected(spec, model.weight)
    path = to_coreai(quantizer, (x,), tmp_path / "m.aimodel", cast_16bit=half)
    dtype = np.float16 if half else np.float32
    with CoreAIExecutor(path) as executor:
        (result,) = executor.run({executor.inputs[0]: x.numpy().astype(dtype)}).values()
        (weight,) = executor.stored
    np.testing.assert_array_equal(result, wanted)
    assert_same_bits(weight.codes, codes)
    assert_same_bits(weight.scale.astype(np.float32), qparams.scale)
    assert weight.scale.dtype.name == E8M0
