"""The fake-quantize base under the name of its own base in ``coreai_opt``."""

from quant_torch.quantization.spec.fake_quantize import (
    FakeQuantizeImplBase as CompressionSimulatorBase,
)

__all__ = ["CompressionSimulatorBase"]
