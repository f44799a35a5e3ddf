"""Models to record, and backends for what was recorded; loaded as path/file.py:name."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from quant_conformance.backends.numpy_reference import NumpyReference
from quant_conformance.gate.freezing.vector_set import Summary, record_set
from quant_conformance.gate.recording.prepared import prepare_subject
from quant_conformance.gate.recording.subject import Subject, load_config, load_subject
from quant_conformance.runtimes.quiet import quiet
from quant_reference import quantize

ZOO = "quant_conformance.models.zoo"
MODELS = {
    "mlp": f"{ZOO}.dense:Mlp",
    "cnn": f"{ZOO}.convolutional:Cnn",
    "transformer": f"{ZOO}.dense:TransformerBlock",
    "embedding": f"{ZOO}.dense:EmbeddingClassifier",
}


def here(name: str) -> str:
    """The ``path/file.py:name`` of something in this file."""
    return f"{Path(__file__).resolve()}:{name}"


def recorded(model: str, mode: str, out: Path, **how: Any) -> Summary:
    """Records a model by its name above, or by a reference."""
    subject = load_subject(MODELS.get(model, model))
    return record_set(subject, load_config(None, mode), out, **how)


class Wavy(nn.Module):
    """A logarithm of the gamma function, of which no bound is known, between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return self.second(torch.lgamma(self.first(x)))

    def batches(self, count: int) -> Any:
        generator = torch.Generator().manual_seed(3)
        return [(torch.randn(2, 8, generator=generator),) for _ in range(count)]


class Repeated(nn.Module):
    """One layer called twice: two tensors of one name; and three outputs, two of them integers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        y = self.layer(torch.relu(self.layer(x)))
        return y, torch.count_nonzero(y, 1), y.argmax(1)

    def batches(self, count: int) -> Any:
        return [(x[:, :8],) for (x,) in Wavy().batches(count)]


class Half(Wavy):
    """A layer in float16."""

    def __init__(self) -> None:
        super().__init__()
        self.half()

    def forward(self, x: Any) -> Any:
        return self.second(torch.relu(self.first(x)))

    def batches(self, count: int) -> Any:
        return [(x.half(),) for (x,) in super().batches(count)]


def unquantized() -> Any:
    """A prepared model whose quantizers are all off."""
    subject = load_subject(MODELS["mlp"])
    quantizer, prepared = prepare_subject(subject, load_config(None, "eager"))
    quantizer.disable_fake_quant()
    return {"prepared": prepared, "example_inputs": subject.example}


def not_prepared() -> Any:
    """A float model that is passed off as prepared."""
    return {"prepared": nn.Linear(4, 4), "example_inputs": (torch.zeros(2, 4),)}


class ExactLayers(NumpyReference):
    """Computes layers in float64 and rounds once."""

    name = "exact-layers"

    def layer(self, layer: Any) -> Any:
        value = layer.bounds().value.astype(layer.arithmetic.values)
        return quantize(value, layer.output_spec, layer.output_qparams)

    def float_layer(self, layer: Any) -> Any:
        return layer.bounds().value.astype(layer.arithmetic.values)


class NoLinear(ExactLayers):
    """Lacks the layers that multiply."""

    name = "no-linear"

    def layer(self, layer: Any) -> Any:
        if any(step.op == "linear" for step in layer.steps):
            raise NotImplementedError("no linear layers here")
        return super().layer(layer)


class OneCodeOff(ExactLayers):
    """One code of the layer that max-pools is off by one."""

    name = "one-code-off"

    def layer(self, layer: Any) -> Any:
        codes = super().layer(layer)
        if layer.steps[-1].op == "max_pool2d":
            at = np.unravel_index(int(np.argmin(codes)), codes.shape)
            codes[at] += 1
        return codes


class OneValueOff(ExactLayers):
    """One value of each float layer is off by far more than an ulp."""

    name = "one-value-off"

    def float_layer(self, layer: Any) -> Any:
        values = super().float_layer(layer)
        values[(0,) * values.ndim] += np.float32(0.01)
        return values


class Mlp(ExactLayers):
    """Runs the recorded perceptron as a whole, in torch."""

    name = "whole-mlp"
    offset = np.float32(0)

    @functools.cached_property
    def prepared(self) -> Any:
        subject: Subject = load_subject(MODELS["mlp"])
        with quiet():
            return prepare_subject(subject, load_config(None, "eager"))[1]

    def model_output(self, inputs: Any, output: int) -> Any:
        with torch.no_grad():
            made = self.prepared(*(torch.from_numpy(x) for x in inputs))
        assert output == 0
        return made.numpy() + self.offset


class ShiftedMlp(Mlp):
    """… and adds something."""

    name = "shifted-mlp"
    offset = np.float32(0.5)


class Zeros(NumpyReference):
    """A whole model that gives zeros; its input is quantized rightly."""

    name = "zeros"

    def layer(self, layer: Any) -> Any:
        (x,) = layer.values().values()
        return quantize(x, layer.output_spec, layer.output_qparams)

    def model_output(self, inputs: Any, output: int) -> Any:
        return np.zeros((2, 4), np.float32)
