"""The configs under the names of their bases in ``coreai_opt``."""

from quant_torch.quantization.config import ModuleQuantizerConfig as ModuleCompressionConfig
from quant_torch.quantization.config import OpQuantizerConfig as OpCompressionConfig
from quant_torch.quantization.config import QuantizerConfig as CompressionConfig

__all__ = ["CompressionConfig", "ModuleCompressionConfig", "OpCompressionConfig"]
