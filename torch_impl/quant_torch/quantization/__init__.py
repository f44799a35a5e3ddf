"""The quantizer, its configs and its specs."""

from quant_torch.quantization._input_failures import ExampleInputsError
from quant_torch.quantization.config import (
    ExecutionMode,
    InvalidExecutionModeError,
    ModuleQuantizerConfig,
    OpQuantizerConfig,
    QuantizerConfig,
)
from quant_torch.quantization.quantizer import Quantizer
from quant_torch.quantization.spec import (
    QuantizationFormulation,
    QuantizationScheme,
    QuantizationSpec,
)

__all__ = [
    "ExampleInputsError",
    "ExecutionMode",
    "InvalidExecutionModeError",
    "ModuleQuantizerConfig",
    "OpQuantizerConfig",
    "QuantizationFormulation",
    "QuantizationScheme",
    "QuantizationSpec",
    "Quantizer",
    "QuantizerConfig",
]
