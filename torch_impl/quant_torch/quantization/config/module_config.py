"""Config of a module and everything inside it."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from quant_torch.quantization.config._fields import (
    BoundarySpecs,
    BoundaryStateSpecs,
    _empty_if_none,
)
from quant_torch.quantization.config.op_config import OpQuantizerConfig
from quant_torch.quantization.config.presets import ModulePresets
from quant_torch.quantization.config.schedule import QATSchedule

OpConfigs = Annotated[dict[str, OpQuantizerConfig | None], BeforeValidator(_empty_if_none)]


class ModuleQuantizerConfig(OpQuantizerConfig):
    """Which tensors inside a module are quantized, and how.

    The op_* dicts hold for every supported operation in the module and in its children; an
    op_type_config replaces them for operations of one type, an op_name_config for operations by
    name. The module_* dicts treat the module as a whole: they win over whatever the operations at
    its boundary would do.

    Attributes:
        op_input_spec: See :class:`OpQuantizerConfig`.
        op_output_spec: See :class:`OpQuantizerConfig`.
        op_state_spec: See :class:`OpQuantizerConfig`.
        op_type_config: Configs by operation type, such as ``"linear"``; None leaves the type
            alone.
        op_name_config: Configs by operation name, a regular expression that must match the whole
            name; a later entry wins, None leaves the operation alone.
        module_input_spec: Specs of the module's inputs by index or argument name.
        module_output_spec: Specs of the module's outputs by index.
        module_state_spec: Specs of the module's own parameters and buffers by name.
        qat_schedule: When observers and fake-quantization switch during training.
    """

    op_type_config: OpConfigs = Field(default_factory=dict)
    op_name_config: OpConfigs = Field(default_factory=dict)
    module_input_spec: BoundarySpecs = Field(default_factory=dict)
    module_output_spec: BoundarySpecs = Field(default_factory=dict)
    module_state_spec: BoundaryStateSpecs = Field(default_factory=dict)
    qat_schedule: QATSchedule | None = None

    presets: ClassVar[ModulePresets[ModuleQuantizerConfig]]

    @field_validator("op_name_config")
    @classmethod
    def _check_patterns(
        cls, configs: dict[str, OpQuantizerConfig | None]
    ) -> dict[str, OpQuantizerConfig | None]:
        for pattern in configs:
            check_pattern(pattern, "op_name_config")
        return configs

    def treats_module_as_whole(self) -> bool:
        """Whether any of the module_* dicts is set."""
        return bool(self.module_input_spec or self.module_output_spec or self.module_state_spec)

    def op_config(self, op_name: str, op_types: tuple[str, ...]) -> OpQuantizerConfig | None:
        """The config of one operation: by name, then by type, then the module's own.

        Args:
            op_name: Full name of the operation.
            op_types: The names its type goes by, the most specific first.
        """
        for pattern, config in reversed(self.op_name_config.items()):
            if re.fullmatch(pattern, op_name):
                return config
        for op_type in op_types:
            if op_type in self.op_type_config:
                return self.op_type_config[op_type]
        return self


ModuleQuantizerConfig.presets = ModulePresets(ModuleQuantizerConfig)


def check_pattern(pattern: str, where: str) -> None:
    """Refuse a name pattern that is no regular expression.

    Raises:
        ValueError: Naming the pattern and the place.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{where}: {pattern!r} is no regular expression: {error}") from None
