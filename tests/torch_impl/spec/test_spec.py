"""QuantizationSpec: forms, rules, computed keys, and classes that users register."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

import quant_reference as reference
from quant_torch.quantization import (
    QuantizationFormulation,
    QuantizationScheme,
    QuantizationSpec,
)
from quant_torch.quantization.spec import (
    DefaultFakeQuantize,
    FakeQuantizeImplBase,
    MinMaxRangeCalculator,
    MovingAverageQParamsCalculator,
    PerBlockGranularity,
    PerChannelGranularity,
    PerTensorGranularity,
    QParamsCalculatorBase,
    QuantizationComponentFactory,
    RangeCalculatorBase,
    RunningRangeMixin,
    StatefulQParamsCalculatorBase,
    StaticQParamsCalculator,
)

# name: torch dtype, bits, quant_min, quant_max (from FMT-1 and FMT-2, by hand)
FORMATS: dict[str, tuple[torch.dtype, int, float, float]] = {
    "int2": (torch.int2, 2, -2, 1),
    "int4": (torch.int4, 4, -8, 7),
    "int8": (torch.int8, 8, -128, 127),
    "uint2": (torch.uint2, 2, 0, 3),
    "uint4": (torch.uint4, 4, 0, 15),
    "uint8": (torch.uint8, 8, 0, 255),
    "float8_e4m3fn": (torch.float8_e4m3fn, 8, -448, 448),
    "float8_e5m2": (torch.float8_e5m2, 8, -57344, 57344),
    "float4_e2m1fn": (torch.float4_e2m1fn_x2, 4, -6, 6),
}


class TestForms:
    @pytest.mark.parametrize("name", FORMATS)
    def test_dtypes(self, name: str) -> None:
        dtype, bits, low, high = FORMATS[name]
        for given in (name, dtype, f"torch.{name}"):
            spec = QuantizationSpec(dtype=given)
            assert spec.dtype == dtype
            assert (spec.n_bits, spec.quant_min, spec.quant_max) == (bits, low, high)
            assert spec.format.name == name

    @pytest.mark.parametrize(
        ("alias", "dtype"),
        [("float8_e4m3", torch.float8_e4m3fn), ("float4_e2m1fn_x2", torch.float4_e2m1fn_x2)],
    )
    def test_aliases(self, alias: str, dtype: torch.dtype) -> None:
        assert QuantizationSpec(dtype=alias).dtype == dtype

    @pytest.mark.parametrize("name", ["int2", "int4", "int8"])
    def test_clipping_drops_the_lowest_code(self, name: str) -> None:
        spec = QuantizationSpec(dtype=name, qscheme="symmetric_with_clipping")
        assert spec.quant_min == -spec.quant_max == FORMATS[name][2] + 1

    @pytest.mark.parametrize("name", ["uint2", "uint4", "uint8"])
    def test_clipping_drops_nothing_unsigned(self, name: str) -> None:
        spec = QuantizationSpec(dtype=name, qscheme="symmetric_with_clipping")
        assert (spec.quant_min, spec.quant_max) == FORMATS[name][2:]

    def test_defaults(self) -> None:
        spec = QuantizationSpec()
        assert spec.dtype == torch.int8
        assert spec.qscheme is QuantizationScheme.SYMMETRIC
        assert spec.qformulation is QuantizationFormulation.ZP
        assert spec.granularity == PerTensorGranularity()
        assert tuple(spec.float_range) == (None, None)
        assert spec.scale_dtype is None
        assert spec.resolved_calculator("weight") is StaticQParamsCalculator
        assert spec.resolved_calculator("activation") is MovingAverageQParamsCalculator

    @pytest.mark.parametrize(
        ("plain", "made"),
        [
            ({"type": "per_tensor"}, PerTensorGranularity()),
            ({"type": "per_channel"}, PerChannelGranularity()),
            ({"type": "per_channel", "axis": -1}, PerChannelGranularity(axis=-1)),
            ({"type": "per_block", "block_size": 8}, PerBlockGranularity(block_size=8)),
            (
                {"type": "per_block", "axis": None, "block_size": [1, -1]},
                PerBlockGranularity(block_size=(1, -1)),
            ),
        ],
    )
    def test_granularities(self, plain: dict[str, Any], made: Any) -> None:
        assert QuantizationSpec(granularity=plain) == QuantizationSpec(granularity=made)

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"dtype": "uint4", "qscheme": "asymmetric", "qformulation": "minval"},
            {"dtype": "float4_e2m1fn", "granularity": {"type": "per_block", "block_size": 32}},
            {"float_range": [-1.5, None], "qparam_calculator_cls": "global_minmax"},
            {"qparam_calculator_cls": "dynamic", "granularity": {"type": "per_channel", "axis": 1}},
        ],
    )
    def test_round_trip(self, given: dict[str, Any]) -> None:
        spec = QuantizationSpec(**given)
        assert QuantizationSpec(**json.loads(json.dumps(spec.model_dump(mode="json")))) == spec
        assert QuantizationSpec(**spec.model_dump()) == spec

    def test_equal_specs_are_equal(self) -> None:
        assert QuantizationSpec(float_range=[0, 6]) == QuantizationSpec(float_range=(0.0, 6.0))
        assert QuantizationSpec() != QuantizationSpec(dtype="int4")

    def test_frozen(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            QuantizationSpec().dtype = torch.int4


class TestRules:
    """SPEC-1 to SPEC-7; the reference's own tests have every case."""

    @pytest.mark.parametrize(
        ("given", "match"),
        [
            ({"dtype": "float8_e4m3fn", "qscheme": "asymmetric"}, "symmetric"),
            ({"dtype": "float8_e4m3fn", "qformulation": "minval"}, "zp"),
            ({"dtype": "int8", "scale_dtype": "float8_e8m0fnu"}, "scale_dtype"),
            ({"dtype": "float8_e8m0fnu"}, "e8m0|scale"),
            ({"scale_dtype": "int8", "dtype": "float8_e4m3fn"}, "float8_e8m0fnu"),
            ({"float_range": [1.0, 2.0]}, "float_range"),
            ({"float_range": [0.0, 0.0]}, "float_range"),
            ({"float_range": [float("nan"), 1.0]}, "float_range"),
            ({"float_range": [None]}, "float_range"),
            ({"float_range": [False, True]}, "float_range"),
            ({"qparam_calculator_cls": "dynamic", "float_range": [None, 1.0]}, "dynamic"),
            (
                {"qparam_calculator_cls": "dynamic", "qscheme": "symmetric_with_clipping"},
                "dynamic",
            ),
            ({"dtype": "int3"}, "int4|int2"),
            ({"dtype": "float32"}, "float"),
            ({"dtype": torch.float32}, "float32 is no quantized format"),
            ({"dtype": 8}, "dtype must be"),
            ({"qscheme": "affine"}, "symmetric"),
            ({"granularity": {"type": "per_chanel"}}, "did you mean 'per_channel'"),
            ({"granularity": "per_channel"}, "mapping"),
            ({"granularity": {"type": "per_channel", "axes": 1}}, "axes"),
            ({"granularity": {"type": "per_block", "block_size": 0}}, "block_size 0"),
            ({"granularity": {"type": "per_block", "block_size": [1, 2], "axis": 1}}, "tuple"),
        ],
    )
    def test_illegal(self, given: dict[str, Any], match: str) -> None:
        with pytest.raises(ValidationError, match=match):
            QuantizationSpec(**given)

    def test_fp4_always_has_e8m0_scales(self) -> None:
        assert QuantizationSpec(dtype="float4_e2m1fn").scale_dtype == torch.float8_e8m0fnu

    def test_weights_are_never_dynamic(self) -> None:
        spec = QuantizationSpec(qparam_calculator_cls="dynamic")
        with pytest.raises(reference.SpecError, match="weight"):
            QuantizationComponentFactory.create_fake_quantizer(spec, "weight")


class TestComputedKeys:
    DUMPED: dict[str, Any] = {  # noqa: RUF012
        "dtype": "int4", "n_bits": 4, "quant_min": -8, "quant_max": 7, "target_dtype": "int8",
        "_quant_range": (-8, 7),
    }  # fmt: skip

    def test_they_are_accepted(self) -> None:
        assert QuantizationSpec(**self.DUMPED) == QuantizationSpec(dtype="int4")

    @pytest.mark.parametrize(("key", "value"), [("n_bits", 8), ("quant_min", -7), ("quant_max", 8)])
    def test_but_not_if_they_contradict(self, key: str, value: int) -> None:
        with pytest.raises(ValidationError, match=rf"{key} follows from .* given {value}"):
            QuantizationSpec(**{**self.DUMPED, key: value})


REGISTRIES = (QParamsCalculatorBase, RangeCalculatorBase, FakeQuantizeImplBase)


@pytest.fixture
def _restored_registries() -> Iterator[None]:
    before = [dict(base.REGISTRY) for base in REGISTRIES]
    yield
    for base, table in zip(REGISTRIES, before, strict=True):
        base.REGISTRY.clear()
        base.REGISTRY.update(table)


@pytest.mark.usefixtures("_restored_registries")
class TestRegistries:
    @pytest.mark.parametrize(
        ("base", "taken"),
        [
            (QParamsCalculatorBase, "moving_average"),
            (QParamsCalculatorBase, "default"),
            (RangeCalculatorBase, "minmax"),
            (FakeQuantizeImplBase, "default"),
        ],
    )
    def test_a_taken_key_is_an_error(self, base: Any, taken: str) -> None:
        holder = base.REGISTRY[taken]
        with pytest.raises(ValueError, match=f"'{taken}' is taken by {holder.__name__}"):
            base.register(taken)(type("Mine", (base,), {}))
        assert base.REGISTRY[taken] is holder

    def test_a_key_of_ones_own_is_taken_then(self) -> None:
        QParamsCalculatorBase.register("mine")(type("A", (StaticQParamsCalculator,), {}))
        with pytest.raises(ValueError, match="'mine' is taken by A"):
            QParamsCalculatorBase.register("mine")(type("B", (StaticQParamsCalculator,), {}))

    @pytest.mark.parametrize("key", ["", None, 3])
    def test_keys_are_strings(self, key: Any) -> None:
        with pytest.raises(ValueError, match="non-empty string"):
            RangeCalculatorBase.register(key)

    @pytest.mark.parametrize(
        ("field", "given", "meant"),
        [
            ("qparam_calculator_cls", "moving_averge", "moving_average"),
            ("range_calculator_cls", "min_max", "minmax"),
            ("fake_quantize_cls", "defualt", "default"),
        ],
    )
    def test_unknown_keys_name_the_closest(self, field: str, given: str, meant: str) -> None:
        with pytest.raises(ValidationError, match=f"did you mean '{meant}'"):
            QuantizationSpec(**{field: given})

    def test_a_class_of_another_registry_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="no RangeCalculatorBase"):
            QuantizationSpec(range_calculator_cls=StaticQParamsCalculator)

    def test_classes_in_place_of_keys(self) -> None:
        spec = QuantizationSpec(
            qparam_calculator_cls=MovingAverageQParamsCalculator,
            range_calculator_cls=MinMaxRangeCalculator,
            fake_quantize_cls=DefaultFakeQuantize,
        )
        assert spec == QuantizationSpec(qparam_calculator_cls="moving_average")

    def test_a_running_range_of_ones_own(self) -> None:
        @QParamsCalculatorBase.register("halving")
        class Halving(RunningRangeMixin, StatefulQParamsCalculatorBase):
            def update_running_range(
                self, min_val: Tensor, max_val: Tensor
            ) -> tuple[Tensor, Tensor]:
                return (self.running_min + min_val) / 2, (self.running_max + max_val) / 2

        spec = QuantizationSpec(qparam_calculator_cls="halving")
        module = QuantizationComponentFactory.create_fake_quantizer(spec, "activation", "x")
        for extreme in (4.0, 8.0, 2.0):
            module(torch.tensor([0.0, extreme]))
        # ((4 + 8) / 2 + 2) / 2 = 4
        assert module.calculate_qparams().scale.item() == torch.tensor(4 / 127.5).item()
        assert spec.model_dump(mode="json")["qparam_calculator_cls"] == "halving"

    def test_a_mixin_without_its_rule_says_so(self) -> None:
        @QParamsCalculatorBase.register("forgotten")
        class Forgotten(RunningRangeMixin, StatefulQParamsCalculatorBase):
            pass

        spec = QuantizationSpec(qparam_calculator_cls="forgotten")
        module = QuantizationComponentFactory.create_fake_quantizer(spec, "activation", "x")
        module(torch.ones(3))
        with pytest.raises(NotImplementedError, match="Forgotten must define update_running_range"):
            module(torch.ones(3))

    def test_a_range_calculator_of_ones_own(self) -> None:
        @RangeCalculatorBase.register("twice")
        class Twice(RangeCalculatorBase):
            def _generate_min_max(self, x: Tensor) -> tuple[Tensor, Tensor]:
                return 2 * x.amin(1, keepdim=True), 2 * x.amax(1, keepdim=True)

        spec = QuantizationSpec(
            range_calculator_cls="twice", granularity={"type": "per_channel", "axis": 0}
        )
        module = QuantizationComponentFactory.create_fake_quantizer(spec, "weight", "w")
        module(torch.tensor([[1.0, -2.0], [0.5, 0.25]]))
        expected = torch.tensor([[4.0], [1.0]]) / 127.5
        assert torch.equal(module.calculate_qparams().scale, expected)

    def test_a_range_of_the_wrong_size_is_refused(self) -> None:
        @RangeCalculatorBase.register("wrong")
        class Wrong(RangeCalculatorBase):
            def _generate_min_max(self, x: Tensor) -> tuple[Tensor, Tensor]:
                return x.amin(), x.amax()

        spec = QuantizationSpec(
            range_calculator_cls="wrong", granularity={"type": "per_channel", "axis": 0}
        )
        module = QuantizationComponentFactory.create_fake_quantizer(spec, "weight", "w")
        with pytest.raises(reference.InputError, match="range from Wrong"):
            module(torch.ones(2, 2))

    def test_a_fake_quantize_of_ones_own(self) -> None:
        @FakeQuantizeImplBase.register("to the next whole number")
        class Whole(FakeQuantizeImplBase):
            def quantize(self, tensor: Tensor, *qparams: Tensor | None) -> Tensor:
                return tensor.round()

            def dequantize(
                self, tensor: Tensor, *qparams: Tensor | None,
                output_dtype: torch.dtype = torch.float32,
            ) -> Tensor:  # fmt: skip
                return tensor.to(output_dtype)

        spec = QuantizationSpec(fake_quantize_cls="to the next whole number")
        module = QuantizationComponentFactory.create_fake_quantizer(spec, "activation", "x")
        x = torch.tensor([0.4, 1.6, -2.7], requires_grad=True)
        y = module(x)
        assert torch.equal(y, torch.tensor([0.0, 2.0, -3.0]))
        y.backward(torch.tensor([1.0, -2.0, 3.0]))
        assert torch.equal(x.grad, torch.tensor([1.0, -2.0, 3.0]))

    def test_fields_of_a_spec_subclass_reach_the_components(self) -> None:
        class Fast(QuantizationSpec):
            averaging_constant: float = 0.5

        module = QuantizationComponentFactory.create_fake_quantizer(
            Fast(qparam_calculator_cls="moving_average"), "activation", "x"
        )
        assert module.qparams_calculator.averaging_constant == 0.5
        module(torch.tensor([0.0, 2.0]))
        module(torch.tensor([0.0, 4.0]))
        assert module.calculate_qparams().scale.item() == torch.tensor(3 / 127.5).item()
