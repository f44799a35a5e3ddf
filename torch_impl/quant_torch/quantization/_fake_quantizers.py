"""The fake-quantize modules of a model."""

from __future__ import annotations

from torch import nn

from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase


def fake_quantizers(module: nn.Module) -> list[FakeQuantizeImplBase]:
    """Every fake-quantize module inside a module, each once."""
    return [m for m in module.modules() if isinstance(m, FakeQuantizeImplBase)]
