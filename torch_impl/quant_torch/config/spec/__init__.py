"""The spec and its components under the names of their bases in ``coreai_opt``."""

from quant_torch.common import CompressionTargetTensor, CompressionType
from quant_torch.config.spec.base import CompressionSpec
from quant_torch.config.spec.compression_simulator import CompressionSimulatorBase
from quant_torch.config.spec.factory import CompressionComponentFactoryBase

__all__ = [
    "CompressionComponentFactoryBase",
    "CompressionSimulatorBase",
    "CompressionSpec",
    "CompressionTargetTensor",
    "CompressionType",
]
