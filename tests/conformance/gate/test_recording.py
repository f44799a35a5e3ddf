"""One run of a model, written down: values, operations, states and quantizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.conformance.gate.stepped import check, normal, recorded, regions
from tests.conformance.gate.support import prepared
from torch import nn

from quant_conformance.gate.errors import GateError
from quant_conformance.gate.recording.recorder import Ref, record
from quant_conformance.gate.regions.region import Regions
from quant_reference import QuantizationSpec, fake_quantize
from quant_torch.quantization import Quantizer, QuantizerConfig

X = normal(2, 4, 6)
MODES = ["graph", "eager"]


def ready(model: nn.Module, *inputs: torch.Tensor, mode: str = "eager", **config: Any) -> Any:
    """A prepared model, calibrated on its own input."""
    config = {"execution_mode": mode, **config}
    quantizer = Quantizer(model.eval(), QuantizerConfig.from_dict({"quantization_config": config}))
    made = quantizer.prepare(inputs)
    with quantizer.calibration_mode():
        made(*inputs)
    return made


def test_values_and_operations_by_hand() -> None:
    recording = recorded(lambda x: torch.relu(x - 1) * 2, torch.tensor([0.5, 3.0]))
    assert [operation.name for operation in recording.operations] == ["sub", "relu", "mul"]
    assert recording.operations[0].args == (Ref("input_0"), 1)
    assert recording.inputs == ["input_0"]
    assert recording.outputs == ["mul"]
    assert recording.states == set()
    assert {k: v.tolist() for k, v in recording.values.items()} == {
        "input_0": [0.5, 3.0],
        "sub": [-0.5, 2.0],
        "relu": [0.0, 2.0],
        "mul": [0.0, 4.0],
    }


def test_an_operation_in_place_gives_a_new_value_and_the_old_one_stays() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        y.mul_(2)
        return torch.relu_(y)

    recording = check(function, X)
    assert [o.outputs for o in recording.operations] == [("add",), ("mul",), ("relu",)]
    np.testing.assert_array_equal(recording.values["add"], X.numpy() + 1)
    assert recording.operations[1].inputs == ["add"]
    assert recording.outputs == ["relu"]


def test_the_inputs_of_the_caller_are_not_written_into() -> None:
    given = X.clone()
    recording = recorded(lambda x: x.mul_(2), given)
    assert torch.equal(given, X)
    np.testing.assert_array_equal(recording.values["input_0"], X.numpy())


def test_views_are_operations() -> None:
    recording = check(lambda x: x.transpose(1, 2).reshape(2, -1)[:, 3:], X)
    assert [o.name for o in recording.operations] == ["transpose", "clone", "_unsafe_view", "slice"]


def test_outputs_are_flattened_from_any_nest() -> None:
    recording = recorded(lambda x: {"a": x + 1, "b": (x - 1, [x, None, 3])}, X)
    assert recording.outputs == ["add", "sub", "input_0"]
    assert {region.target for region in regions(recording)} == {"add", "sub"}


def test_inputs_in_tuples_dicts_and_of_integers() -> None:
    class Picks(nn.Module):
        def forward(self, pair: Any, named: Any) -> torch.Tensor:
            return pair[0][pair[1].shape[0] - 1] + named["bias"]

    index = torch.tensor([1, 0], dtype=torch.int64)
    recording = record(Picks(), ((X, index), {"bias": normal(6)}))
    assert recording.inputs == ["input_0", "input_1", "input_2"]
    assert recording.values["input_1"].dtype == np.int64
    (region,) = Regions(recording).build([])
    assert set(region.operands) == {"input_0", "input_2"}


def test_parameters_buffers_and_constants_are_states() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(normal(6))
            self.register_buffer("shift", normal(6, seed=1))
            self.plain = normal(6, seed=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight + self.shift - self.plain * torch.arange(6)

    recording = record(Sum(), (X,))
    assert recording.states == {"weight", "shift", "constant"}
    found = Regions(recording)
    assert found.constants >= {"weight", "shift", "constant", "arange"}
    (region,) = found.build([])
    assert [step.op for step in region.steps] == ["mul", "add", "sub"]
    scaled = normal(6, seed=2).numpy() * np.arange(6, dtype=np.float32)
    (product,) = set(region.operands) - {"input_0", "weight", "shift"}
    np.testing.assert_array_equal(recording.values[product], scaled)


@pytest.mark.parametrize("model", [nn.Identity(), nn.Dropout()])
def test_an_output_that_is_an_input(model: nn.Module) -> None:
    recording = record(model, (X,))
    assert recording.outputs == ["input_0"]
    assert Regions(recording).build([]) == []


def test_bfloat16_is_refused() -> None:
    with pytest.raises(GateError, match=r"input_0 is bfloat16; float32 and float16"):
        recorded(torch.relu, X.bfloat16())
    with pytest.raises(GateError, match="is bfloat16"):
        recorded(lambda x: x.bfloat16().float(), X)


def test_training_mode_is_restored_module_by_module() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout()).train()
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fused = torch.backends.mha.get_fastpath_enabled()
    one, two = (record(model, (X[:, 0],)) for _ in range(2))
    assert [m.training for m in model.modules()] == [True, True, False, True]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled() == fused
    np.testing.assert_array_equal(one.values[one.outputs[0]], two.values[two.outputs[0]])

    class Fails(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ArithmeticError

    failing = Fails().train()
    with pytest.raises(ArithmeticError):
        record(failing, (X,))
    assert failing.training
    assert torch.backends.mha.get_fastpath_enabled() == fused


@pytest.mark.parametrize("mode", MODES)
def test_quantizers_tell_what_they_saw_and_gave(mode: str) -> None:
    made = ready(nn.Sequential(nn.Linear(6, 4), nn.ReLU()), X[0], mode=mode)
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in made.modules())
    recording = record(made, (X[0],))
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in made.modules()) == hooks
    with torch.no_grad():
        np.testing.assert_array_equal(recording.values[recording.outputs[0]], made(X[0]).numpy())
    targets = [q.facts.target for q in recording.quantizations]
    assert targets.count("weight") == 1
    assert targets.count("activation") == 2
    for quantization in recording.quantizations:
        facts = quantization.facts
        assert facts.qparams.scale.ndim == recording.values[quantization.source].ndim
        np.testing.assert_array_equal(
            recording.values[quantization.result],
            fake_quantize(recording.values[quantization.source], facts.spec, facts.qparams),
        )
    (weight,) = Regions(recording).weights
    assert weight.facts.name == "0.weight"
    assert weight.facts.spec.granularity.to_dict() == {"type": "per_channel", "axis": 0}
    assert weight.facts.qparams.scale.shape == (4, 1)
    # A quantizer's own arithmetic is no operation of the model.
    assert {o.name.strip("_") for o in recording.operations} <= {"t", "addmm", "relu", "detach"}


@pytest.mark.parametrize("mode", MODES)
def test_a_weight_that_two_calls_share_is_one_weight(mode: str) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(torch.relu(self.linear(x)))

    found = Regions(record(ready(Twice(), X[0], mode=mode), (X[0],)))
    assert [q.facts.name for q in found.weights] == ["linear.weight"]
    names = [region.name for region in found.build([])]
    assert len(names) == len(set(names))
    assert sum(region.operation.startswith("linear") for region in found.build([])) == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_quantizer_that_is_off_stands_nowhere(mode: str) -> None:
    from quant_conformance.gate.recording.quantizers import quantizer_modules

    made = ready(nn.Sequential(nn.Linear(6, 4), nn.ReLU()), X[0], mode=mode)
    before = len(record(made, (X[0],)).quantizations)
    (last, *_) = [m for _, m in reversed(list(quantizer_modules(made))) if "eight" not in str(_)]
    last.disable_fake_quant()
    recording = record(made, (X[0],))
    assert len(recording.quantizations) == before - 1
    with torch.no_grad():
        np.testing.assert_array_equal(recording.values[recording.outputs[0]], made(X[0]).numpy())


def test_a_dynamic_quantizer_is_refused() -> None:
    spec = {"dtype": "int8", "qparam_calculator_cls": "dynamic"}
    model = ready(
        nn.Linear(6, 4), X[0], global_config={"op_input_spec": {"*": spec}, "op_state_spec": None}
    )
    with pytest.raises(GateError, match=r"quantized dynamically, which cannot be exported \(SPEC"):
        record(model, (X[0],))


def test_the_facts_of_every_kind_of_spec() -> None:
    specs = [
        {"dtype": "int4", "granularity": {"type": "per_block", "axis": 1, "block_size": 3}},
        {"dtype": "uint8", "qscheme": "asymmetric", "qformulation": "minval"},
        {"dtype": "float8_e4m3fn", "granularity": {"type": "per_channel", "axis": 0}},
    ]
    for spec in specs:
        config = {"op_state_spec": {"weight": spec}, "op_input_spec": None, "op_output_spec": None}
        recording = record(ready(nn.Linear(6, 4), X[0], global_config=config), (X[0],))
        (found,) = recording.quantizations
        assert found.facts.spec == QuantizationSpec.from_dict(spec)
        qparams = found.facts.qparams
        given = (qparams.scale, qparams.zero_point, qparams.minval)
        integer, minval = "int" in spec["dtype"], "qformulation" in spec
        assert [q is not None for q in given] == [True, integer and not minval, minval]


def test_both_modes_of_the_cnn_hold_what_the_model_gives() -> None:
    for mode in MODES:
        _, model, batches = prepared(mode)
        recording = record(model, batches[-1])
        with torch.no_grad():
            right = model(*batches[-1]).numpy()
        np.testing.assert_array_equal(recording.values[recording.outputs[0]], right)
        assert not any(region.lacking for region in Regions(recording).build([]))
