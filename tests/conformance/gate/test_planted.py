"""Every defect that is planted in an export is found, and named where it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conformance.gate.support import BOTH, failing, judged, prepared, quiet, untouched
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore")

# The quantizer behind the second convolution: its module, and the tensors that it quantizes.
ACTIVATION = {
    "graph": ("fake_quantize_relu_1", ["relu_1", "relu_1/mean", "relu_1/again"]),
    "eager": ("features.2.0.conv2d_quantize_output_0", ["features.2.0.conv2d output 0"]),
}
OTHER = {
    "graph": ("fake_quantize_linear", ["linear"]),
    "eager": ("head.linear_quantize_output_0", ["head.linear output 0"]),
}
WEIGHT = "features.2.0.weight"


def activation(model: Any, mode: str) -> Any:
    return model.get_submodule(ACTIVATION[mode][0])


def weight_buffer(model: Any, backend: str, mode: str, name: str, of: str = "features.2.0") -> Any:
    if backend == "coreml":
        return getattr(model.get_submodule(of), f"_COREML_/weight/{name}")
    path = ".weight_quantized" if mode == "graph" else ".parametrizations.weight.0"
    return getattr(model.get_submodule(of + path), name.removeprefix("quantization_"))


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_nothing_planted_nothing_found(backend: str, mode: str) -> None:
    document = untouched(backend, mode)
    assert failing(document) == []
    assert document.verdict in ("exact", "admissible")
    assert len(document.weights) == 3
    assert len(document.layers) == {"graph": 7, "eager": 10}[mode]


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_the_scale_of_an_activation_one_ulp_off(backend: str, mode: str) -> None:
    def plant(model: Any) -> None:
        scale = activation(model, mode).scale
        scale.copy_(torch.nextafter(scale, torch.tensor(1.0)))

    document = judged(backend, mode, plant)
    assert set(failing(document)) & set(ACTIVATION[mode][1])
    assert set(failing(document)) <= set(ACTIVATION[mode][1])
    (first, *_) = [x for x in document.layers if x.verdict == "wrong"]
    assert "scale is" in first.detail


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_a_scale_rounded_to_float16_where_no_cast_was_asked_for(backend: str, mode: str) -> None:
    def plant(model: Any) -> None:
        scale = activation(model, mode).scale
        scale.copy_(scale.half().float())

    found = failing(judged(backend, mode, plant))
    assert found
    assert set(found) <= set(ACTIVATION[mode][1])


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_the_scale_of_one_weight_channel_one_ulp_off(backend: str, mode: str) -> None:
    def plant(model: Any) -> None:
        scale = weight_buffer(model, backend, mode, "quantization_scale")
        wrong = torch.nextafter(scale[5], torch.tensor(1.0))
        if backend == "coreml":  # the values that coremltools divides, too
            weight = model.get_submodule("features.2.0").weight
            weight[5] = torch.round(weight[5] / scale[5]) * wrong
        scale[5] = wrong

    document = judged(backend, mode, plant)
    assert failing(document) == [WEIGHT]
    assert (
        "scale [5] is" in document.weights[[w.name for w in document.weights].index(WEIGHT)].detail
    )


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_one_code_of_one_channel_off_by_one(backend: str, mode: str) -> None:
    def plant(model: Any) -> None:
        if backend == "coreml":
            weight = model.get_submodule("features.2.0").weight
            scale = weight_buffer(model, backend, mode, "quantization_scale")
            code = torch.round(weight[7, 3, 1, 1] / scale[7, 0, 0, 0])
            weight[7, 3, 1, 1] = (code - torch.sign(code)) * scale[7, 0, 0, 0]
        else:
            codes = weight_buffer(model, backend, mode, "codes")
            codes[7, 3, 1, 1] -= torch.sign(codes[7, 3, 1, 1])

    document = judged(backend, mode, plant)
    assert WEIGHT in failing(document)
    assert set(failing(document)) <= {WEIGHT, *ACTIVATION[mode][1][:1]}
    (weight,) = [w for w in document.weights if w.name == WEIGHT]
    assert "codes[7, 3, 1, 1]" in weight.detail
    assert "(1 of" in weight.detail


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_a_zero_point_off_by_one(backend: str, mode: str) -> None:
    def plant(model: Any) -> None:
        activation(model, mode).zero_point.add_(1)

    document = judged(backend, mode, plant, config="uint8_asymmetric")
    names = {x.name for x in document.layers if "zero_point" in x.detail}
    assert names
    assert names <= set(ACTIVATION[mode][1])
    assert set(failing(document)) == names


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_the_channel_axes_of_a_weight_swapped(backend: str, mode: str) -> None:
    def plant(model: Any) -> None:
        head = model.get_submodule("head")
        if backend == "coreml":  # 32 by 32: scales for the inputs instead of the outputs
            scale = weight_buffer(model, backend, mode, "quantization_scale", of="head")
            codes = torch.round(head.weight / scale)
            zero_point = weight_buffer(model, backend, mode, "zero_point", of="head")
            head.weight.copy_(codes * scale.T)
            setattr(head, "_COREML_/weight/quantization_scale", scale.T.contiguous())
            setattr(head, "_COREML_/weight/zero_point", zero_point.T.contiguous())
            return
        path = "weight_quantized" if mode == "graph" else "parametrizations.weight.0"
        module = head.get_submodule(path)
        module.scale = module.scale.T.contiguous()
        module.zero_point = module.zero_point.T.contiguous()

    found = failing(judged(backend, mode, plant))
    assert "head.weight" in found
    assert set(found) <= {"head.weight", *OTHER[mode][1]}


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_a_missing_quantizer(backend: str, mode: str) -> None:
    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor, overwrite: bool = False) -> torch.Tensor:
            return x

    def plant(model: Any) -> None:
        path = {"graph": "fake_quantize_relu", "eager": "features.0.0.conv2d_quantize_output_0"}
        owner, _, name = path[mode].rpartition(".")
        if mode == "eager":
            module = model.get_submodule(owner)
            for scope in (m.forward for m in model.modules() if hasattr(m.forward, "sites")):
                for visits in scope.sites.values():
                    for site in visits:
                        outputs = {} if site is None else site.outputs
                        for index, quantizer in outputs.items():
                            if quantizer is getattr(module, name):
                                outputs[index] = Nothing()
            delattr(module, name)
        setattr(model.get_submodule(owner), name, Nothing())

    document = judged(backend, mode, plant)
    wrong = [x for x in document.layers if x.verdict == "wrong"]
    assert wrong[0].name == {"graph": "relu", "eager": "features.0.0.conv2d output 0"}[mode]
    assert wrong[0].detail == "the file has no int8 quantizer for this tensor"


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_the_qparams_of_two_layers_swapped(backend: str, mode: str) -> None:
    def plant(model: Any) -> None:
        one, other = (model.get_submodule(n[mode][0]) for n in (ACTIVATION, OTHER))
        for name in ("scale", "zero_point"):
            mine = getattr(one, name).clone()
            getattr(one, name).copy_(getattr(other, name))
            getattr(other, name).copy_(mine)

    found = set(failing(judged(backend, mode, plant)))
    assert found & set(ACTIVATION[mode][1])
    assert found & set(OTHER[mode][1])
    assert found <= {*ACTIVATION[mode][1], *OTHER[mode][1]}


@pytest.mark.parametrize("backend", ["coreai", "coreml"])
def test_batch_norm_folded_with_the_wrong_epsilon(backend: str) -> None:
    def other_epsilon(model: Any) -> None:
        model.features[2][1].eps = 1e-3

    with quiet():
        quantizer, _, _ = prepared("graph", change=other_epsilon)
        wrong = quantizer.finalize(backend=backend)

    def plant(model: Any) -> None:
        source = dict(wrong.named_buffers()) | dict(wrong.named_parameters())
        for name, tensor in [*model.named_buffers(), *model.named_parameters()]:
            if "features.2.0" in name or name == "batch_norm_1_folded_bias":
                tensor.copy_(source[name])

    found = failing(judged(backend, "graph", plant))
    assert WEIGHT in found
    assert set(found) <= {WEIGHT, "relu_1"}


def shifted_bias(model: Any) -> None:
    head = model.get_submodule("head")
    shift = torch.zeros(32)
    shift[4] = 0.6 * float(model.get_submodule(OTHER["graph"][0]).scale)
    head.bias = nn.Parameter(head.bias + shift)  # the parameter is the prepared model's, too


@pytest.mark.parametrize("backend", ["coreai", "coreml"])
def test_a_bias_half_a_code_off_in_one_channel(backend: str) -> None:
    document = judged(backend, "graph", shifted_bias)
    assert failing(document) == ["linear"]
    (layer,) = [x for x in document.layers if x.name == "linear"]
    assert layer.worst is not None
    assert layer.worst.index[1] == 4


def test_a_reproduction_runs_alone(tmp_path: Path) -> None:
    document = judged("coreai", "graph", shifted_bias, repro=tmp_path / "repro")
    (layer,) = [x for x in document.layers if x.verdict == "wrong"]
    folder = tmp_path / "repro" / "linear"
    assert layer.repro == str(folder)
    files = ["data.npz", "region.aimodel", "region.json", "reproduce.py"]
    assert sorted(p.name for p in folder.iterdir()) == files
    said = subprocess.run(
        [sys.executable, folder / "reproduce.py"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert f"{layer.wrong} of {layer.elements} elements are not admissible" in said.stdout


def test_a_reproduction_of_an_evaluated_program(tmp_path: Path) -> None:
    document = judged("coreml", "graph", shifted_bias, repro=tmp_path / "repro")
    (layer,) = [x for x in document.layers if x.verdict == "wrong"]
    with np.load(tmp_path / "repro" / "linear" / "data.npz") as data:
        wrong = (data["got"] < data["low"]) | (data["got"] > data["high"])
    assert int(wrong.sum()) == layer.wrong > 0
