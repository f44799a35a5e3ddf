"""Ready-made configs: weight-only quantization to 8 and 4 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quant_torch.quantization.config.execution_mode import ExecutionMode
from quant_torch.quantization.spec.granularity import (
    PerBlockGranularity,
    PerChannelGranularity,
    QuantizationGranularity,
)
from quant_torch.quantization.spec.spec import QuantizationSpec

if TYPE_CHECKING:
    from quant_torch.quantization.config.module_config import ModuleQuantizerConfig
    from quant_torch.quantization.config.quantizer_config import QuantizerConfig


class ModulePresets:
    """Presets of ModuleQuantizerConfig; an axis of None is filled in from the module type."""

    def w8(self, *, axis: int | None = None) -> ModuleQuantizerConfig:
        """int8 weights, symmetric, per channel."""
        return _weight_only("int8", PerChannelGranularity(axis=axis))

    def w4(self, *, axis: int | None = None) -> ModuleQuantizerConfig:
        """int4 weights, symmetric, per channel."""
        return _weight_only("int4", PerChannelGranularity(axis=axis))

    def w4_per_block(
        self, *, block_size: int = 32, axis: int | None = None
    ) -> ModuleQuantizerConfig:
        """int4 weights, symmetric, in blocks of block_size along the input channels."""
        return _weight_only("int4", PerBlockGranularity(axis=axis, block_size=block_size))


class QuantizerPresets:
    """Presets of QuantizerConfig; an axis of None is filled in from the module type."""

    def w8(
        self, *, axis: int | None = None, execution_mode: ExecutionMode | str = ExecutionMode.GRAPH
    ) -> QuantizerConfig:
        """int8 weights, symmetric, per channel."""
        return _for_model(ModulePresets().w8(axis=axis), execution_mode)

    def w4(
        self, *, axis: int | None = None, execution_mode: ExecutionMode | str = ExecutionMode.GRAPH
    ) -> QuantizerConfig:
        """int4 weights, symmetric, per channel."""
        return _for_model(ModulePresets().w4(axis=axis), execution_mode)

    def w4_per_block(
        self,
        *,
        block_size: int = 32,
        axis: int | None = None,
        execution_mode: ExecutionMode | str = ExecutionMode.GRAPH,
    ) -> QuantizerConfig:
        """int4 weights, symmetric, in blocks of block_size along the input channels."""
        config = ModulePresets().w4_per_block(block_size=block_size, axis=axis)
        return _for_model(config, execution_mode)


def _weight_only(dtype: str, granularity: QuantizationGranularity) -> ModuleQuantizerConfig:
    from quant_torch.quantization.config.module_config import ModuleQuantizerConfig

    return ModuleQuantizerConfig(
        op_input_spec=None,
        op_output_spec=None,
        op_state_spec={"weight": QuantizationSpec(dtype=dtype, granularity=granularity)},
    )


def _for_model(
    config: ModuleQuantizerConfig, execution_mode: ExecutionMode | str
) -> QuantizerConfig:
    from quant_torch.quantization.config.quantizer_config import QuantizerConfig

    return QuantizerConfig(global_config=config, execution_mode=execution_mode)
