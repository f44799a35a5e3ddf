"""Weights that a forward computes from the model's states alone, as pieces of a larger weight.

Such a tensor is the same in every run, so it counts as a state (PLACE-5) and is stored as codes. A
:class:`Recipe` says how to compute it anew from parameters that have been trained since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from quant_torch._torch_internals import pytree
from quant_torch.quantization._eager._call_sites import SiteKey
from quant_torch.quantization._eager._scopes import site_at
from quant_torch.quantization.spec._fast.value_cache import version_of


@dataclass(frozen=True, eq=False)
class State:
    """A parameter or buffer, by the name of its module and its attribute there."""

    module: str
    attribute: str

    def value(self, model: nn.Module, known: dict[int, Any]) -> Any:
        """The tensor, with its parametrizations."""
        return getattr(model.get_submodule(self.module), self.attribute)


@dataclass(frozen=True, eq=False)
class Result:
    """What a torch function gives for states, results, and arguments that are no tensors.

    Attributes:
        function: The function.
        args: Positional arguments.
        kwargs: Keyword arguments.
        place: Name of the calling module, call site and visit; the call may be quantized, too.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    place: tuple[str, SiteKey, int]

    def value(self, model: nn.Module, known: dict[int, Any]) -> Any:
        """The result of the call."""
        if id(self) not in known:
            args, kwargs = pytree.tree_map(
                lambda leaf: leaf.value(model, known) if isinstance(leaf, Source) else leaf,
                (self.args, self.kwargs),
                is_leaf=lambda leaf: isinstance(leaf, Source),
            )
            site = site_at(model, *self.place)
            known[id(self)] = (
                self.function(*args, **kwargs)
                if site is None
                else site.run(self.function, args, kwargs)
            )
        return known[id(self)]


@dataclass(frozen=True, eq=False)
class Recipe:
    """One tensor of a result.

    Attributes:
        result: The call.
        index: Place of the tensor among those that the call gives.
    """

    result: Result
    index: int

    def value(self, model: nn.Module, known: dict[int, Any]) -> Any:
        """The tensor."""
        return pytree.tree_leaves(self.result.value(model, known))[self.index]

    def compute(self, model: nn.Module) -> torch.Tensor:
        """The tensor as the model's states are now; detached.

        Args:
            model: The model that was traced, or a copy of it.
        """
        with torch.no_grad():
            value: torch.Tensor = self.value(model, {})
        return value.detach()

    def states(self) -> set[State]:
        """The parameters and buffers that it is computed from."""
        found: set[State] = set()
        waiting, seen = [self.result], set()
        while waiting:
            result = waiting.pop()
            leaves = pytree.tree_leaves(
                (result.args, result.kwargs), is_leaf=lambda leaf: isinstance(leaf, Source)
            )
            for leaf in leaves:
                if isinstance(leaf, State):
                    found.add(leaf)
                elif isinstance(leaf, Recipe) and id(leaf.result) not in seen:
                    seen.add(id(leaf.result))
                    waiting.append(leaf.result)
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> Recipe:
        return self  # names and functions; the model is an argument


Source = State | Recipe


class Origins:
    """Notes, while a model runs, what its tensors were computed from.

    Args:
        model: The model.
        states: (module's name, attribute, tensor) of its parameters and buffers.
    """

    def __init__(self, model: nn.Module, states: Iterable[tuple[str, str, torch.Tensor]]) -> None:
        self._model = model
        self._sources: dict[int, Source] = {}
        self._versions: dict[int, int | None] = {}
        self._of_data: set[int] = set()
        for module, name, tensor in states:
            self._note(tensor, State(module, name))

    def from_data(self, tensors: Iterable[torch.Tensor]) -> None:
        """Note tensors that differ from run to run."""
        self._of_data |= {id(tensor) for tensor in tensors}

    def called(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        outputs: dict[int, torch.Tensor],
        place: tuple[str, SiteKey, int],
    ) -> None:
        """Note what a call computed its results from; the tensors have to live on.

        What the call has written to is no longer what led there, and has no source.
        """
        given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if _is_tensor(leaf)]
        if any(id(tensor) in self._of_data for tensor in given):
            self.from_data(outputs.values())
        if not given or any(self._source(tensor) is None for tensor in given):
            return
        args, kwargs = pytree.tree_map_only(torch.Tensor, self._source, (args, kwargs))
        result = Result(function, args, kwargs, place)
        for index, tensor in outputs.items():
            if self._source(tensor) is None:
                self._note(tensor, Recipe(result, index))

    def is_of_data(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor depends on the model's inputs."""
        return id(tensor) in self._of_data

    def recipe(self, tensor: torch.Tensor) -> Recipe | None:
        """How a tensor is computed from states alone, or None.

        What was written to, or comes out otherwise a second time, as with random numbers, has no
        recipe.
        """
        source = self._source(tensor)
        if not isinstance(source, Recipe) or self.is_of_data(tensor):
            return None
        again = source.compute(self._model)
        return source if torch.equal(again, tensor.detach()) else None

    def _note(self, tensor: torch.Tensor, source: Source) -> None:
        self._sources[id(tensor)] = source
        self._versions[id(tensor)] = _version(tensor)

    def _source(self, tensor: torch.Tensor) -> Source | None:
        """The source of a tensor that nothing, a view included, was written to since."""
        if self._versions.get(id(tensor)) != _version(tensor):
            return None
        return self._sources.get(id(tensor))


def _version(tensor: torch.Tensor) -> int | None:
    # A tensor of a lazy module is made, and written to, when the model runs first.
    return -1 if nn.parameter.is_lazy(tensor) else version_of(tensor)


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)
