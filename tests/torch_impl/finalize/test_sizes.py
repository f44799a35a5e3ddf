"""Files are as large as the spec says: codes at their width, scales, and what is not quantized."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.torch_impl.finalize.specs import per_block, per_channel
from torch import nn

from quant_torch.export import to_coreai, to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

SIZE, LAYERS = 1024, 8  # 8 million weights: 2 MB even at two bits
CHANNELS = per_channel(0)


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("backend", "dtype", "bits", "granularity", "qparam_bytes"),
    [
        ("coreai", "int2", 2, CHANNELS, 5),
        ("coreai", "int4", 4, per_block(32), 5),
        ("coreai", "int8", 8, CHANNELS, 5),
        ("coreai", "float8_e4m3fn", 8, CHANNELS, 4),
        ("coreai", "float4_e2m1fn", 4, per_block(32), 1),
        ("coreml", "int4", 4, per_block(32), 4),
        ("coreml", "uint8", 8, CHANNELS, 5),
    ],
)
def test_size(backend, dtype, bits, granularity, qparam_bytes, tmp_path) -> None:
    pytest.importorskip("coreai_torch" if backend == "coreai" else "coremltools")
    model = nn.Sequential(*(nn.Linear(SIZE, SIZE) for _ in range(LAYERS))).eval()
    only_weights = {"op_input_spec": None, "op_output_spec": None}
    spec = {"dtype": dtype, "granularity": granularity}
    body = {
        "execution_mode": "eager",
        "global_config": {**only_weights, "op_state_spec": {"weight": spec}},
    }
    config = QuantizerConfig.from_dict({"quantization_config": body})
    x = torch.randn(1, SIZE)
    quantizer = Quantizer(model, config)
    quantizer.prepare((x,))
    if backend == "coreai":
        path = to_coreai(quantizer, (x,), tmp_path / "m.aimodel")
    else:
        path = to_coreml(quantizer, (x,), tmp_path / "m.mlpackage")
    blocks = SIZE * (SIZE // 32 if granularity["type"] == "per_block" else 1)
    per_layer = SIZE * SIZE * bits / 8 + blocks * qparam_bytes + SIZE * 4
    assert 0.95 <= size_of(path) / (LAYERS * per_layer) <= 1.05
