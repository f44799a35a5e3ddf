"""Weights through ``quant_torch``, a converter and a file: one layer for each question.

Many layers go into one model, so that one export answers many questions. What cannot be finalized
is refused by ``quant_torch`` before anything is exported, and its words become the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quant_conformance.backends._branches import branches
from quant_conformance.backends._torch_arrays import to_torch
from quant_conformance.protocol import Array
from quant_conformance.runtimes import StoredTensor
from quant_conformance.runtimes.quiet import quiet
from quant_reference import QParams, QuantizationSpec

Save = Callable[[Any, tuple[Any, ...], Path], Sequence[StoredTensor]]
"""Takes a prepared quantizer, example inputs and a path; returns what the file holds, in order."""

Stored = tuple[Array, QParams]
"""Codes and qparams of one weight."""


@dataclass(frozen=True)
class WeightQuestion:
    """A weight that is to be exported.

    Attributes:
        tensor: the weight.
        spec: its spec.
        module_kind: class of the torch module that has it.
    """

    tensor: Array
    spec: QuantizationSpec
    module_kind: str

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal questions."""
        x = self.tensor
        return ("export", x.dtype.name, x.shape, x.tobytes(), repr(self.spec), self.module_kind)


def refusal(question: WeightQuestion, backend: str) -> str | None:
    """Returns what ``quant_torch`` says against finalizing a weight for a backend, or None.

    Args:
        question: the weight.
        backend: "coreai" or "coreml".
    """
    try:
        from quant_torch import ExportBackend
        from quant_torch.quantization import Quantizer  # noqa: F401 (needs more than torch)
    except ImportError as error:
        return f"exports go through quant_torch: pip install 'quant-conformance[torch]' ({error})"
    quantizer, _ = _prepared([question])
    try:
        with quiet(stdout=False):
            quantizer.finalize(backend=ExportBackend(backend))
    except ValueError as error:
        return str(error)
    return None


def exported(questions: Sequence[WeightQuestion], save: Save, path: Path) -> list[Stored]:
    """Exports one model with a layer for each question and reads its file.

    Args:
        questions: what :func:`refusal` has nothing against.
        save: saves the model and reads the file.
        path: where to save it.

    Returns:
        Codes and qparams of each question.

    Raises:
        RuntimeError: the file holds another number of weights.
    """
    quantizer, inputs = _prepared(questions)
    with quiet(stdout=False):
        stored = save(quantizer, inputs, path)
    if len(stored) != len(questions):
        raise RuntimeError(f"the file holds {len(stored)} quantized weights, not {len(questions)}")
    return [_answer(s, q.spec) for s, q in zip(stored, questions, strict=True)]


def finalized_by(package: Any, questions: Sequence[WeightQuestion], path: Path) -> list[Stored]:
    """Lets another package prepare and finalize layers, and reads the Core AI file of them.

    Args:
        package: the module that has ``Quantizer`` and ``QuantizerConfig``.
        questions: the weights.
        path: where to save the file.

    Raises:
        RuntimeError: the file holds another number of weights.
    """
    from quant_conformance.runtimes import CoreAIExecutor
    from quant_torch.export import save_coreai

    quantizer, inputs = _prepared(questions, package)
    with quiet(stdout=False):
        file = save_coreai(quantizer.finalize(), inputs, path.with_suffix(".aimodel"))
        with CoreAIExecutor(file) as executor:
            stored = executor.stored
    if len(stored) != len(questions):
        raise RuntimeError(f"the file holds {len(stored)} quantized weights, not {len(questions)}")
    return [_answer(s, q.spec) for s, q in zip(stored, questions, strict=True)]


def refused_by(package: Any, question: WeightQuestion) -> str | None:
    """What another package's finalize says against a weight for Core AI, or None."""
    try:
        with quiet(stdout=False):
            _prepared([question], package)[0].finalize()
    except ValueError as error:
        return str(error)
    return None


def _prepared(
    questions: Sequence[WeightQuestion], package: Any = None
) -> tuple[Any, tuple[Any, ...]]:
    if package is None:
        from quant_torch import quantization as package
    layers = [_layer(question) for question in questions]
    inputs = tuple(_input(question) for question in questions)
    only_weights = {"op_input_spec": None, "op_output_spec": None}
    config = {
        "execution_mode": "eager",
        "global_config": None,
        "module_name_configs": {
            rf"parts\.{index}": {**only_weights, "op_state_spec": {"weight": q.spec.to_dict()}}
            for index, q in enumerate(questions)
        },
    }
    quantizer = package.Quantizer(
        branches(layers), package.QuantizerConfig.from_dict({"quantization_config": config})
    )
    quantizer.prepare(inputs)
    return quantizer, inputs


def _layer(question: WeightQuestion) -> Any:
    import torch

    weight, kind = to_torch(question.tensor), question.module_kind
    channels = weight.shape[:2]
    if kind == "Embedding":
        layer = torch.nn.Embedding(*channels)
    elif kind == "Linear":
        layer = torch.nn.Linear(channels[1], channels[0], bias=False)
    else:
        inner, outer = channels if "Transpose" in kind else channels[::-1]
        layer = getattr(torch.nn, kind)(inner, outer, tuple(weight.shape[2:]), bias=False)
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    return layer


def _input(question: WeightQuestion) -> Any:
    import torch

    x, kind = question.tensor, question.module_kind
    if kind == "Embedding":
        return torch.zeros(1, dtype=torch.int32)
    if kind == "Linear":
        shape: tuple[int, ...] = (1, x.shape[1])
    elif "Transpose" in kind:
        shape = (1, x.shape[0], *[1] * (x.ndim - 2))
    else:
        shape = (1, *x.shape[1:])
    return torch.zeros(shape, dtype=to_torch(x).dtype)


def _answer(stored: StoredTensor, spec: QuantizationSpec) -> Stored:
    """What a file holds, in the terms of the suite; no value changes."""
    codes, zero_point, minval = stored.codes, stored.zero_point, stored.minval
    scale = stored.scale.astype(np.float32)
    least = spec.format.quant_min
    if spec.qformulation == "minval" and minval is None and np.all(zero_point == least):
        minval = np.zeros_like(scale)  # a file that adds nothing looks like one with a zero point
    if minval is None:
        return codes, QParams(scale, None if zero_point is None else zero_point.astype(np.int32))
    # A file counts levels from the least code of the format, a spec from the least in use.
    moved = codes + np.array(spec.quant_min - least, codes.dtype)
    return moved, QParams(scale, None, minval.astype(np.float32))
