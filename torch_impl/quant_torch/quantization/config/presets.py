"""Ready-made configs: weight-only quantization to 8 and 4 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from quant_torch.quantization.config.execution_mode import ExecutionMode
from quant_torch.quantization.spec.granularity import (
    PerBlockGranularity,
    PerChannelGranularity,
    QuantizationGranularity,
)
from quant_torch.quantization.spec.spec import QuantizationSpec

ModuleConfig = TypeVar("ModuleConfig")
ModelConfig = TypeVar("ModelConfig")


class ModulePresets(Generic[ModuleConfig]):
    """Presets of ModuleQuantizerConfig; an axis of None is filled in from the module type.

    Args:
        make: The class; it has these presets as an attribute, so this module cannot import it.
    """

    def __init__(self, make: Callable[..., ModuleConfig]) -> None:
        self._make = make

    def w8(self, *, axis: int | None = None) -> ModuleConfig:
        """int8 weights, symmetric, per channel."""
        return self._weight_only("int8", PerChannelGranularity(axis=axis))

    def w4(self, *, axis: int | None = None) -> ModuleConfig:
        """int4 weights, symmetric, per channel."""
        return self._weight_only("int4", PerChannelGranularity(axis=axis))

    def w4_per_block(self, *, block_size: int = 32, axis: int | None = None) -> ModuleConfig:
        """int4 weights, symmetric, in blocks of block_size along the input channels."""
        return self._weight_only("int4", PerBlockGranularity(axis=axis, block_size=block_size))

    def _weight_only(self, dtype: str, granularity: QuantizationGranularity) -> ModuleConfig:
        weight = QuantizationSpec(dtype=dtype, granularity=granularity)
        return self._make(op_input_spec=None, op_output_spec=None, op_state_spec={"weight": weight})


class QuantizerPresets(Generic[ModelConfig]):
    """Presets of QuantizerConfig; an axis of None is filled in from the module type.

    Args:
        make: The class.
        modules: The presets of the configs inside.
    """

    def __init__(self, make: Callable[..., ModelConfig], modules: ModulePresets[Any]) -> None:
        self._make = make
        self._modules = modules

    def w8(
        self, *, axis: int | None = None, execution_mode: ExecutionMode | str = ExecutionMode.GRAPH
    ) -> ModelConfig:
        """int8 weights, symmetric, per channel."""
        return self._make(global_config=self._modules.w8(axis=axis), execution_mode=execution_mode)

    def w4(
        self, *, axis: int | None = None, execution_mode: ExecutionMode | str = ExecutionMode.GRAPH
    ) -> ModelConfig:
        """int4 weights, symmetric, per channel."""
        return self._make(global_config=self._modules.w4(axis=axis), execution_mode=execution_mode)

    def w4_per_block(
        self,
        *,
        block_size: int = 32,
        axis: int | None = None,
        execution_mode: ExecutionMode | str = ExecutionMode.GRAPH,
    ) -> ModelConfig:
        """int4 weights, symmetric, in blocks of block_size along the input channels."""
        config = self._modules.w4_per_block(block_size=block_size, axis=axis)
        return self._make(global_config=config, execution_mode=execution_mode)
