"""The backends that come with the suite: a new one is a file in backends/ and a line here."""

from __future__ import annotations

BACKENDS: dict[str, str] = {
    "numpy-reference": "quant_conformance.backends.numpy_reference:NumpyReference",
    "ml-dtypes": "quant_conformance.backends.ml_dtypes:MlDtypes",
    "torch": "quant_conformance.backends.torch:Torch",
    "quant-torch": "quant_conformance.backends.quant_torch:QuantTorch",
    "quant-torch-eager": "quant_conformance.backends.quant_torch:QuantTorchEager",
    "quant-torch-graph": "quant_conformance.backends.quant_torch_graph:QuantTorchGraph",
    "torchao": "quant_conformance.backends.torchao:Torchao",
    "onnxruntime": "quant_conformance.backends.onnxruntime:OnnxRuntime",
    "onnxruntime-nonsaturating": (
        "quant_conformance.backends.onnxruntime:OnnxRuntimeNonSaturating"
    ),
    "onnx-reference": "quant_conformance.backends.onnx_reference:OnnxReference",
    "gfloat": "quant_conformance.backends.gfloat:Gfloat",
    "coreai-opt": "quant_conformance.backends.coreai_opt:CoreaiOpt",
    "coreai-runtime": "quant_conformance.backends.coreai_runtime:CoreAIRuntime",
    "coreai-torch": "quant_conformance.backends.coreai_torch:CoreAITorch",
    "coreml-mil": "quant_conformance.backends.coreml_mil:CoreMLMil",
}
"""Backend name to "module:Class", in the order in which the scoreboard shows them."""

PROGRAMS: dict[str, str] = {
    "cmd": "quant_conformance.wire.command:backend_of",
    "pipe": "quant_conformance.wire.stream:backend_of",
    "answers": "quant_conformance.wire.answered:backend_of",
}
"""Scheme of a reference such as ``cmd://PROGRAM`` to what makes the backend's class of it."""

LONGEST = ("coreai-torch", "quant-torch-graph", "coreml-mil", "coreai-runtime", "quant-torch-eager")
"""Those that take longest, the longest first: they convert models, or capture graphs."""
