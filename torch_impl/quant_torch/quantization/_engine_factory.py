"""The engine of each execution mode."""

from __future__ import annotations

from torch import nn

from quant_torch.quantization._engine import Engine
from quant_torch.quantization.config import ExecutionMode, QuantizerConfig


def create_engine(model: nn.Module, config: QuantizerConfig) -> Engine:
    """The engine of the config's execution mode; its module is imported only now.

    Raises:
        NotImplementedError: This build lacks the mode.
    """
    if config.execution_mode is ExecutionMode.EAGER:
        from quant_torch.quantization._eager.engine import EagerEngine

        return EagerEngine(model, config)
    try:
        from quant_torch.quantization._graph.engine import GraphEngine
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("quant_torch.quantization._graph"):
            raise
        raise NotImplementedError(
            "graph mode is not available in this build; use execution_mode='eager'"
        ) from None
    return GraphEngine(model, config)
