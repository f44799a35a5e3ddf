"""Config of a whole model."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO, Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator
from torch import nn

from quant_torch._suggest import closest
from quant_torch.quantization._strict_model import StrictModel
from quant_torch.quantization.config._fields import _empty_if_none
from quant_torch.quantization.config.execution_mode import ExecutionMode
from quant_torch.quantization.config.module_config import ModuleQuantizerConfig, check_pattern
from quant_torch.quantization.config.presets import QuantizerPresets

CONFIG_KEY = "quantization_config"
SPEC_KEY = "quantization_spec"

_TYPE_NAME = re.compile(r"[A-Za-z_][\w<>]*(\.[A-Za-z_<][\w<>]*)+")

ModuleConfigs = Annotated[dict[str, ModuleQuantizerConfig | None], BeforeValidator(_empty_if_none)]


class QuantizerConfig(StrictModel):
    """What is quantized in a model, and how.

    A module takes the config of its name, else of its type, else the global one; entries for a
    module reach its children, and among entries of one kind a later one wins. A config of None
    disables what it names.

    Attributes:
        global_config: Config of everything without a more specific one. Omitted: int8 symmetric
            weights per channel and int8 symmetric activations per tensor. None: nothing.
        module_type_configs: Configs by module class, or its fully qualified name.
        module_name_configs: Configs by module name, a regular expression that must match the
            whole name.
        execution_mode: ``"graph"`` or ``"eager"``.
    """

    model_config = ConfigDict(validate_assignment=True)

    global_config: ModuleQuantizerConfig | None = Field(default_factory=ModuleQuantizerConfig)
    module_type_configs: ModuleConfigs = Field(default_factory=dict)
    module_name_configs: ModuleConfigs = Field(default_factory=dict)
    execution_mode: ExecutionMode = ExecutionMode.GRAPH

    presets: ClassVar[QuantizerPresets[QuantizerConfig]]

    LEFT_OUT: ClassVar[dict[str, str]] = {
        "preserved_attributes": "read the attributes from your own model",
        "kv_cache_quant_configs": "key-value caches are not quantized",
    }

    @field_validator("module_type_configs", mode="before")
    @classmethod
    def _read_types(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {type_name(key): config for key, config in given.items()}

    @field_validator("module_name_configs")
    @classmethod
    def _check_names(cls, configs: dict[str, Any]) -> dict[str, Any]:
        for pattern in configs:
            check_pattern(pattern, "module_name_configs")
        return configs

    @model_validator(mode="after")
    def _global_has_no_boundary(self) -> QuantizerConfig:
        if self.global_config is not None and self.global_config.treats_module_as_whole():
            raise ValueError(
                "global_config cannot have module_input_spec, module_output_spec or "
                "module_state_spec; put them in module_type_configs or module_name_configs"
            )
        return self

    def set_global(self, config: ModuleQuantizerConfig | None) -> QuantizerConfig:
        """Set the global config; None disables what no other entry names. Returns self."""
        self.global_config = config
        return self

    def set_module_type(
        self, module_type: str | type[nn.Module], config: ModuleQuantizerConfig | None
    ) -> QuantizerConfig:
        """Set the config of a module class, or of its fully qualified name. Returns self."""
        return self._set("module_type_configs", {type_name(module_type): config})

    def set_module_name(
        self, module_name: str, config: ModuleQuantizerConfig | None
    ) -> QuantizerConfig:
        """Set the config of the modules whose whole name matches a pattern. Returns self."""
        return self._set("module_name_configs", {module_name: config})

    def set_execution_mode(self, mode: ExecutionMode | str) -> QuantizerConfig:
        """Set the execution mode. Returns self.

        Raises:
            InvalidExecutionModeError: A string that names no mode.
        """
        self.execution_mode = ExecutionMode(mode)
        return self

    def only_for(self, *targets: Any) -> QuantizerConfig:
        """Move the global config to the given modules and disable it elsewhere. Returns self.

        Args:
            *targets: Module classes and module names, or one list of them. An entry that a target
                already has is replaced.

        Raises:
            ValueError: No target, or a global config that is None already.
            TypeError: A target that is neither a module class nor a string.
        """
        listed = _listed(targets)
        if not listed:
            raise ValueError("only_for needs at least one module class or module name")
        config = self.global_config
        if config is None:
            raise ValueError(
                "only_for moves the global config, which is disabled; "
                "give all targets in one only_for call"
            )
        for target in listed:
            self._set_target(target, config.model_copy(deep=True))
        return self.set_global(None)

    def without(self, *targets: Any) -> QuantizerConfig:
        """Disable quantization for the given module classes and names. Returns self.

        Raises:
            TypeError: A target that is neither a module class nor a string.
        """
        for target in _listed(targets):
            self._set_target(target, None)
        return self

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any]) -> QuantizerConfig:
        """Read a config from its plain form.

        Args:
            config_dict: ``{"quantization_config": {...}}``; ``"quantization_spec"`` may hold
                specs that YAML anchors refer to and is otherwise not looked at.

        Raises:
            ValueError: Another key at the top, no ``quantization_config``, or a config that does
                not validate.
        """
        if not isinstance(config_dict, dict):
            raise ValueError(f"a config must be a mapping, given {type(config_dict).__name__}")
        for key in config_dict:
            if key not in (CONFIG_KEY, SPEC_KEY):
                raise ValueError(
                    f"unknown top key {key!r}{closest(key, (CONFIG_KEY, SPEC_KEY))}; "
                    f"there are {CONFIG_KEY} and {SPEC_KEY}"
                )
        body = config_dict.get(CONFIG_KEY)
        if not isinstance(body, dict):
            raise ValueError(f"a config needs the key {CONFIG_KEY} with a mapping, given {body!r}")
        return cls.model_validate(body)

    @classmethod
    def from_yaml(cls, yml: str | os.PathLike[str] | IO[Any]) -> QuantizerConfig:
        """Read a config from a YAML file or stream; see :meth:`from_dict`.

        Raises:
            FileNotFoundError: No such file.
            ValueError: What the file holds is no config.
        """
        import yaml

        text = Path(yml).read_text("utf-8") if isinstance(yml, str | os.PathLike) else yml.read()
        try:
            loaded = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"not valid YAML: {error}") from None
        return cls.from_dict(loaded)

    def to_dict(self) -> dict[str, Any]:
        """Plain form of strings, numbers and None; the inverse of :meth:`from_dict`."""
        return {CONFIG_KEY: self.model_dump(mode="json")}

    def _set(self, field: str, entry: dict[str, Any]) -> QuantizerConfig:
        (key,) = entry
        kept = {k: v for k, v in getattr(self, field).items() if k != key}
        setattr(self, field, kept | entry)  # at the end: a later entry wins
        return self

    def _set_target(self, target: object, config: ModuleQuantizerConfig | None) -> None:
        field = "module_name_configs" if isinstance(target, str) else "module_type_configs"
        self._set(field, {target if isinstance(target, str) else type_name(target): config})


QuantizerConfig.presets = QuantizerPresets(QuantizerConfig, ModuleQuantizerConfig.presets)


def type_name(module_type: object) -> str:
    """Fully qualified name of a module class, given as a class or as that name.

    ``"torch.nn.Linear"`` is read as ``"torch.nn.modules.linear.Linear"``.

    Raises:
        ValueError: A string that is no dotted name.
        TypeError: Neither a module class nor a string.
    """
    if isinstance(module_type, type) and issubclass(module_type, nn.Module):
        return f"{module_type.__module__}.{module_type.__qualname__}"
    if not isinstance(module_type, str):
        raise TypeError(f"a module type must be an nn.Module class or its name, not {module_type}")
    alias = getattr(nn, module_type.removeprefix("torch.nn."), None)
    if isinstance(alias, type) and module_type.startswith("torch.nn."):
        return type_name(alias)
    if not _TYPE_NAME.fullmatch(module_type):
        near = closest(module_type, [name for name in nn.__dict__ if name[:1].isupper()])
        raise ValueError(
            f"module type {module_type!r}{near.replace(chr(39), chr(39) + 'torch.nn.', 1)} must be "
            "fully qualified, for example 'torch.nn.modules.linear.Linear'"
        )
    return module_type


def _listed(targets: tuple[Any, ...]) -> list[Any]:
    listed = list(targets)
    if len(listed) == 1 and isinstance(listed[0], list | tuple):
        listed = list(listed[0])
    for target in listed:
        if not isinstance(target, str):
            type_name(target)
    return listed
