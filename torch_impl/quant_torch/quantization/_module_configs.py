"""Which config governs which module: name before type before global, later before earlier."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

from quant_torch._suggest import closest
from quant_torch.quantization.config import (
    ModuleQuantizerConfig,
    OpQuantizerConfig,
    QuantizerConfig,
)
from quant_torch.quantization.config.quantizer_config import type_name


@dataclass(frozen=True)
class ModuleSettings:
    """What a config says about one module.

    Attributes:
        config: The config of the operations inside; None leaves them alone.
        boundary: The config whose module_* specs treat this very module as a whole, or None.
        rank: Place of the entry among all entries, the more specific the higher; 0 is the global
            config.
    """

    config: ModuleQuantizerConfig | None
    boundary: ModuleQuantizerConfig | None = None
    rank: int = 0


Rank = tuple[int, ...]
"""How specific a config is: the higher one decides where two disagree (PLACE-9)."""


def boundary_rank(settings: ModuleSettings) -> Rank:
    """Of the module_* specs of a module: more than any operation's."""
    return (1, settings.rank)


def operation_rank(settings: ModuleSettings, config: OpQuantizerConfig | None) -> Rank:
    """Of an operation's config: by the module's entry, there by name over by type over the rest."""
    module = settings.config
    if module is None:
        return (0, settings.rank)
    if config is module:
        return (0, settings.rank, 0, 0)
    for place, named in enumerate(module.op_name_config.values()):
        if named is config:
            return (0, settings.rank, 2, place)
    return (0, settings.rank, 1, 0)


def resolve_module_configs(model: nn.Module, config: QuantizerConfig) -> dict[str, ModuleSettings]:
    """Settings of every module of a model.

    An entry holds for the modules it matches and for their children; entries are applied in
    order, types first and names after them, so that a later one replaces an earlier one. A module
    that is reachable under several names has one setting.

    Args:
        model: The model; read only.
        config: The config.

    Returns:
        Settings by module name, every name of a shared module included.

    Warns:
        UserWarning: An entry matches no module; the closest names are given.
    """
    modules = list(model.named_modules(remove_duplicate=False))
    settings = {id(module): ModuleSettings(config.global_config) for _, module in modules}
    for rank, matched in enumerate(_matches(modules, config), 1):
        for module, entry in matched:
            for inner in module.modules():
                settings[id(inner)] = ModuleSettings(entry, rank=rank)
            if entry is not None and entry.treats_module_as_whole():
                settings[id(module)] = ModuleSettings(entry, entry, rank)
    return {name: settings[id(module)] for name, module in modules}


def _matches(
    modules: list[tuple[str, nn.Module]], config: QuantizerConfig
) -> Iterator[list[tuple[nn.Module, ModuleQuantizerConfig | None]]]:
    types = [type_name(type(module)) for _, module in modules]
    names = [name for name, _ in modules]
    for wanted, entry in config.module_type_configs.items():
        yield _matching(modules, types, wanted.__eq__, "module type", wanted, entry)
    for pattern, entry in config.module_name_configs.items():
        matches = re.compile(pattern).fullmatch
        yield _matching(modules, names, matches, "module name", pattern, entry)


def _matching(
    modules: list[tuple[str, nn.Module]],
    labels: list[str],
    matches: Callable[[str], object],
    what: str,
    given: str,
    entry: ModuleQuantizerConfig | None,
) -> list[tuple[nn.Module, ModuleQuantizerConfig | None]]:
    hits = [m for (_, m), label in zip(modules, labels, strict=True) if matches(label)]
    if not hits:
        warnings.warn(
            f"no module matches the {what} {given!r}{closest(given, set(labels), 3)}",
            stacklevel=2,
        )
    return [(module, entry) for module in {id(m): m for m in hits}.values()]
