"""Members that scripts for coreai-opt use: what they return and do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from quant_torch.common import CompressionTargetTensor, CompressionType
from quant_torch.quantization import (
    OpQuantizerConfig,
    QuantizationScheme,
    QuantizationSpec,
    Quantizer,
    QuantizerConfig,
)
from quant_torch.quantization.spec import (
    FakeQuantizeImplBase,
    MovingAverageQParamsCalculator,
    PerBlockGranularity,
    PerChannelGranularity,
    PerTensorGranularity,
    QParamsCalculatorBase,
    QuantizationComponentFactory,
    QuantizationGranularity,
    RangeCalculatorBase,
    StaticQParamsCalculator,
    fp4_forward,
    resolve_block_sizes,
)

FACTORY = QuantizationComponentFactory
X = torch.tensor([[-1.0, 0.5], [2.0, 0.25]])


class TestRegistries:
    def test_keys_and_classes(self) -> None:
        assert QParamsCalculatorBase.list_registry_keys() >= {
            "default", "static", "moving_average", "global_minmax", "dynamic"
        }  # fmt: skip
        assert StaticQParamsCalculator in QParamsCalculatorBase.list_registry_values()
        assert FakeQuantizeImplBase.list_registry_keys() >= {"default"}
        assert RangeCalculatorBase.list_registry_keys() >= {"minmax"}
        assert QuantizationGranularity.list_registry_keys() == {
            "per_tensor", "per_channel", "per_block"
        }  # fmt: skip
        assert QParamsCalculatorBase.get_class("static") is StaticQParamsCalculator
        assert QuantizationGranularity.get_class("per_block") is PerBlockGranularity
        assert QParamsCalculatorBase.resolve(StaticQParamsCalculator) is StaticQParamsCalculator

    @pytest.mark.parametrize("caught", [KeyError, ValueError])
    def test_an_unknown_key(self, caught: type[Exception]) -> None:
        with pytest.raises(caught) as error:
            QParamsCalculatorBase.get_class("statik")
        assert str(error.value).startswith("no QParamsCalculatorBase is registered as 'statik'")
        assert "did you mean 'static'" in str(error.value)

    def test_a_class_is_no_key(self) -> None:
        with pytest.raises(KeyError, match="key is a string"):
            QParamsCalculatorBase.get_class(StaticQParamsCalculator)  # type: ignore[arg-type]

    def test_granularities_from_dicts(self) -> None:
        build = QuantizationGranularity.maybe_build_from_dict
        assert build({"type": "per_channel", "axis": 0}) == PerChannelGranularity(axis=0)
        whole = PerTensorGranularity()
        assert build(whole) is whole
        with pytest.raises(ValueError, match="allowed are per_tensor, per_channel, per_block"):
            build({"axis": 0})
        with pytest.raises(ValueError, match="granularity type"):
            build({"type": ["per_channel"]})

    def test_a_granularity_of_ones_own(self) -> None:
        @QuantizationGranularity.register("pairs")
        class Pairs(QuantizationGranularity):
            def get_block_size(self, tensor_shape, quantization_target="weight"):
                return (*(1 for _ in tensor_shape[:-1]), 2)

        try:
            spec = QuantizationSpec(granularity={"type": "pairs"})
            assert spec.model_dump(mode="json")["granularity"] == {"type": "pairs", "axis": None}
            module = FACTORY.create_fake_quantizer(spec, "weight")
            module(torch.arange(8.0).reshape(2, 4))
            assert module.calculate_qparams().scale.shape == (2, 2)
        finally:
            del QuantizationGranularity.REGISTRY["pairs"]


class TestSpecs:
    # What FMT-1, FMT-2 and SPEC-6 say.
    @pytest.mark.parametrize(
        ("dtype", "scheme", "bits", "codes", "least", "greatest"),
        [
            (torch.int8, "symmetric", 8, torch.int8, -128, 127),
            (torch.int4, "symmetric_with_clipping", 4, torch.int8, -7, 7),
            (torch.uint4, "asymmetric", 4, torch.uint8, 0, 15),
            (torch.uint8, "symmetric_with_clipping", 8, torch.uint8, 0, 255),
            (torch.float8_e5m2, "symmetric", 8, torch.float8_e5m2, -57344.0, 57344.0),
        ],
    )
    def test_facts_of_a_dtype(self, dtype, scheme, bits, codes, least, greatest) -> None:
        spec = QuantizationSpec(dtype=dtype, qscheme=scheme)
        assert QuantizationSpec.get_n_bits_from_dtype(dtype) == bits
        assert QuantizationSpec.get_target_dtype(dtype) is codes
        assert QuantizationSpec.get_quant_range(dtype, QuantizationScheme(scheme)) == (
            least, greatest
        )  # fmt: skip
        dumped = spec.model_dump()
        assert (dumped["n_bits"], dumped["quant_min"], dumped["quant_max"]) == (
            bits, least, greatest
        )  # fmt: skip
        assert dumped["target_dtype"] is codes
        assert dumped["dtype"] is dtype
        assert QuantizationSpec(**dumped) == spec
        assert dtype in QuantizationSpec.SUPPORTED_DTYPES

    @pytest.mark.parametrize(
        "ask",
        [
            QuantizationSpec.get_n_bits_from_dtype,
            QuantizationSpec.get_target_dtype,
            lambda dtype: QuantizationSpec.get_quant_range(dtype, QuantizationScheme.SYMMETRIC),
        ],
    )
    def test_another_dtype_is_refused(self, ask) -> None:
        with pytest.raises(
            ValueError, match=r"torch\.int32 is no quantized format; there are int2"
        ):
            ask(torch.int32)

    def test_a_dump_holds_what_is_asked_for(self) -> None:
        spec = QuantizationSpec()
        assert spec.model_dump(include={"dtype", "n_bits"}) == {"dtype": torch.int8, "n_bits": 8}
        assert spec.model_dump().keys() - spec.model_dump(exclude={"quant_min"}) == {"quant_min"}

    def test_a_changed_dump_is_not_silently_read(self) -> None:
        dumped = QuantizationSpec().model_dump() | {"dtype": torch.int4}
        with pytest.raises(ValueError, match="n_bits follows from dtype"):
            QuantizationSpec(**dumped)

    def test_kind_of_compression(self) -> None:
        assert QuantizationSpec().get_compression_type() is CompressionType.QUANTIZATION

    def test_defaults_of_an_operation(self) -> None:
        assert OpQuantizerConfig.get_default_input_spec() == OpQuantizerConfig().op_input_spec
        assert OpQuantizerConfig.get_default_output_spec() == OpQuantizerConfig().op_output_spec
        assert OpQuantizerConfig.get_default_state_spec() == OpQuantizerConfig().op_state_spec

    def test_block_sizes(self) -> None:
        assert resolve_block_sizes((4, 6), (2, -1)) == [2, 6]
        with pytest.raises(ValueError, match="GRAN-6"):
            resolve_block_sizes((4, 6), (3, -1))
        with pytest.raises(ValueError, match="at least 1 or -1"):
            resolve_block_sizes((4, 6), (0, 2))

    def test_fp4_values(self) -> None:
        given = torch.tensor([0.25, 0.75, 1.25, 2.5, 5.0, 7.0, -9.0, torch.nan, -0.1])
        wanted = torch.tensor([0.0, 1.0, 1.0, 2.0, 4.0, 6.0, -6.0, torch.nan, -0.0])
        rounded = fp4_forward(given)
        torch.testing.assert_close(rounded, wanted, rtol=0, atol=0, equal_nan=True)
        assert rounded[-1].signbit()


class TestModules:
    @pytest.mark.parametrize("target", list(CompressionTargetTensor))
    def test_targets_may_be_members(self, target: CompressionTargetTensor) -> None:
        module = FACTORY.construct(QuantizationSpec(), target)
        assert module is not None
        assert module.quantization_target == target
        assert module(X).shape == X.shape

    def test_partials(self) -> None:
        make = FACTORY.construct_partial(QuantizationSpec(dtype="int4"), "weight")
        assert make is not None
        assert make() is not make()
        assert make().n_bits == 4
        assert (
            FACTORY.construct(None, "weight") is FACTORY.construct_partial(None, "weight") is None
        )

    def test_is_disabled_means_left_unquantized(self) -> None:
        spec = QuantizationSpec(granularity={"type": "per_block", "axis": 1, "block_size": 3})
        module = FACTORY.create_fake_quantizer(spec, "weight", "w")
        assert not module.is_disabled()
        module.disable_fake_quant()
        assert not module.is_disabled()
        module.enable_fake_quant()
        with pytest.warns(UserWarning, match="left unquantized"):
            module(X)
        assert module.is_disabled()
        assert module.tensor_fqn == "w"

    def test_export_mode_keeps_the_qparams(self) -> None:
        module = FACTORY.create_fake_quantizer(QuantizationSpec(), "weight")
        module.set_export_mode()  # nothing to keep yet
        module(X)
        before = module.calculate_qparams()
        module(4 * X)
        assert module.calculate_qparams().scale == before.scale
        module.set_export_mode(False)
        module(4 * X)
        assert module.calculate_qparams().scale == 4 * before.scale

    @pytest.mark.parametrize("key", ["static", "moving_average", "global_minmax", "dynamic"])
    def test_what_a_calculator_returns_is_the_callers(self, key: str) -> None:
        spec = QuantizationSpec(qparam_calculator_cls=key)
        calculator = FACTORY.create_qparams_calculator(spec, "activation")
        first = calculator(X)
        kept = [q.clone() for q in first]
        second = calculator(8 * X)
        assert second.scale > first.scale
        assert all(torch.equal(now, then) for now, then in zip(first, kept, strict=True))
        first.scale.fill_(3.0)  # and the other way round
        assert calculator(8 * X).scale != 3.0

    def test_qparams_that_were_asked_for_stay(self) -> None:
        module = FACTORY.create_fake_quantizer(QuantizationSpec(), "activation")
        module(X)
        asked = module.calculate_qparams()
        scale = asked.scale.clone()
        module(8 * X)
        assert torch.equal(asked.scale, scale)
        asked.scale.fill_(3.0)
        assert module.calculate_qparams().scale != 3.0

    def test_hooks_on_a_calculator_are_called(self) -> None:
        module = FACTORY.create_fake_quantizer(QuantizationSpec(), "activation")
        seen: list[torch.Tensor] = []
        module.qparams_calculator.register_forward_hook(lambda *args: seen.append(args[2].scale))
        module(X)
        assert len(seen) == 1

    def test_a_calculator_with_a_forward_of_its_own_is_asked(self) -> None:
        class Doubled(MovingAverageQParamsCalculator):
            def forward(self, tensor):
                return super().forward(2 * tensor)

        spec = QuantizationSpec(qparam_calculator_cls=Doubled)
        module = FACTORY.create_fake_quantizer(spec, "activation")
        module(X)
        assert module.calculate_qparams().scale == 4.0 / torch.tensor(127.5)


def test_supported_modules_have_a_default_axis() -> None:
    assert set(Quantizer.supported_modules()) == {
        nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Embedding,
        nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    }  # fmt: skip


SWITCHED = """
import warnings
warnings.simplefilter("ignore")
import torch
from quant_torch.quantization import Quantizer, QuantizerConfig
from quant_torch.quantization.spec import FakeQuantizeImplBase

model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()).eval()
x = torch.randn(2, 4)
config = QuantizerConfig(execution_mode={mode!r})
prepared = Quantizer(model, config).prepare((x,))
from torchao.quantization.pt2e import disable_fake_quant, disable_observer
from torchao.quantization.pt2e import enable_fake_quant, enable_observer
modules = [m for m in prepared.modules() if isinstance(m, FakeQuantizeImplBase)]
assert modules and all(m.fake_quant_enabled and not m.observer_enabled for m in modules)
prepared.apply(disable_fake_quant)
prepared.apply(enable_observer)
assert all(m.observer_enabled and not m.fake_quant_enabled for m in modules)
disable_observer(modules[0])
enable_fake_quant(modules[0])
assert modules[0].fake_quant_enabled and not modules[0].observer_enabled
print("switched", len(modules))
"""


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_switches_of_torchao_act_on_our_modules(mode: str, tmp_path: Path) -> None:
    """In a process of its own: torchao is imported after the model was prepared."""
    done = subprocess.run(
        [sys.executable, "-c", SWITCHED.format(mode=mode)],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "switched" in done.stdout


def test_config_modules_are_the_same_classes() -> None:
    from quant_torch.config import CompressionConfig, CompressionSpec, OpCompressionConfig
    from quant_torch.config.spec import CompressionSimulatorBase
    from quant_torch.quantization.config import quantization_config

    assert CompressionConfig is quantization_config.QuantizerConfig is QuantizerConfig
    assert CompressionSpec is QuantizationSpec
    assert OpCompressionConfig is OpQuantizerConfig
    assert CompressionSimulatorBase is FakeQuantizeImplBase
