"""The arguments that a model is run with while it is prepared or inspected."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from quant_torch._torch_internals import pytree


@dataclass(frozen=True)
class ExampleInputs:
    """Arguments of one forward pass.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def checked(
        cls,
        model: nn.Module,
        example_inputs: tuple[Any, ...],
        example_kwargs: Mapping[str, Any] | None = None,
    ) -> ExampleInputs:
        """What a user gave for a model.

        Keyword arguments are put in the order of the forward's signature, as positional ones where
        no argument before them is left out. A captured graph can be called by position as well, so
        that any other order would mix them up.

        Raises:
            TypeError: No tuple, no mapping of names, or the forward does not take them.
        """
        if not isinstance(example_inputs, tuple):
            hint = "for one input write (x,)"
            if isinstance(example_inputs, Mapping):
                hint = "keyword arguments go into example_kwargs, after an empty tuple"
            raise TypeError(
                "example_inputs must be a tuple of the positional arguments of forward, given "
                f"{type(example_inputs).__name__}; {hint}"
            )
        kwargs = {} if example_kwargs is None else example_kwargs
        if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
            raise TypeError(
                "example_kwargs must be a dict of the keyword arguments of forward by name, given "
                f"{example_kwargs!r:.80}"
            )
        try:
            signature = inspect.signature(model.forward)
        except (TypeError, ValueError):  # such as a scripted forward
            return cls(example_inputs, dict(kwargs))
        try:
            bound = signature.bind(*example_inputs, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{type(model).__name__}.forward{signature} does not take these example inputs: "
                f"{error}{_unpacked(example_inputs)}"
            ) from None
        if example_kwargs is None:
            return cls(example_inputs)
        return cls(bound.args, bound.kwargs)

    def copied(self) -> ExampleInputs:
        """Copies that a model may write to; a tensor given twice stays one tensor."""
        copies: dict[int, torch.Tensor] = {}

        def copy(tensor: torch.Tensor) -> torch.Tensor:
            if id(tensor) not in copies:
                copies[id(tensor)] = tensor.detach().clone()
            return copies[id(tensor)]

        return self.mapped(copy)

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> ExampleInputs:
        """The same arguments with every tensor changed by a function."""
        return ExampleInputs(*pytree.tree_map_only(torch.Tensor, change, (self.args, self.kwargs)))

    def run(self, model: nn.Module) -> Any:
        """The result of the model for these arguments."""
        return model(*self.args, **self.kwargs)

    def tensors(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """The tensors among the arguments, by the name of their argument and their place in it."""
        try:
            bound = inspect.signature(model.forward).bind(*self.args, **self.kwargs)
            arguments = dict(bound.arguments)
        except (TypeError, ValueError):
            arguments = {"example_inputs": self.args, **self.kwargs}
        leaves, _ = pytree.tree_flatten_with_path(arguments)
        return {
            str(path[0].key) + pytree.keystr(path[1:]): leaf
            for path, leaf in leaves
            if isinstance(leaf, torch.Tensor)
        }

    def described(self, model: nn.Module) -> str:
        """The tensors with their dtypes and shapes, for a message."""
        tensors = self.tensors(model).items()
        return ", ".join(f"{name} {kind_of(t)}" for name, t in tensors) or "no tensor"


def _unpacked(given: tuple[Any, ...]) -> str:
    """A hint where a batch was given in place of a tuple that holds it."""
    alike = len(given) > 1 and all(isinstance(item, torch.Tensor) for item in given)
    if alike and len({(item.shape, item.dtype) for item in given}) == 1:
        return (
            f"; given {len(given)} tensors of one shape, {kind_of(given[0])}: if they are the rows "
            "of one batch x, write (x,) and not tuple(x)"
        )
    return ""


def kind_of(tensor: torch.Tensor) -> str:
    """``float32[4, 3]``."""
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
