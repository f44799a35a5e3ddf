"""onnx-reference: ONNX's own evaluator in numpy, which its operator tests are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from quant_conformance.backends import _onnx_models as models
from quant_conformance.backends._onnx_backend import OnnxBackend
from quant_conformance.backends._onnx_models import ModelKey
from quant_conformance.protocol import Array
from quant_reference.formats import FORMATS


class OnnxReference(OnnxBackend):
    """``onnx.reference.ReferenceEvaluator`` on the models that onnxruntime is asked with.

    pack and unpack are ``onnx.numpy_helper``: the bytes of a tensor in a model file.
    """

    name = "onnx-reference"
    requires = ("onnx",)
    checks_input = False
    policies: ClassVar[Mapping[str, str]] = {"overflow": "saturate"}

    def __init__(self) -> None:
        import onnx
        import onnx.numpy_helper
        import onnx.reference

        self._onnx = onnx
        self._evaluators: dict[ModelKey, Any] = {}

    def evaluate(
        self, key: ModelKey, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> None:
        if key not in self._evaluators:
            model = models.build(key)
            self._evaluators[key] = self._onnx.reference.ReferenceEvaluator(model)
        feeds = dict(inputs)
        fmt = FORMATS[key.fmt]
        if "codes" in feeds and not fmt.is_integer:
            feeds["codes"] = feeds["codes"].view(_ml_dtype(key.fmt))
        names = list(outputs)
        for name, answer in zip(names, self._evaluators[key].run(names, feeds), strict=True):
            if name == "codes_out" and not fmt.is_integer:
                answer = answer.view(np.uint8)
            _check(name, answer, outputs[name])
            outputs[name][...] = answer

    def pack(self, codes: Array, fmt: str, order: str) -> Array:
        self._packable(fmt, order)
        dtype = _ml_dtype(fmt)
        typed = codes.astype(dtype) if FORMATS[fmt].is_integer else codes.view(dtype)
        proto = self._onnx.numpy_helper.from_array(typed.reshape(-1))
        return np.frombuffer(proto.raw_data, np.uint8).copy()

    def unpack(self, packed: Array, fmt: str, order: str, count: int) -> Array:
        self._packable(fmt, order)
        proto = self._onnx.TensorProto(
            data_type=models.element_type(fmt), dims=[count], raw_data=packed.tobytes()
        )
        typed = self._onnx.numpy_helper.to_array(proto)
        if FORMATS[fmt].is_integer:
            codes: Array = typed.astype(FORMATS[fmt].code_dtype)
            return codes
        bits: Array = typed.view(np.uint8)
        return bits

    def _packable(self, fmt: str, order: str) -> None:
        if FORMATS[fmt].bits == 8:
            raise NotImplementedError(f"{fmt} needs no packing")
        if order != "low_first":
            raise NotImplementedError("ONNX packs the first code into the low bits")


def _ml_dtype(fmt: str) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, fmt))
    return dtype


def _check(name: str, answer: Array, wanted: Array) -> None:
    """Lets no broadcast or cast hide an answer of another shape or dtype."""
    if (answer.shape, answer.dtype) != (wanted.shape, wanted.dtype):
        raise TypeError(
            f"{name} came as {answer.dtype}{answer.shape}, not {wanted.dtype}{wanted.shape}"
        )
