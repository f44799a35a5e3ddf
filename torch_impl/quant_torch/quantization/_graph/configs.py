"""What a config says about the operations of a captured graph."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from torch import fx, nn

from quant_torch._suggest import closest
from quant_torch.quantization._graph.ops import module_of, op_types
from quant_torch.quantization._module_configs import (
    ModuleSettings,
    Rank,
    boundary_rank,
    operation_rank,
    resolve_module_configs,
)
from quant_torch.quantization.config import (
    ModuleQuantizerConfig,
    OpQuantizerConfig,
    QATSchedule,
    QuantizerConfig,
)


@dataclass(frozen=True)
class Choice:
    """The config of one operation.

    Attributes:
        config: Specs of its inputs, outputs and states; None leaves it alone.
        rank: How specific that is.
        schedule: When its observers and fake-quantization switch in training.
        disabled: Whether an entry says None, which also ends the sharing of qparams; where nothing
            is configured at all, operations that only move values still pass qparams on.
        module: The config of the module that the operation ran in.
    """

    config: OpQuantizerConfig | None
    rank: Rank
    schedule: QATSchedule | None
    disabled: bool
    module: ModuleQuantizerConfig | None = None


class GraphConfig:
    """A config applied to the modules and operations of one model.

    Args:
        model: The model that was captured.
        config: The user's config.

    Warns:
        UserWarning: An entry names a module or a type that the model does not have.
    """

    def __init__(self, model: nn.Module, config: QuantizerConfig) -> None:
        self.settings = resolve_module_configs(model, config)
        self._model = model
        self._aliases = _aliases(model)

    def of_module(self, name: str | None) -> ModuleSettings:
        """Settings of the module with a name; of the whole model for an operation without one."""
        return self.settings.get(name or "", self.settings[""])

    def whole_modules(self) -> list[str]:
        """Names of the modules that a config treats as a whole, each module once."""
        names = {
            id(self._model.get_submodule(name)): name
            for name, settings in self.settings.items()
            if settings.boundary is not None
        }
        return list(names.values())

    def of_operation(self, node: fx.Node) -> Choice:
        """The config of an operation (PLACE-3): of its module, there by name or type or for all."""
        settings = self.of_module(module_of(node))
        module = settings.config
        if module is None:
            return Choice(None, operation_rank(settings, None), None, settings.rank > 0)
        config = module.op_config(node.name, op_types(node))
        rank = operation_rank(settings, config)
        return Choice(config, rank, module.qat_schedule, config is None, module)

    def boundary_rank(self, name: str) -> Rank:
        """How specific the module_* specs of a module are: more than any operation's."""
        return boundary_rank(self.of_module(name))

    def states_of(self, module: str) -> list[str]:
        """Names of a module's own parameters and buffers."""
        owner = self._model.get_submodule(module)
        return [*owner._parameters, *owner._buffers, *getattr(owner, "parametrizations", ())]

    def names_of_state(self, target: str) -> list[tuple[str, str]]:
        """(module, attribute) under which the model holds a parameter or buffer, all of them."""
        return self._aliases.get(target) or [_split(target)]

    def warn_about_unmatched(self, graph: fx.Graph, anchors: dict[fx.Node, fx.Node]) -> None:
        """Warn about op types and op names in the config that nothing in the graph goes by.

        Args:
            graph: The captured graph, as configs name its operations.
            anchors: For each operation inside a region, the region's first operation.

        Warns:
            UserWarning: With the closest names, or with the operation to configure instead.
        """
        scopes: dict[int, tuple[ModuleQuantizerConfig, list[fx.Node]]] = {}
        for node in graph.nodes:
            config = self.of_module(module_of(node)).config
            if config is not None and op_types(node):
                scopes.setdefault(id(config), (config, []))[1].append(node)
        for config, nodes in scopes.values():
            by_type = {kind: [n for n in nodes if kind in op_types(n)] for kind in _types(nodes)}
            for kind in config.op_type_config:
                _check_entry("op type", kind, by_type.get(kind, []), by_type, anchors)
            by_name = {n.name: n for n in nodes}
            for pattern in config.op_name_config:
                hits = [n for name, n in by_name.items() if re.fullmatch(pattern, name)]
                _check_entry("op name", pattern, hits, by_name, anchors)


def _aliases(model: nn.Module) -> dict[str, list[tuple[str, str]]]:
    """By each name of a parameter or buffer, all its names."""
    together: dict[int, list[tuple[str, str]]] = {}
    held = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    for name, tensor in held:
        together.setdefault(id(tensor), []).append(_split(name))
    return {name: together[id(tensor)] for name, tensor in held}


def _split(target: str) -> tuple[str, str]:
    owner, _, attribute = target.rpartition(".")
    return owner, attribute


def _types(nodes: Iterable[fx.Node]) -> set[str]:
    return {kind for node in nodes for kind in op_types(node)}


def _check_entry(
    what: str,
    entry: str,
    hits: list[fx.Node],
    known: Iterable[str],
    anchors: dict[fx.Node, fx.Node],
) -> None:
    if not hits:
        warn(f"no operation matches the {what} {entry!r}{closest(entry, known, 3)}")
    elif all(node in anchors and anchors[node] is not node for node in hits):
        node = hits[0]
        warn(
            f"the {what} {entry!r} has no effect: {node.name} runs as one with "
            f"{anchors[node].name}, whose config counts"
        )
    elif not any(node in anchors for node in hits):
        warn(
            f"the {what} {entry!r} has no effect: graph mode has no pattern for "
            f"{hits[0].name}; register_pattern adds one"
        )


def warn(message: str) -> None:
    """Warn at the line outside of this package that led here."""
    warnings.warn(message, stacklevel=_levels_to_the_user())


def _levels_to_the_user() -> int:
    level, frame = 1, sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("quant_torch."):
        level, frame = level + 1, frame.f_back
    return level
