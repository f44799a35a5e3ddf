"""One admissible evaluation of quantized layers: every operation in plain numpy, step by step.

Backends take it for what lies between their quantizers, mutants exchange one of its steps.
"""

from quant_conformance.plain_layers.layer_steps import Layers

__all__ = ["Layers"]
