"""Files are as large as the spec says: codes at their width, scales, and what is not quantized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.torch_impl.finalize.specs import E8M0, per_block, per_channel
from torch import nn

from quant_torch.export import to_coreai, to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

SIZE, LAYERS = 1024, 8  # 8 million weights: 2 MB even at two bits
CHANNELS = per_channel(0)


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def linears(layers: int) -> nn.Sequential:
    """With normal weights: uniform ones share one e8m0 scale, which a file holds only once."""
    model = nn.Sequential(*(nn.Linear(SIZE, SIZE) for _ in range(layers))).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in model:
            layer.weight.normal_(std=0.02, generator=generator)
    return model


def quantizer_of(model: nn.Module, spec: dict[str, Any]) -> Quantizer:
    """Only the weights are quantized."""
    only_weights = {"op_input_spec": None, "op_output_spec": None}
    body = {
        "execution_mode": "eager",
        "global_config": {**only_weights, "op_state_spec": {"weight": spec}},
    }
    quantizer = Quantizer(model, QuantizerConfig.from_dict({"quantization_config": body}))
    quantizer.prepare((torch.randn(1, SIZE),))
    return quantizer


def implied(layers: int, bits: int, qparam_bytes: float, block: int | None) -> float:
    """Bytes of codes, qparams and float32 biases."""
    blocks = SIZE * (SIZE // block if block else 1)
    return layers * (SIZE * SIZE * bits / 8 + blocks * qparam_bytes + SIZE * 4)


@pytest.mark.parametrize(
    ("backend", "dtype", "qscheme", "bits", "granularity", "qparam_bytes"),
    [
        # A symmetric zero point is one number; uint4 ones take half a byte.
        ("coreai", "int2", "symmetric", 2, CHANNELS, 4),
        ("coreai", "int4", "symmetric", 4, per_block(32), 4),
        ("coreai", "uint4", "asymmetric", 4, per_block(32), 4.5),
        ("coreai", "int8", "symmetric", 8, CHANNELS, 4),
        ("coreai", "float8_e4m3fn", "symmetric", 8, CHANNELS, 4),
        ("coreai", "float4_e2m1fn", "symmetric", 4, per_block(32), 1),
        ("coreml", "int4", "symmetric", 4, per_block(32), 4),
        ("coreml", "uint4", "asymmetric", 4, per_block(32), 4.5),
        ("coreml", "uint8", "symmetric", 8, CHANNELS, 4),
    ],
)
def test_size(backend, dtype, qscheme, bits, granularity, qparam_bytes, tmp_path) -> None:
    pytest.importorskip("coreai_torch" if backend == "coreai" else "coremltools")
    spec = {"dtype": dtype, "qscheme": qscheme, "granularity": granularity}
    quantizer = quantizer_of(linears(LAYERS), spec)
    x = torch.randn(1, SIZE)
    if backend == "coreai":
        path = to_coreai(quantizer, (x,), tmp_path / "m.aimodel")
    else:
        path = to_coreml(quantizer, (x,), tmp_path / "m.mlpackage")
    wanted = implied(LAYERS, bits, qparam_bytes, granularity.get("block_size"))
    assert 0.95 <= size_of(path) / wanted <= 1.05


@pytest.mark.parametrize(
    ("spec", "bits"),
    [
        ({"dtype": "float4_e2m1fn", "granularity": per_block(32)}, 4),
        ({"dtype": "float8_e4m3fn", "scale_dtype": E8M0, "granularity": per_block(32)}, 8),
    ],
    ids=["fp4", "fp8"],
)
def test_size_with_blocks_of_zeros(spec: dict[str, Any], bits: int, tmp_path: Path) -> None:
    """Their scales, 2**-126, are none that coreai-torch can write as they are."""
    pytest.importorskip("coreai_torch")
    model = linears(2)
    with torch.no_grad():
        for layer in model:
            layer.weight[7, 64:96] = 0
    path = to_coreai(quantizer_of(model, spec), (torch.randn(1, SIZE),), tmp_path / "m.aimodel")
    assert 0.95 <= size_of(path) / implied(2, bits, 1, 32) <= 1.05
