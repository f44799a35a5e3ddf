"""The bases that configs have in ``coreai_opt``: here there is one class of each kind.

``isinstance`` checks and annotations of scripts written for it keep their meaning; subclass the
classes of :mod:`quant_torch.quantization`.
"""

from quant_torch.common import CompressionType
from quant_torch.config.compression_config import (
    CompressionConfig,
    ModuleCompressionConfig,
    OpCompressionConfig,
)
from quant_torch.config.spec import CompressionSpec

__all__ = [
    "CompressionConfig",
    "CompressionSpec",
    "CompressionType",
    "ModuleCompressionConfig",
    "OpCompressionConfig",
]
