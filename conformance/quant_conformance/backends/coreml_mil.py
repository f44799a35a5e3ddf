"""coreml-mil: models exported by coremltools, read back from disk and evaluated.

What is judged is the converter: no Core ML runs on Linux, so the quantization operations of the
saved program are computed by the reference and everything else by torch (``MilExecutor``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quant_conformance.backends._branches import branches
from quant_conformance.backends._exported import (
    ExportedBackend,
    Question,
    per_tensor,
    refuse_arrays,
)
from quant_conformance.protocol import Array
from quant_conformance.runtimes import StoredTensor
from quant_conformance.runtimes.quiet import quiet
from quant_reference.blocks import spread

_WEIGHTS = ("int4", "uint4", "int8", "uint8")
_ACTIVATIONS = ("int8", "uint8")


class CoreMLMil(ExportedBackend):
    """Weights as ``constexpr_blockwise_shift_scale``, activations as quantize and dequantize."""

    name = "coreml-mil"
    target = "coreml"
    patience = 6.0  # a case may wait for a model to be compiled
    requires = ("coremltools", "torch")

    def __init__(self) -> None:
        super().__init__()
        with quiet(stdout=False):
            import coremltools

        self._coremltools = coremltools

    def refuse(self, question: Question) -> str | None:
        spec = question.spec
        if spec.qformulation != "zp" or spec.scale_dtype is not None:
            return "Core ML has zero points and no minval or e8m0 scale"
        if question.method == "dequantize":
            if spec.dtype not in _WEIGHTS:
                return f"Core ML has no {spec.dtype} weights"
            return refuse_arrays(question)
        if spec.dtype not in _ACTIVATIONS:
            return f"Core ML has no {spec.dtype} activations"
        if spec.qscheme == "symmetric_with_clipping" and spec.format.kind == "int":
            return "the quantize operation has no narrower range"
        if question.tensor.dtype != np.float32:
            return "programs in float32 are exported"
        if not per_tensor(question):
            return "torch.quantize_per_tensor is what coremltools converts"
        return refuse_arrays(question)

    def run_program(self, questions: Sequence[Question], path: Path) -> list[Array | Exception]:
        import torch

        from quant_conformance.runtimes import MilExecutor

        model = branches([_branch(question) for question in questions])
        # Adding -0 changes nothing, and a weight needs something to be added to.
        feeds = [
            np.full(q.tensor.shape, -0.0, np.float32) if q.method == "dequantize" else q.tensor
            for q in questions
        ]
        target = path.with_suffix(".mlpackage")
        with quiet(stdout=False), torch.no_grad():
            inputs = tuple(torch.from_numpy(np.array(feed)) for feed in feeds)
            traced = torch.jit.trace(model, inputs, check_trace=False)
            self._coremltools.convert(
                traced,
                convert_to="mlprogram",
                minimum_deployment_target=self._coremltools.target.iOS18,
                inputs=[
                    self._coremltools.TensorType(name=f"x{i}", shape=x.shape, dtype=np.float32)
                    for i, x in enumerate(feeds)
                ],
                compute_precision=self._coremltools.precision.FLOAT32,
            ).save(str(target))
        executor = MilExecutor(target)
        given = {f"x{index}": feed for index, feed in enumerate(feeds)}
        results = executor.run(given)
        codes = executor.trace(given, executor.quantized.values())
        return [
            _codes(codes[executor.quantized[f"x{index}"]], question)
            if question.method == "quantize"
            else results[name]
            for index, (question, name) in enumerate(zip(questions, executor.outputs, strict=True))
        ]

    def save_model(
        self, quantizer: Any, inputs: tuple[Any, ...], path: Path, cast_16bit: bool
    ) -> Path:
        from quant_torch.export import to_coreml

        # The converter as its users call it, with every pass: that is what is judged here.
        return to_coreml(
            quantizer,
            inputs,
            path.with_suffix(".mlpackage"),
            compute_precision="float16" if cast_16bit else "float32",
            pass_pipeline=self._coremltools.PassPipeline.DEFAULT,
        )

    def save(self, quantizer: Any, inputs: tuple[Any, ...], path: Path) -> Sequence[StoredTensor]:
        from quant_conformance.runtimes import MilExecutor
        from quant_torch.export import to_coreml

        package = to_coreml(quantizer, inputs, path.with_suffix(".mlpackage"))
        return tuple(MilExecutor(package).stored.values())


def _codes(codes: Array, question: Question) -> Array | Exception:
    if codes.dtype == question.spec.format.code_dtype:
        return codes
    return NotImplementedError(
        f"coremltools stores these {question.spec.dtype} codes as {codes.dtype.name}"
    )


def _branch(question: Question) -> Any:
    import torch

    if question.method == "dequantize":
        return _weight(question)
    scale = float(question.qparams.scale.reshape(()))
    zero_point = int(_given(question.qparams.zero_point).reshape(()))
    kind = torch.qint8 if question.spec.dtype == "int8" else torch.quint8

    class Activation(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.quantize_per_tensor(x, scale, zero_point, kind).dequantize()

    return Activation()


def _weight(question: Question) -> Any:
    import torch

    fmt, scale = question.spec.format, question.qparams.scale
    zero_point = _given(question.qparams.zero_point)
    values = (question.tensor.astype(np.float32) - _spread(zero_point, question)) * _spread(
        scale, question
    )

    class Weight(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.from_numpy(values), requires_grad=False)
            for name, array in (
                ("compression_type", np.array([3])),
                ("quantization_n_bits", np.array(fmt.bits)),
                ("quantization_scale", scale),
                ("zero_point", zero_point.astype(fmt.code_dtype)),
            ):
                self.register_buffer(f"_COREML_/weight/{name}", torch.from_numpy(np.array(array)))

        def forward(self, x: Any) -> Any:
            return x + self.weight

    return Weight()


def _spread(array: Array, question: Question) -> Array:
    """Repeats qparams over their blocks."""
    return spread(array, question.tensor.shape).astype(np.float32)


def _given(array: Array | None) -> Array:
    if array is None:
        raise NotImplementedError("the case lacks a zero point")
    return array
