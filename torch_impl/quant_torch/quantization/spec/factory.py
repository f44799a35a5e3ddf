"""From a spec to the modules it describes."""

from __future__ import annotations

from functools import partial

from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase
from quant_torch.quantization.spec.granularity import Target
from quant_torch.quantization.spec.qparams_calculator import QParamsCalculatorBase
from quant_torch.quantization.spec.range_calculator import RangeCalculatorBase
from quant_torch.quantization.spec.spec import QuantizationSpec


class QuantizationComponentFactory:
    """Creates the components of a spec; a spec subclass's own fields are passed to each."""

    @classmethod
    def create_range_calculator(
        cls, spec: QuantizationSpec, quantization_target: Target = "weight"
    ) -> RangeCalculatorBase:
        """The range calculator of a spec."""
        return spec.range_calculator_cls(
            granularity=spec.granularity,
            quantization_target=quantization_target,
            **spec.get_extra_args(),
        )

    @classmethod
    def create_qparams_calculator(
        cls, spec: QuantizationSpec, quantization_target: Target
    ) -> QParamsCalculatorBase:
        """The qparams calculator of a spec, with its range calculator."""
        return spec.resolved_calculator(quantization_target)(
            dtype=spec.dtype,
            qscheme=spec.qscheme,
            granularity=spec.granularity,
            target_dtype=spec.target_dtype,
            quant_min=spec.quant_min,
            quant_max=spec.quant_max,
            range_calculator=cls.create_range_calculator(spec, quantization_target),
            float_range=spec.float_range,
            scale_dtype=spec.scale_dtype,
            **spec.get_extra_args(),
        )

    @classmethod
    def construct(
        cls, spec: QuantizationSpec | None, target: Target
    ) -> FakeQuantizeImplBase | None:
        """As :meth:`create_fake_quantizer`; None for None, which leaves a tensor alone."""
        return None if spec is None else cls.create_fake_quantizer(spec, target)

    @classmethod
    def construct_partial(
        cls, spec: QuantizationSpec | None, target: Target
    ) -> partial[FakeQuantizeImplBase] | None:
        """As :meth:`create_fake_quantizer_partial`; None for None."""
        return None if spec is None else cls.create_fake_quantizer_partial(spec, target)

    @classmethod
    def create_fake_quantizer_partial(
        cls, spec: QuantizationSpec, quantization_target: Target
    ) -> partial[FakeQuantizeImplBase]:
        """A callable that makes a new fake-quantize module at each call."""
        return partial(cls.create_fake_quantizer, spec, quantization_target)

    @classmethod
    def create_fake_quantizer(
        cls, spec: QuantizationSpec, quantization_target: Target, tensor_name: str = ""
    ) -> FakeQuantizeImplBase:
        """The fake-quantize module of a spec.

        Args:
            spec: With the axis of its granularity filled in.
            quantization_target: ``"weight"`` or ``"activation"``.
            tensor_name: What the module quantizes, for messages.

        Raises:
            SpecError: A dynamic spec for a weight (SPEC-5).
        """
        module = spec.fake_quantize_cls(
            dtype=spec.dtype,
            qformulation=spec.qformulation,
            granularity=spec.granularity,
            target_dtype=spec.target_dtype,
            quant_min=spec.quant_min,
            quant_max=spec.quant_max,
            qparams_calculator=cls.create_qparams_calculator(spec, quantization_target),
            n_bits=spec.n_bits,
            **spec.get_extra_args(),
        )
        module.tensor_name = tensor_name
        module.spec = spec
        return module
