"""coreai-torch: models exported through torch.export and coreai-torch, run by Core AI.

Beside ``coreai-runtime``, which is asked directly, this one judges the converter too.
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
    channel_axis,
    per_tensor,
    refuse_arrays,
)
from quant_conformance.backends._torch_arrays import to_torch
from quant_conformance.protocol import Array
from quant_conformance.runtimes import CoreAIExecutor, StoredTensor
from quant_conformance.runtimes.quiet import quiet

_ACTIVATIONS = ("int8", "uint8", "float8_e4m3fn", "float8_e5m2")


class CoreAITorch(ExportedBackend):
    """Weights by ``constexpr_blockwise_shift_scale``, activations by quantize and dequantize."""

    name = "coreai-torch"
    target = "coreai"
    patience = 6.0  # a case may wait for a model to be compiled
    requires = ("coreai-torch", "coreai-core=coreai", "torch")

    def __init__(self) -> None:
        super().__init__()
        with quiet(stdout=False):
            import coreai_torch
            import coreai_torch._compression.custom_layers as operators

        self._coreai_torch = coreai_torch
        self._operators = operators

    def refuse(self, question: Question) -> str | None:
        spec = question.spec
        if question.method == "dequantize":
            if spec.dtype == "float4_e2m1fn" and (question.tensor.shape or (1,))[-1] % 2:
                return "two FP4 codes share a byte along the last axis"
            if _codes_stay(question) is None:
                return "clipped minval codes are stored one lower, and here one is the least"
            return refuse_arrays(question)
        if spec.dtype not in _ACTIVATIONS:
            return f"Core AI has no {spec.dtype} activations"
        if spec.qscheme == "symmetric_with_clipping" and spec.format.kind == "int":
            return "the quantize operation has no narrower range"
        if not per_tensor(question) and channel_axis(question) is None:
            return "activations are per tensor or along one axis"
        return refuse_arrays(question)

    def run_program(self, questions: Sequence[Question], path: Path) -> list[Array | Exception]:
        import torch

        model = branches([self._branch(question) for question in questions])
        # Adding -0 changes nothing, and a weight needs something to be added to.
        feeds = [
            np.full(q.tensor.shape, -0.0, np.float32) if q.method == "dequantize" else q.tensor
            for q in questions
        ]
        target = path.with_suffix(".aimodel")
        with quiet(stdout=False), torch.no_grad():
            inputs = tuple(to_torch(np.array(feed)) for feed in feeds)
            program = torch.export.export(model, inputs)
            program = program.run_decompositions(self._coreai_torch.get_decomp_table())
            converter = self._coreai_torch.TorchConverter()
            converter.add_exported_program(program)
            converter.to_coreai().save_asset(target)
        with CoreAIExecutor(target) as executor:
            names = executor.outputs
            results = executor.run(dict(zip(executor.inputs, feeds, strict=True)))
        return [_plain(results[name], q) for name, q in zip(names, questions, strict=True)]

    def save(self, quantizer: Any, inputs: tuple[Any, ...], path: Path) -> Sequence[StoredTensor]:
        from quant_torch.export import to_coreai

        with CoreAIExecutor(to_coreai(quantizer, inputs, path.with_suffix(".aimodel"))) as executor:
            return executor.stored

    def save_model(
        self, quantizer: Any, inputs: tuple[Any, ...], path: Path, cast_16bit: bool
    ) -> Path:
        from quant_torch.export import to_coreai

        target = path.with_suffix(".aimodel")
        return to_coreai(quantizer, inputs, target, cast_16bit=cast_16bit)

    def _branch(self, question: Question) -> Any:
        return (
            _weight(question, self._operators)
            if question.method == "dequantize"
            else (_activation(question))
        )


def _weight(question: Question, operators: Any) -> Any:
    import torch

    spec, fmt = question.spec, question.spec.format
    codes, offset, minval, formats = question.tensor, None, None, (None, None)
    if fmt.is_integer:
        formats = (getattr(torch, fmt.name), None)
        if spec.qformulation == "zp":
            offset = _tensor(question.qparams.zero_point, fmt.code_dtype)
        else:
            minval = _tensor(question.qparams.minval, np.float32)
            codes = _given(_codes_stay(question))
    scale = torch.from_numpy(np.array(question.qparams.scale))
    if spec.scale_dtype is not None:
        scale, formats = scale.to(torch.float8_e8m0fnu), (None, torch.float32)
    stored = torch.from_numpy(np.array(codes))
    if fmt.kind == "float" and fmt.bits == 8:
        stored = stored.view(getattr(torch, fmt.name))
    elif fmt.kind == "float":
        stored = operators.Float4Tensor(stored[..., 0::2] | (stored[..., 1::2] << 4))

    class Weight(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, tensor in (
                ("codes", stored), ("scale", scale), ("offset", offset), ("minval", minval)
            ):  # fmt: skip
                self.register_buffer(name, tensor)

        def forward(self, x: Any) -> Any:
            return x + torch.ops.coreai.constexpr_blockwise_shift_scale(
                self.codes, self.scale, self.offset, self.minval, *formats
            )

    return Weight()


def _codes_stay(question: Question) -> Array | None:
    """Returns the codes as the operator counts them, or None where one has no place.

    It counts levels from the least code of the format; clipped specs count from the one above.
    """
    spec, codes = question.spec, question.tensor
    if not spec.format.is_integer or spec.qformulation == "zp":
        return codes
    step = int(spec.quant_min - spec.format.quant_min)
    if step and codes.size and codes.min() < spec.quant_min:
        return None
    moved: Array = codes - np.array(step, codes.dtype)
    return moved


def _activation(question: Question) -> Any:
    import torch

    spec, fmt = question.spec, question.spec.format
    axis = channel_axis(question)
    shape = () if axis is None else (-1,)
    qparams = question.qparams
    scale = _tensor(qparams.scale.reshape(shape), np.float32)
    offset = minval = None
    if fmt.is_integer and spec.qformulation == "zp":
        offset = _tensor(_given(qparams.zero_point).reshape(shape), fmt.code_dtype)
    elif fmt.is_integer:
        minval = _tensor(_given(qparams.minval).reshape(shape), np.float32)
    dtype = getattr(torch, fmt.name)
    held = dtype if fmt.is_integer else None
    only_codes = question.method == "quantize"

    class Activation(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, tensor in (("scale", scale), ("offset", offset), ("minval", minval)):
                self.register_buffer(name, tensor)

        def forward(self, x: Any) -> Any:
            codes = torch.ops.coreai.quantize(
                x.to(torch.float32), self.scale, dtype, self.offset, self.minval, axis or 0
            )
            if only_codes:
                return codes
            values = torch.ops.coreai.dequantize(
                codes, self.scale, self.offset, self.minval, axis or 0, held, torch.float32
            )
            return values.to(x.dtype)

    return Activation()


def _tensor(array: Array | None, dtype: Any) -> Any:
    import torch

    return torch.from_numpy(_given(array).astype(dtype))


def _given(array: Array | None) -> Array:
    if array is None:
        raise NotImplementedError("the case lacks the qparam of its formulation")
    return array


def _plain(result: Array, question: Question) -> Array:
    """The bits of a code; values as they are."""
    if question.method == "quantize" and not question.spec.format.is_integer:
        bits: Array = result.view(np.uint8)
        return bits
    return result
