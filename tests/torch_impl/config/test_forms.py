"""Python, dict and YAML give one and the same config; what is wrong is refused by name."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import nn

from quant_torch.quantization import (
    ExecutionMode,
    InvalidExecutionModeError,
    ModuleQuantizerConfig,
    OpQuantizerConfig,
    QuantizationSpec,
    QuantizerConfig,
)
from quant_torch.quantization.config import QATSchedule
from quant_torch.quantization.spec import (
    PerBlockGranularity,
    PerChannelGranularity,
    default_activation_quantization_spec,
    default_weight_quantization_spec,
)

YAML = """
quantization_spec:
  four: &four
    dtype: int4
    qscheme: symmetric_with_clipping
    granularity: {type: per_block, block_size: 16}
  eight: &eight {dtype: uint8, qscheme: asymmetric, float_range: [-1.0, null]}
quantization_config:
  execution_mode: eager
  global_config:
    op_input_spec: {"*": *eight, 1: null, other: *eight}
    op_output_spec: null
    op_state_spec: {weight: *four}
    op_type_config:
      embedding: null
      linear: {op_input_spec: null, op_state_spec: {weight: {dtype: float4_e2m1fn, granularity: {type: per_block, block_size: [1, 32]}}}}
    op_name_config: {'head\\..*': {op_output_spec: {"0": *eight}}}
    qat_schedule: {enable_fake_quant: 10, disable_observer: 20}
  module_type_configs:
    torch.nn.modules.conv.Conv2d: null
  module_name_configs:
    'layers\\.\\d+':
      module_input_spec: {0: *eight}
      module_output_spec: {"*": null}
      module_state_spec: {table: *four}
"""  # noqa: E501

FOUR = QuantizationSpec(
    dtype=torch.int4,
    qscheme="symmetric_with_clipping",
    granularity=PerBlockGranularity(block_size=16),
)
EIGHT = QuantizationSpec(dtype=torch.uint8, qscheme="asymmetric", float_range=(-1.0, None))
PYTHON = QuantizerConfig(
    execution_mode=ExecutionMode.EAGER,
    global_config=ModuleQuantizerConfig(
        op_input_spec={"*": EIGHT, 1: None, "other": EIGHT},
        op_output_spec=None,
        op_state_spec={"weight": FOUR},
        op_type_config={
            "embedding": None,
            "linear": OpQuantizerConfig(
                op_input_spec=None,
                op_state_spec={
                    "weight": QuantizationSpec(
                        dtype="float4_e2m1fn", granularity=PerBlockGranularity(block_size=(1, 32))
                    )
                },
            ),
        },
        op_name_config={r"head\..*": OpQuantizerConfig(op_output_spec={0: EIGHT})},
        qat_schedule=QATSchedule(enable_fake_quant=10, disable_observer=20),
    ),
    module_type_configs={nn.Conv2d: None},
    module_name_configs={
        r"layers\.\d+": ModuleQuantizerConfig(
            module_input_spec={0: EIGHT},
            module_output_spec={"*": None},
            module_state_spec={"table": FOUR},
        )
    },
)


class TestForms:
    def test_yaml_equals_python(self) -> None:
        assert QuantizerConfig.from_yaml(io.StringIO(YAML)) == PYTHON

    def test_a_dict_equals_python(self) -> None:
        assert QuantizerConfig.from_dict(yaml.safe_load(YAML)) == PYTHON

    @pytest.mark.parametrize("kind", [str, Path])
    def test_a_file(self, kind: type, tmp_path: Path) -> None:
        path = tmp_path / "config.yaml"
        path.write_text(YAML)
        assert QuantizerConfig.from_yaml(kind(path)) == PYTHON

    def test_round_trips(self) -> None:
        plain = PYTHON.to_dict()
        assert QuantizerConfig.from_dict(plain) == PYTHON
        assert QuantizerConfig.from_dict(json.loads(json.dumps(plain))) == PYTHON
        assert QuantizerConfig.from_yaml(io.StringIO(yaml.safe_dump(plain))) == PYTHON

    @pytest.mark.parametrize(
        "config",
        [
            QuantizerConfig(),
            QuantizerConfig(global_config=None),
            QuantizerConfig.presets.w8(),
            QuantizerConfig.presets.w4(axis=1),
            QuantizerConfig.presets.w4_per_block(block_size=64, execution_mode="eager"),
        ],
    )
    def test_small_ones_round_trip(self, config: QuantizerConfig) -> None:
        assert QuantizerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config

    def test_a_plain_form_holds_no_objects(self) -> None:
        def check(given: Any) -> None:
            if isinstance(given, dict):
                assert all(type(key) in (str, int) for key in given)
                given = list(given.values())
            if isinstance(given, list):
                for inner in given:
                    check(inner)
            else:
                assert given is None or type(given) in (str, int, float, bool)

        check(PYTHON.to_dict())

    def test_configs_of_modules_and_operations_read_dicts_too(self) -> None:
        spec = {"dtype": "int4", "granularity": {"type": "per_channel", "axis": 0}}
        read = ModuleQuantizerConfig(op_state_spec={"weight": spec})
        assert read.op_state_spec["weight"] == QuantizationSpec(
            dtype=torch.int4, granularity=PerChannelGranularity(axis=0)
        )

    def test_changing_one_config_changes_no_other(self) -> None:
        one, other = QuantizerConfig(), QuantizerConfig()
        one.set_module_name("a", None).set_execution_mode("eager")
        one.global_config.op_state_spec["bias"] = None
        assert other == QuantizerConfig()


class TestDefaults:
    def test_nothing_given(self) -> None:
        config = QuantizerConfig()
        assert config.execution_mode is ExecutionMode.GRAPH
        assert config.global_config == ModuleQuantizerConfig()
        assert config.module_type_configs == config.module_name_configs == {}

    def test_operations(self) -> None:
        config = OpQuantizerConfig()
        assert config.op_input_spec == {"*": default_activation_quantization_spec()}
        assert config.op_output_spec == {"*": default_activation_quantization_spec()}
        assert config.op_state_spec == {"weight": default_weight_quantization_spec()}

    def test_default_specs(self) -> None:
        weight, activation = (
            default_weight_quantization_spec(), default_activation_quantization_spec()
        )  # fmt: skip
        assert (weight.dtype, weight.qscheme.value) == (torch.int8, "symmetric")
        assert weight.granularity == PerChannelGranularity(axis=0)
        assert (activation.dtype, activation.qscheme.value) == (torch.int8, "symmetric")
        assert activation.granularity.to_dict()["type"] == "per_tensor"
        dumped = activation.model_dump(mode="json")["qparam_calculator_cls"]
        assert dumped == "moving_average"

    def test_modules_have_no_boundary(self) -> None:
        config = ModuleQuantizerConfig()
        assert config.module_input_spec == {}
        assert config.module_output_spec == {}
        assert config.module_state_spec == {}
        assert config.qat_schedule is None
        assert not config.treats_module_as_whole()

    def test_none_for_a_dict_disables_all(self) -> None:
        config = OpQuantizerConfig(op_input_spec=None, op_output_spec=None, op_state_spec=None)
        for specs in (config.op_input_spec, config.op_output_spec, config.op_state_spec):
            assert set(specs.values()) == {None}

    def test_string_indices_are_indices(self) -> None:
        assert OpQuantizerConfig(op_input_spec={"0": None}).op_input_spec == {0: None}


class TestPresets:
    @pytest.mark.parametrize("presets", [QuantizerConfig.presets, ModuleQuantizerConfig.presets])
    @pytest.mark.parametrize(
        ("name", "arguments", "dtype", "granularity"),
        [
            ("w8", {}, torch.int8, PerChannelGranularity()),
            ("w8", {"axis": 1}, torch.int8, PerChannelGranularity(axis=1)),
            ("w4", {}, torch.int4, PerChannelGranularity()),
            ("w4", {"axis": 0}, torch.int4, PerChannelGranularity(axis=0)),
            ("w4_per_block", {}, torch.int4, PerBlockGranularity(block_size=32)),
            (
                "w4_per_block",
                {"block_size": 16, "axis": 0},
                torch.int4,
                PerBlockGranularity(block_size=16, axis=0),
            ),
        ],
    )
    def test_weights_only(
        self, presets: Any, name: str, arguments: dict[str, int], dtype: Any, granularity: Any
    ) -> None:
        config = getattr(presets, name)(**arguments)
        config = config.global_config if isinstance(config, QuantizerConfig) else config
        spec = QuantizationSpec(dtype=dtype, granularity=granularity)
        assert config.op_state_spec == {"weight": spec}
        assert set(config.op_input_spec.values()) == {None}
        assert set(config.op_output_spec.values()) == {None}

    @pytest.mark.parametrize("name", ["w8", "w4", "w4_per_block"])
    def test_execution_mode(self, name: str) -> None:
        preset = getattr(QuantizerConfig.presets, name)
        assert preset().execution_mode is ExecutionMode.GRAPH
        assert preset(execution_mode="eager").execution_mode is ExecutionMode.EAGER


def refused(match: str) -> Any:
    return pytest.raises((ValidationError, ValueError), match=match)


class TestRefusals:
    @pytest.mark.parametrize(
        ("cls", "key", "meant"),
        [
            (QuantizerConfig, "globl_config", "global_config"),
            (QuantizerConfig, "module_name_config", "module_name_configs"),
            (QuantizerConfig, "execution_mod", "execution_mode"),
            (ModuleQuantizerConfig, "op_inputs_spec", "op_input_spec"),
            (ModuleQuantizerConfig, "op_type_configs", "op_type_config"),
            (ModuleQuantizerConfig, "module_stat_spec", "module_state_spec"),
            (OpQuantizerConfig, "op_states_spec", "op_state_spec"),
            (QATSchedule, "enable_observers", "enable_observer"),
            (QuantizationSpec, "qsheme", "qscheme"),
            (QuantizationSpec, "granularty", "granularity"),
        ],
    )
    def test_unknown_keys_name_the_closest(self, cls: Any, key: str, meant: str) -> None:
        with refused(f"no key '{key}' .did you mean '{meant}'"):
            cls(**{key: None})

    def test_deep_inside_a_dict(self) -> None:
        plain = {"global_config": {"op_state_spec": {"weight": {"dtyp": "int8"}}}}
        with refused("no key 'dtyp' .did you mean 'dtype'"):
            QuantizerConfig.from_dict({"quantization_config": plain})

    @pytest.mark.parametrize(
        ("given", "match"),
        [
            ({"quantisation_config": {}}, "did you mean 'quantization_config'"),
            ({"global_config": {}}, "unknown top key 'global_config'"),
            ({}, "needs the key quantization_config"),
            ({"quantization_config": None}, "needs the key quantization_config"),
            ({"quantization_config": {}, "specs": {}}, "unknown top key 'specs'"),
            ([], "must be a mapping"),
        ],
    )
    def test_top_keys(self, given: Any, match: str) -> None:
        with refused(match):
            QuantizerConfig.from_dict(given)

    def test_broken_yaml(self) -> None:
        with refused("not valid YAML"):
            QuantizerConfig.from_yaml(io.StringIO("quantization_config: {"))

    def test_an_empty_file(self, tmp_path: Path) -> None:
        with refused("must be a mapping"):
            QuantizerConfig.from_yaml(io.StringIO(""))
        with pytest.raises(FileNotFoundError):
            QuantizerConfig.from_yaml(tmp_path / "missing.yaml")

    @pytest.mark.parametrize("key", ["preserved_attributes", "kv_cache_quant_configs"])
    def test_what_is_left_out_is_refused_by_name(self, key: str) -> None:
        with refused(f"{key} is not supported"):
            QuantizerConfig(**{key: ["x"]})
        assert QuantizerConfig(**{key: None}) == QuantizerConfig()

    @pytest.mark.parametrize("mode", ["Graph", "jit", 1, None])
    def test_execution_modes(self, mode: Any) -> None:
        with refused("'graph'.{2,4}'eager'"):
            QuantizerConfig(execution_mode=mode)
        with pytest.raises(InvalidExecutionModeError):
            QuantizerConfig().set_execution_mode(mode)

    @pytest.mark.parametrize("key", [-1, True, 1.5])
    def test_spec_keys(self, key: Any) -> None:
        with pytest.raises(ValidationError):
            OpQuantizerConfig(op_input_spec={key: None})

    @pytest.mark.parametrize("where", ["module_name_configs", "op_name_config"])
    def test_patterns(self, where: str) -> None:
        cls = QuantizerConfig if where == "module_name_configs" else ModuleQuantizerConfig
        with refused(rf"{where}: '\(a' is no regular expression"):
            cls(**{where: {"(a": None}})

    @pytest.mark.parametrize("given", ["Linear", "Conv2d", "linear"])
    def test_type_names_must_be_qualified(self, given: str) -> None:
        with refused("must be fully qualified"):
            QuantizerConfig(module_type_configs={given: None})

    def test_the_closest_type_is_named(self) -> None:
        with refused("did you mean 'torch.nn.Linear'"):
            QuantizerConfig(module_type_configs={"Linaer": None})

    @pytest.mark.parametrize("key", ["module_input_spec", "module_output_spec"])
    def test_a_model_has_no_boundary(self, key: str) -> None:
        with refused("global_config cannot have"):
            QuantizerConfig(global_config=ModuleQuantizerConfig(**{key: {0: QuantizationSpec()}}))
        with refused("global_config cannot have"):
            QuantizerConfig().set_global(ModuleQuantizerConfig(**{key: {"*": None}}))


class TestSchedules:
    @pytest.mark.parametrize(
        "given",
        [{}, {"enable_fake_quant": 3}, {"enable_observer": 2, "enable_fake_quant": 2},
         {"disable_observer": 1}, {"enable_fake_quant": 4, "disable_observer": 4}],
    )  # fmt: skip
    def test_legal(self, given: dict[str, int]) -> None:
        schedule = QATSchedule(**given)
        first, second, last = (
            schedule.enable_observer, schedule.enable_fake_quant, schedule.disable_observer
        )  # fmt: skip
        for step in range(6):
            assert schedule.observes(step) == (first <= step < (99 if last is None else last))
            assert schedule.quantizes(step) == (step >= second)

    @pytest.mark.parametrize(
        ("given", "match"),
        [
            ({"enable_observer": 2, "enable_fake_quant": 1}, "enable_fake_quant .1. must be >="),
            ({"enable_observer": 2, "enable_fake_quant": 2, "disable_observer": 2}, "must be >"),
            ({"enable_fake_quant": 5, "disable_observer": 4}, "disable_observer .4. must be >"),
            ({"enable_observer": -1}, "greater than or equal to 0"),
            ({"disable_observer": 0}, "greater than 0"),
        ],
    )
    def test_illegal(self, given: dict[str, int], match: str) -> None:
        with refused(match):
            QATSchedule(**given)

    def test_frozen(self) -> None:
        with refused("frozen"):
            QATSchedule().enable_observer = 3
