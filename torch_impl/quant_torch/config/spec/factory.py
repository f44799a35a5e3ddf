"""The factory under the name of its base in ``coreai_opt``."""

from quant_torch.common import CompressionTargetTensor
from quant_torch.quantization.spec.factory import (
    QuantizationComponentFactory as CompressionComponentFactoryBase,
)

__all__ = ["CompressionComponentFactoryBase", "CompressionTargetTensor"]
