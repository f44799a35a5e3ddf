"""Patterns that users add to graph mode: which operations are quantized as one.

::

    from quant_torch.quantization.graph_patterns import ACTIVATIONS, register_pattern

    register_pattern("div_act", ["div", ACTIVATIONS])
    register_pattern("add_mul_sub", [torch.add, torch.mul, torch.sub])
"""

from quant_torch.quantization._graph.patterns import (
    ACTIVATIONS,
    BUILT_IN,
    Pattern,
    patterns,
    register_pattern,
    unregister_pattern,
)

__all__ = [
    "ACTIVATIONS",
    "BUILT_IN",
    "Pattern",
    "patterns",
    "register_pattern",
    "unregister_pattern",
]
