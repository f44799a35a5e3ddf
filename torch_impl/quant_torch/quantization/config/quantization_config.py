"""Every class of :mod:`quant_torch.quantization.config`, where ``coreai_opt`` defines them."""

from quant_torch.quantization.config import (
    ExecutionMode,
    InvalidExecutionModeError,
    ModuleQuantizerConfig,
    OpQuantizerConfig,
    QATSchedule,
    QuantizerConfig,
)

__all__ = [
    "ExecutionMode",
    "InvalidExecutionModeError",
    "ModuleQuantizerConfig",
    "OpQuantizerConfig",
    "QATSchedule",
    "QuantizerConfig",
]
