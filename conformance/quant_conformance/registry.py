"""The backends that come with the suite: a new one is a file in backends/ and a line here."""

from __future__ import annotations

BACKENDS: dict[str, str] = {
    "numpy-reference": "quant_conformance.backends.numpy_reference:NumpyReference",
    "ml-dtypes": "quant_conformance.backends.ml_dtypes:MlDtypes",
    "torch": "quant_conformance.backends.torch:Torch",
    "onnxruntime": "quant_conformance.backends.onnxruntime:OnnxRuntime",
    "coreai-runtime": "quant_conformance.backends.coreai_runtime:CoreAIRuntime",
}
"""Backend name to "module:Class", in the order in which the scoreboard shows them."""
