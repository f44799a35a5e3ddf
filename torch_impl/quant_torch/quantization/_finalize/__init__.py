"""From a prepared model to the operators and buffers of a backend."""

from quant_torch.quantization._finalize.eager import finalize_eager
from quant_torch.quantization._finalize.graph import finalize_graph
from quant_torch.quantization.config import ExecutionMode

FINALIZERS = {ExecutionMode.EAGER: finalize_eager, ExecutionMode.GRAPH: finalize_graph}
"""What finalizes a model that a mode prepared."""

__all__ = ["FINALIZERS"]
