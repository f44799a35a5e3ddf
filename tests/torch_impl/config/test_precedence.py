"""Which config governs a module and an operation; the setters that say so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.torch_impl.models import Cnn, Mlp
from torch import nn

from quant_torch.quantization import (
    ExecutionMode,
    ModuleQuantizerConfig,
    OpQuantizerConfig,
    Quantizer,
    QuantizerConfig,
)
from quant_torch.quantization._module_configs import resolve_module_configs
from quant_torch.quantization.config import QATSchedule

A, B, C, D = (
    ModuleQuantizerConfig(qat_schedule=QATSchedule(enable_fake_quant=n)) for n in range(1, 5)
)
LINEAR = "torch.nn.modules.linear.Linear"


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(x))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def resolved(config: QuantizerConfig, model: nn.Module | None = None) -> dict[str, Any]:
    settings = resolve_module_configs(model or Model(), config)
    return {name: setting.config for name, setting in settings.items()}


class TestModules:
    def test_global_reaches_all(self) -> None:
        found = resolved(QuantizerConfig(global_config=A))
        assert len(found) == 9
        assert all(config == A for config in found.values())

    def test_type_before_global_name_before_type(self) -> None:
        config = QuantizerConfig(
            global_config=A, module_type_configs={nn.Linear: B}, module_name_configs={"head": C}
        )
        found = resolved(config)
        assert found["blocks.0"] == found["blocks.0.norm"] == A
        assert found["blocks.0.linear"] == B
        assert found["head"] == C

    def test_an_entry_reaches_the_children(self) -> None:
        found = resolved(QuantizerConfig(global_config=A).set_module_type(Block, B))
        assert found["blocks.1.linear"] == B
        assert found["head"] == A

    def test_a_name_of_a_parent_beats_the_type_of_a_child(self) -> None:
        config = QuantizerConfig(global_config=A).set_module_type(nn.Linear, B)
        found = resolved(config.set_module_name("blocks.0", C))
        assert found["blocks.0.linear"] == C
        assert found["blocks.1.linear"] == B

    @pytest.mark.parametrize("order", [("blocks.*", "blocks.0"), ("blocks.0", "blocks.*")])
    def test_a_later_name_wins(self, order: tuple[str, str]) -> None:
        config = QuantizerConfig(global_config=None)
        for pattern, entry in zip(order, (B, C), strict=True):
            config.set_module_name(pattern, entry)
        assert resolved(config)["blocks.0"] == C

    def test_setting_again_moves_an_entry_to_the_end(self) -> None:
        config = QuantizerConfig().set_module_name("head", B).set_module_name(".*", C)
        assert resolved(config)["head"] == C
        assert resolved(config.set_module_name("head", B))["head"] == B

    def test_names_match_as_a_whole(self) -> None:
        config = QuantizerConfig(global_config=A, module_name_configs={r"blocks\.\d": B})
        found = resolved(config)
        assert found["blocks"] == A
        assert found["blocks.0"] == found["blocks.0.linear"] == B

    def test_none_disables(self) -> None:
        found = resolved(QuantizerConfig(global_config=A, module_name_configs={"head": None}))
        assert found["head"] is None
        assert found["blocks.0.linear"] == A

    def test_a_shared_module_has_one_config_under_both_names(self) -> None:
        model = Model()
        model.again = model.head
        found = resolved(QuantizerConfig(global_config=A, module_name_configs={"again": B}), model)
        assert found["again"] == found["head"] == B

    def test_boundaries_are_the_modules_own(self) -> None:
        entry = ModuleQuantizerConfig(module_input_spec={0: None})
        config = QuantizerConfig(module_name_configs={"blocks.0": entry})
        settings = resolve_module_configs(Model(), config)
        assert settings["blocks.0"].boundary == entry
        assert settings["blocks.0.linear"].boundary is None

    @pytest.mark.parametrize(
        ("config", "match"),
        [
            (QuantizerConfig(module_name_configs={"haed": A}), "'haed' .did you mean 'head'"),
            (QuantizerConfig(module_name_configs={"block": A}), "did you mean .*'blocks'"),
            (QuantizerConfig(module_type_configs={nn.Conv2d: A}), "type 'torch.nn.*Conv2d'"),
        ],
    )
    def test_an_entry_without_a_match_warns(self, config: QuantizerConfig, match: str) -> None:
        with pytest.warns(UserWarning, match=match):
            resolve_module_configs(Model(), config)


class TestTypeNames:
    @pytest.mark.parametrize("given", [nn.Linear, LINEAR, "torch.nn.Linear"])
    def test_one_type_three_ways(self, given: Any) -> None:
        assert QuantizerConfig(module_type_configs={given: A}).module_type_configs == {LINEAR: A}
        assert QuantizerConfig().set_module_type(given, A).module_type_configs == {LINEAR: A}

    def test_own_classes(self) -> None:
        config = QuantizerConfig().set_module_type(Block, A)
        assert list(config.module_type_configs) == [f"{__name__}.Block"]

    def test_a_subclass_is_another_type(self) -> None:
        class Special(nn.Linear):
            pass

        model = nn.Sequential(nn.Linear(4, 4), Special(4, 4))
        found = resolved(QuantizerConfig(module_type_configs={nn.Linear: A}), model)
        assert found["0"] == A
        assert found["1"] != A

    @pytest.mark.parametrize("given", [int, 3, None])
    def test_others_are_refused(self, given: Any) -> None:
        with pytest.raises(TypeError, match=r"nn\.Module class or its name"):
            QuantizerConfig().set_module_type(given, A)


class TestSetters:
    def test_they_chain(self) -> None:
        config = (
            QuantizerConfig()
            .set_global(A)
            .set_module_type(nn.Linear, B)
            .set_module_name("head", None)
            .set_execution_mode("eager")
            .without("blocks.0")
        )
        assert config == QuantizerConfig(
            global_config=A,
            module_type_configs={LINEAR: B},
            module_name_configs={"head": None, "blocks.0": None},
            execution_mode=ExecutionMode.EAGER,
        )

    def test_without(self) -> None:
        config = QuantizerConfig(global_config=A).without(nn.LayerNorm, "head", "blocks.1")
        found = resolved(config)
        disabled = {name for name, entry in found.items() if entry is None}
        assert disabled == {
            "head", "blocks.0.norm", "blocks.1", "blocks.1.linear", "blocks.1.norm",
        }  # fmt: skip

    def test_only_for(self) -> None:
        found = resolved(QuantizerConfig(global_config=A).only_for("head", nn.LayerNorm))
        enabled = {name for name, entry in found.items() if entry is not None}
        assert enabled == {"head", "blocks.0.norm", "blocks.1.norm"}
        assert found["head"] == A

    def test_lists_are_read_as_targets(self) -> None:
        one = QuantizerConfig(global_config=A).only_for(["head", nn.LayerNorm])
        assert one == QuantizerConfig(global_config=A).only_for("head", nn.LayerNorm)

    def test_only_for_then_without(self) -> None:
        config = QuantizerConfig(global_config=A).only_for("blocks.*").without(r"blocks\.1.*")
        found = resolved(config)
        assert found["blocks.0.linear"] == A
        assert found["blocks.1.linear"] is None

    def test_only_for_needs_targets_and_a_config(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            QuantizerConfig().only_for()
        with pytest.raises(ValueError, match="one only_for call"):
            QuantizerConfig().only_for("a").only_for("b")

    @pytest.mark.parametrize("method", ["only_for", "without"])
    def test_targets_are_checked_before_anything_changes(self, method: str) -> None:
        config = QuantizerConfig()
        with pytest.raises(TypeError, match=r"nn\.Module class"):
            getattr(config, method)("head", 3)
        assert config == QuantizerConfig()


class TestOperations:
    def test_name_before_type_before_module(self) -> None:
        by_name, by_type = OpQuantizerConfig(op_input_spec=None), OpQuantizerConfig()
        config = ModuleQuantizerConfig(
            op_type_config={"add": by_type}, op_name_config={r"block\.add_1": by_name}
        )
        assert config.op_config("block.add_1", ("add",)) is config.op_name_config[r"block\.add_1"]
        assert config.op_config("block.add", ("add",)) is config.op_type_config["add"]
        assert config.op_config("block.mul", ("mul",)) is config

    def test_a_later_name_wins_and_the_specific_type(self) -> None:
        config = ModuleQuantizerConfig(
            op_name_config={".*": None, "a.*": OpQuantizerConfig()},
            op_type_config={"add": None, "add_": OpQuantizerConfig()},
        )
        assert config.op_config("add", ("x",)) is not None
        assert config.op_config("b", ("add",)) is None
        config = ModuleQuantizerConfig(op_type_config=config.op_type_config)
        assert config.op_config("b", ("add_", "add")) is not None
        assert config.op_config("b", ("add",)) is None

    @pytest.mark.parametrize("mode", ["eager", "graph"])
    def test_types_and_names_that_match_nothing_warn(self, mode: str) -> None:
        entry = ModuleQuantizerConfig(op_type_config={"liner": None})
        config = QuantizerConfig(global_config=entry, execution_mode=mode)
        with pytest.warns(UserWarning, match="'liner' .did you mean 'linear'"):
            Quantizer(Mlp().eval(), config).prepare((torch.randn(2, 16),))

    def test_names_that_match_nothing_warn(self) -> None:
        entry = ModuleQuantizerConfig(op_name_config={"first.liner": None})
        config = QuantizerConfig(global_config=entry, execution_mode="eager")
        with pytest.warns(UserWarning, match=r"'first.liner' .did you mean 'first.linear'"):
            Quantizer(Mlp().eval(), config).prepare((torch.randn(2, 16),))


class TestInAModel:
    """The same, seen from the outside: what ends up quantized."""

    def weights(self, config: QuantizerConfig) -> dict[str, int]:
        model = Quantizer(Cnn().eval(), config).prepare((torch.randn(1, 3, 8, 8),))
        return {
            name.removesuffix(".parametrizations.weight.0"): module.n_bits
            for name, module in model.named_modules()
            if name.endswith(".weight.0")
        }

    def test_presets_by_type_and_name(self) -> None:
        presets = ModuleQuantizerConfig.presets
        config = QuantizerConfig.presets.w8(execution_mode="eager")
        config.set_module_type(nn.Linear, presets.w4()).set_module_name("depth.*", presets.w4())
        assert self.weights(config.without("up")) == {"stem.0": 8, "depthwise": 4, "head": 4}

    def test_only_for(self) -> None:
        config = QuantizerConfig.presets.w4(execution_mode="eager").only_for(nn.Linear)
        assert self.weights(config) == {"head": 4}

    def test_nothing(self) -> None:
        config = QuantizerConfig(global_config=None, execution_mode="eager")
        assert self.weights(config) == {}
