"""Look into a model: what a config can name in it, and how many bits its weights take."""

from quant_torch.inspection.bits_per_weight import BitsPerWeightResult, bits_per_weight
from quant_torch.inspection.model_inspector import ModelInspector
from quant_torch.inspection.types import (
    BoundaryEdge,
    InputEdge,
    ModelSummary,
    ModuleContext,
    ModuleInfo,
    OpInfo,
    SourceFrame,
)
from quant_torch.quantization.shares import LeftInFloat, QuantizedShares, quantized_shares

__all__ = [
    "BitsPerWeightResult",
    "BoundaryEdge",
    "InputEdge",
    "LeftInFloat",
    "ModelInspector",
    "ModelSummary",
    "ModuleContext",
    "ModuleInfo",
    "OpInfo",
    "QuantizedShares",
    "SourceFrame",
    "bits_per_weight",
    "quantized_shares",
]
