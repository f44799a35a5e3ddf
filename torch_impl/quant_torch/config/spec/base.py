"""The spec under the name of its base in ``coreai_opt``."""

from quant_torch.quantization.spec.spec import QuantizationSpec as CompressionSpec

__all__ = ["CompressionSpec"]
