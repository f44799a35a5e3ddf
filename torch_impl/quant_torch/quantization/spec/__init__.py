"""Specs, their parts, and the points where users extend them."""

from quant_torch.quantization.spec.factory import QuantizationComponentFactory
from quant_torch.quantization.spec.fake_quantize import (
    DefaultFakeQuantize,
    FakeQuantizeImplBase,
    fp4_forward,
)
from quant_torch.quantization.spec.granularity import (
    PerBlockGranularity,
    PerChannelGranularity,
    PerTensorGranularity,
    QuantizationGranularity,
    resolve_block_sizes,
)
from quant_torch.quantization.spec.qformulation import QuantizationFormulation
from quant_torch.quantization.spec.qparams_calculator import (
    DynamicQParamsCalculator,
    GlobalMinMaxQParamsCalculator,
    MovingAverageQParamsCalculator,
    QParamsCalculatorBase,
    RunningRangeMixin,
    StatefulQParamsCalculatorBase,
    StatelessQParamsCalculatorBase,
    StaticQParamsCalculator,
)
from quant_torch.quantization.spec.qscheme import QuantizationScheme
from quant_torch.quantization.spec.range_calculator import (
    MinMaxRangeCalculator,
    RangeCalculatorBase,
)
from quant_torch.quantization.spec.spec import (
    QuantizationSpec,
    default_activation_quantization_spec,
    default_weight_quantization_spec,
)

__all__ = [
    "DefaultFakeQuantize",
    "DynamicQParamsCalculator",
    "FakeQuantizeImplBase",
    "GlobalMinMaxQParamsCalculator",
    "MinMaxRangeCalculator",
    "MovingAverageQParamsCalculator",
    "PerBlockGranularity",
    "PerChannelGranularity",
    "PerTensorGranularity",
    "QParamsCalculatorBase",
    "QuantizationComponentFactory",
    "QuantizationFormulation",
    "QuantizationGranularity",
    "QuantizationScheme",
    "QuantizationSpec",
    "RangeCalculatorBase",
    "RunningRangeMixin",
    "StatefulQParamsCalculatorBase",
    "StatelessQParamsCalculatorBase",
    "StaticQParamsCalculator",
    "default_activation_quantization_spec",
    "default_weight_quantization_spec",
    "fp4_forward",
    "resolve_block_sizes",
]
