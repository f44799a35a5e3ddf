"""onnxruntime: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear and Cast on its CPU kernels.

Inputs and outputs are bound by address, since numpy has no dtype for half of ONNX's types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from quant_conformance.backends import _onnx_models as models
from quant_conformance.backends._onnx_backend import OnnxBackend
from quant_conformance.backends._onnx_models import ModelKey
from quant_conformance.protocol import Array
from quant_reference.formats import FORMATS

if TYPE_CHECKING:
    from quant_vectors import Case

_SATURATING = frozenset({"float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"})

Bound = tuple[Array, tuple[int, ...]]
"""Memory, and the shape of the tensor in it (another one than the array's where it is packed)."""


class OnnxRuntime(OnnxBackend):
    """Tiny models, one per operator, type and layout; sessions are kept."""

    name = "onnxruntime"
    requires = ("onnxruntime", "onnx")
    checks_input = False
    policies: ClassVar[Mapping[str, str]] = {"overflow": "saturate"}
    widens = frozenset({"bfloat16"})

    def __init__(self) -> None:
        import onnxruntime

        self._ort = onnxruntime
        self._sessions: dict[ModelKey, Any] = {}

    def refuse(self, fmt: str) -> None:
        if fmt == "float4_e2m1fn":
            raise NotImplementedError("onnxruntime has no CPU kernels for float4e2m1")

    def evaluate(
        self, key: ModelKey, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> None:
        self._run(
            key,
            {name: (array, array.shape) for name, array in inputs.items()},
            {name: (array, array.shape) for name, array in outputs.items()},
        )

    def pack(self, codes: Array, fmt: str, order: str) -> Array:
        bits = self._packable(fmt, order)
        packed = np.zeros((codes.size * bits + 7) // 8, np.uint8)
        key = ModelKey("pack", fmt, FORMATS[fmt].code_dtype)
        self._run(key, {"x": (codes, (codes.size,))}, {"codes_out": (packed, (codes.size,))})
        return packed

    def unpack(self, packed: Array, fmt: str, order: str, count: int) -> Array:
        self._packable(fmt, order)
        codes = np.empty(count, FORMATS[fmt].code_dtype)
        key = ModelKey("unpack", fmt, FORMATS[fmt].code_dtype)
        self._run(key, {"codes": (packed, (count,))}, {"values": (codes, (count,))})
        return codes

    def _packable(self, fmt: str, order: str) -> int:
        self.refuse(fmt)
        if FORMATS[fmt].bits == 8:
            raise NotImplementedError(f"{fmt} needs no packing")
        if order != "low_first":
            raise NotImplementedError("ONNX packs the first code into the low bits")
        return FORMATS[fmt].bits

    def _run(
        self, key: ModelKey, inputs: Mapping[str, Bound], outputs: Mapping[str, Bound]
    ) -> None:
        session, kinds = self._session(key), models.border_types(key)
        binding = session.io_binding()
        for name, (array, shape) in inputs.items():
            binding.bind_input(name, "cpu", 0, kinds[name], shape, array.ctypes.data)
        for name, (array, shape) in outputs.items():
            binding.bind_output(name, "cpu", 0, kinds[name], shape, array.ctypes.data)
        session.run_with_iobinding(binding)

    def _session(self, key: ModelKey) -> Any:
        if key not in self._sessions:
            options = self._ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 4  # errors come as exceptions too
            self._sessions[key] = self._ort.InferenceSession(
                models.build(key).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[key]


class OnnxRuntimeNonSaturating(OnnxRuntime):
    """Casts to 8-bit floats with ``saturate=0``; the rest is asked of onnxruntime itself."""

    name = "onnxruntime-nonsaturating"
    policies: ClassVar[Mapping[str, str]] = {"overflow": "nonsaturate"}
    saturate = False

    def supports(self, case: Case) -> str | None:
        if case.operation == "encode" and case.arguments["format"] in _SATURATING:
            return None
        return "the same as in onnxruntime: saturate=0 is about casts to 8-bit floats"
