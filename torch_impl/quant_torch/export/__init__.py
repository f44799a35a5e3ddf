"""From a prepared quantizer, or a finalized model, to a file in one call."""

from quant_torch.export._coreai import save_coreai, to_coreai
from quant_torch.export._coreml import save_coreml, to_coreml

__all__ = ["save_coreai", "save_coreml", "to_coreai", "to_coreml"]
