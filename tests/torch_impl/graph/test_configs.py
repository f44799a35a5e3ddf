"""Which entry of a config counts, and what is said about entries that do not."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from tests.torch_impl.graph.support import (
    INT8,
    UINT4,
    UINT8,
    WEIGHT,
    Net,
    activations,
    conv,
    dtypes,
    globally,
    groups,
    images,
    operation,
    prepare,
    rows,
    spec_of,
    weights,
)
from torch import Tensor, nn
from torch.nn import functional

from quant_torch.quantization.config import ModuleQuantizerConfig, QATSchedule, QuantizerConfig
from quant_torch.quantization.quantizer import Quantizer
from quant_torch.quantization.spec import QuantizationSpec


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 6))


def test_a_module_name_goes_before_a_type_before_the_global_config() -> None:
    config = QuantizerConfig(
        global_config=activations(INT8),
        module_type_configs={nn.Linear: activations(UINT8)},
        module_name_configs={"3": activations(UINT4)},
    )
    found = dtypes(prepare(mlp(), rows(), config=config))
    assert found == {"input": "uint8", "relu": "uint8", "linear_1": "uint4", "linear_2": "uint4"}


def test_a_later_entry_wins_and_reaches_children() -> None:
    inner = Net(lambda s, x: functional.relu(s.fc(x)), fc=nn.Linear(6, 6))
    model = Net(lambda s, x: s.m(x), m=inner)
    child = {"m.fc": activations(UINT4), "m": activations(UINT8)}
    assert dtypes(prepare(model, rows(), config=QuantizerConfig(module_name_configs=child))) == {
        "args_0": "uint8", "relu": "uint8",
    }  # fmt: skip
    child = {"m": activations(UINT8), r"m\.f.": activations(UINT4)}
    assert dtypes(prepare(model, rows(), config=QuantizerConfig(module_name_configs=child))) == {
        "args_0": "uint4", "relu": "uint4",
    }  # fmt: skip


def test_none_disables() -> None:
    config = QuantizerConfig(module_name_configs={"2": None})
    prepared = prepare(mlp(), rows(), config=config)
    assert weights(prepared) == {"0.weight", "3.weight"}
    assert set(dtypes(prepared)) == {"input", "relu", "linear_1", "linear_2"}
    prepared = prepare(mlp(), rows(), config=globally(None))
    assert not weights(prepared)
    assert not dtypes(prepared)


def test_operations_by_type_and_by_name() -> None:
    config = globally(
        activations(
            INT8,
            op_type_config={"linear": operation(UINT8)},
            op_name_config={"linear_[12]": operation(UINT4), "linear_2": None},
        )
    )
    prepared = prepare(mlp(), rows(), config=config)
    assert dtypes(prepared) == {"input": "uint8", "relu": "uint4", "linear_1": "uint4"}
    assert weights(prepared) == {"0.weight", "2.weight"}


def test_in_place_operations_by_either_type() -> None:
    model = Net(lambda s, x: s.a(x).add_(1.0), a=nn.Linear(6, 6))
    for kind in ("add", "add_"):
        config = globally(activations(INT8, op_type_config={kind: operation(INT8, UINT8)}))
        assert dtypes(prepare(model, rows(), config=config))["add_"] == "uint8"


def test_inputs_by_index_and_by_name() -> None:
    model = Net(lambda s, a, b: a - b)
    for key in (1, "other", "input_1"):
        config = globally(
            ModuleQuantizerConfig(op_input_spec={key: UINT8}, op_output_spec={0: UINT4})
        )
        found = dtypes(prepare(model, rows(), rows(1), config=config))
        assert found == {"args_1": "uint8", "sub": "uint4"}


def test_states_by_name() -> None:
    config = globally(ModuleQuantizerConfig(op_state_spec={"*": WEIGHT, "bias": None}))
    assert weights(prepare(nn.Linear(6, 2), rows(), config=config)) == {"weight"}
    config = globally(ModuleQuantizerConfig(op_state_spec={"bias": INT8}))
    assert weights(prepare(nn.Linear(6, 2), rows(), config=config)) == {"bias"}


def test_the_default_axis_comes_from_the_layer() -> None:
    config = QuantizerConfig.presets.w8()
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.Conv2d(4, 2, 1))
    prepared = prepare(model, images(), config=config)
    assert spec_of(prepared, "0.weight").granularity.axis == 1
    assert spec_of(prepared, "1.weight").granularity.axis == 0
    model = Net(lambda s, x: torch.einsum("ij,jk->ik", x, s.weight))
    model.weight = nn.Parameter(torch.randn(6, 6))
    with pytest.warns(UserWarning, match=r"weight of shape \(6, 6\) .*einsum.*GRAN-7"):
        assert not weights(prepare(model, rows(), config=config))


def test_a_weight_that_is_computed_is_a_weight() -> None:
    model = nn.utils.parametrizations.weight_norm(nn.Linear(6, 2))
    assert weights(prepare(model, rows(), config=QuantizerConfig.presets.w8()))


class TestModuleBoundaries:
    def model(self) -> nn.Module:
        class Inner(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc = nn.Linear(6, 6)

            def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
                return torch.exp(self.fc(y)) * x, {"second": y}

        return Net(lambda s, a, b: s.inner(a, y=b)[0], inner=Inner())

    def boundary(self, **specs: Any) -> QuantizerConfig:
        nothing = {"op_input_spec": None, "op_output_spec": None, "op_state_spec": None}
        inner = ModuleQuantizerConfig(**nothing, **specs)
        return QuantizerConfig(global_config=None, module_name_configs={"inner": inner})

    def test_inputs_and_outputs_whatever_reads_them(self) -> None:
        config = self.boundary(module_input_spec={1: UINT8}, module_output_spec={0: UINT4})
        found = dtypes(prepare(self.model(), rows(), rows(1), config=config))
        assert found == {"args_1": "uint8", "mul": "uint4"}

    def test_inputs_by_name(self) -> None:
        config = self.boundary(module_input_spec={"x": UINT8})
        assert dtypes(prepare(self.model(), rows(), rows(1), config=config)) == {"args_0": "uint8"}

    def test_states(self) -> None:
        config = QuantizerConfig(
            global_config=None,
            module_name_configs={
                "inner.fc": ModuleQuantizerConfig(
                    op_input_spec=None,
                    op_output_spec=None,
                    op_state_spec=None,
                    module_state_spec={"*": WEIGHT},
                )
            },
        )
        prepared = prepare(self.model(), rows(), rows(1), config=config)
        assert weights(prepared) == {"inner.fc.weight", "inner.fc.bias"}

    def test_they_replace_what_operations_ask_for(self) -> None:
        model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
        config = QuantizerConfig(
            module_name_configs={
                "1": ModuleQuantizerConfig(
                    module_input_spec={"*": UINT8}, module_output_spec={"*": None}
                )
            }
        )
        found = dtypes(prepare(model, rows(), config=config))
        assert found == {"input": "int8", "linear": "uint8", "relu": "int8", "linear_1": "int8"}

    def test_a_quantized_result_of_a_layer_keeps_its_batch_norm_apart(self) -> None:
        model = nn.Sequential(conv(), nn.BatchNorm2d(4))
        config = QuantizerConfig(
            module_name_configs={"0": ModuleQuantizerConfig(module_output_spec={0: UINT8})}
        )
        prepared = prepare(model, images(), config=config)
        assert dtypes(prepared) == {"input": "int8", "conv2d": "uint8"}
        assert not any(name.endswith("folded_weight") for name, _ in prepared.named_modules())


class TestConflicts:
    def test_the_more_specific_config_decides_with_a_warning(self) -> None:
        config = QuantizerConfig(
            module_type_configs={nn.Linear: activations(UINT4)},
            module_name_configs={"0": activations(UINT8)},
        )
        model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
        with pytest.warns(UserWarning, match=r"linear and linear_1 ask .* the spec of linear is"):
            prepared = Quantizer(model, config).prepare((rows(),))
        assert dtypes(prepared) == {"input": "uint8", "linear": "uint8", "linear_1": "uint4"}

    def test_then_the_first_reader_then_the_producer(self) -> None:
        model = Net(
            lambda s, x: s.b(s.a(x)), a=nn.Linear(6, 6), b=nn.Linear(6, 6), c=nn.Linear(6, 6)
        )
        prepared = prepare(model, rows(), config=globally(activations(INT8, UINT8)))
        assert dtypes(prepared) == {"args_0": "int8", "linear": "int8", "linear_1": "uint8"}

    def test_readers_of_a_float_tensor_do_not_disturb_each_other(self) -> None:
        model = Net(lambda s, x: (s.a(x), s.b(x)), a=nn.Linear(6, 6), b=nn.Linear(6, 6))
        config = QuantizerConfig(module_name_configs={"b": activations(UINT8)})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            prepared = Quantizer(model, config).prepare((rows(),))
        names = [n for n, _ in prepared.named_children() if n.startswith("fake_quantize_args_0")]
        assert len(names) == 2

    def test_a_state_with_two_readers(self) -> None:
        def forward(net: nn.Module, x: Tensor) -> Tensor:
            return functional.linear(net.fc(x), net.fc.weight)

        per_tensor = operation(INT8).model_copy(update={"op_state_spec": {"weight": INT8}})
        config = globally(activations(INT8, op_name_config={"linear_1": per_tensor}))
        model = Net(forward, fc=nn.Linear(6, 6))
        with pytest.warns(UserWarning, match=r"linear_1 and linear ask .* fc.weight"):
            prepared = Quantizer(model, config).prepare((rows(),))
        assert spec_of(prepared, "fc.weight") == INT8


class TestSchedules:
    EARLY = QATSchedule(enable_fake_quant=1)
    LATE = QATSchedule(enable_fake_quant=5)

    def schedules(self, config: QuantizerConfig) -> dict[str, Any]:
        model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
        prepared = prepare(model, rows(), config=config)
        return {
            m.tensor_name: m.qat_schedule for m in prepared.modules() if hasattr(m, "qat_schedule")
        }

    def test_the_reader_goes_before_the_producer(self) -> None:
        names = {
            "0": ModuleQuantizerConfig(qat_schedule=self.EARLY),
            "1": ModuleQuantizerConfig(qat_schedule=self.LATE),
        }
        assert self.schedules(QuantizerConfig(module_name_configs=names)) == {
            "0.weight": self.EARLY,
            "1.weight": self.LATE,
            "input": self.EARLY,
            "linear": self.LATE,
            "linear_1": self.LATE,
        }

    def test_a_producer_has_its_own_where_no_reader_has_one(self) -> None:
        names = {"0": ModuleQuantizerConfig(qat_schedule=self.EARLY)}
        found = self.schedules(QuantizerConfig(module_name_configs=names))
        assert found["linear"] == self.EARLY
        assert found["linear_1"] is None


class TestWarnings:
    def messages(self, model: nn.Module, config: QuantizerConfig) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Quantizer(model, config).prepare((rows(),))
        return [str(w.message) for w in caught]

    def test_closest_names(self) -> None:
        config = QuantizerConfig(
            global_config=ModuleQuantizerConfig(
                op_type_config={"lineer": None}, op_name_config={"linear_7": None}
            ),
            module_name_configs={"layr": None},
            module_type_configs={"torch.nn.modules.linear.Linaer": None},
        )
        model = nn.Sequential()
        model.add_module("layer", nn.Linear(6, 6))
        found = "\n".join(self.messages(model, config))
        assert "'lineer' (did you mean 'linear'" in found
        assert "'linear_7' (did you mean 'linear'" in found
        assert "'layr' (did you mean 'layer'" in found
        assert (
            "'torch.nn.modules.linear.Linaer' (did you mean 'torch.nn.modules.linear.Linear'"
            in (found)
        )

    def test_entries_for_operations_inside_a_region(self) -> None:
        (found,) = self.messages(
            mlp(), globally(ModuleQuantizerConfig(op_type_config={"relu": operation(UINT8)}))
        )
        assert "relu runs as one with linear" in found

    def test_entries_for_operations_without_a_pattern(self) -> None:
        (found,) = self.messages(
            nn.Sequential(nn.Linear(6, 6), nn.Softmax(-1)),
            globally(ModuleQuantizerConfig(op_type_config={"softmax": operation(UINT8)})),
        )
        assert "no pattern for softmax" in found
        assert "register_pattern" in found

    def test_an_input_index_that_is_a_state(self) -> None:
        spec = operation(INT8).model_copy(update={"op_input_spec": {1: UINT8}})
        (found,) = self.messages(
            nn.Linear(6, 6), globally(ModuleQuantizerConfig(op_type_config={"linear": spec}))
        )
        assert "op_state_spec" in found

    def test_blocks_that_do_not_fit(self) -> None:
        config = QuantizerConfig.presets.w4_per_block(block_size=4)
        model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 2))
        (found,) = self.messages(model, config)
        assert "0.weight of shape (8, 6) is left unquantized" in found
        prepared = prepare(nn.Sequential(nn.Linear(8, 2)), rows(0, (4, 8)), config=config)
        assert weights(prepared) == {"0.weight"}

    def test_a_bias_behind_a_folded_batch_norm(self) -> None:
        model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
        config = globally(ModuleQuantizerConfig(op_state_spec={"*": INT8}))
        (found,) = self.messages(model, config)
        assert "0.bias is left unquantized" in found

    def test_they_point_at_the_line_that_calls_prepare(self) -> None:
        config = globally(ModuleQuantizerConfig(op_type_config={"lineer": None}))
        with pytest.warns(UserWarning, match="lineer") as caught:
            Quantizer(nn.Linear(6, 6), config).prepare((rows(),))
        assert caught[0].filename == __file__


def test_nothing_is_shared_through_what_a_config_disables() -> None:
    model = nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2), conv(4, 4))
    config = globally(ModuleQuantizerConfig(op_type_config={"max_pool2d": None}))
    assert groups(prepare(model, images(), config=config))["max_pool2d"] == "max_pool2d"


def test_specs_of_one_plain_form_are_equal() -> None:
    """What sharing relies on: specs are compared by value."""
    assert QuantizationSpec(dtype="uint8") == QuantizationSpec(dtype=torch.uint8)
