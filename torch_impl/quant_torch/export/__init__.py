"""From a prepared quantizer to a file, in one call."""

from quant_torch.export._coreai import to_coreai
from quant_torch.export._coreml import to_coreml

__all__ = ["to_coreai", "to_coreml"]
