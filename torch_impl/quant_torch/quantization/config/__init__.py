"""Configs of the quantizer."""

from quant_torch.quantization.config.execution_mode import (
    ExecutionMode,
    InvalidExecutionModeError,
)
from quant_torch.quantization.config.module_config import ModuleQuantizerConfig
from quant_torch.quantization.config.op_config import OpQuantizerConfig
from quant_torch.quantization.config.quantizer_config import QuantizerConfig
from quant_torch.quantization.config.schedule import QATSchedule

__all__ = [
    "ExecutionMode",
    "InvalidExecutionModeError",
    "ModuleQuantizerConfig",
    "OpQuantizerConfig",
    "QATSchedule",
    "QuantizerConfig",
]
