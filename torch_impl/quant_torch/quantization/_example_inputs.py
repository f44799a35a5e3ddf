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
        if example_kwargs is None:
            return cls(example_inputs)
        names = isinstance(example_kwargs, Mapping) and all(
            isinstance(name, str) for name in example_kwargs
        )
        if not names:
            raise TypeError(
                "example_kwargs must be a dict of the keyword arguments of forward by name, given "
                f"{example_kwargs!r:.80}"
            )
        signature = inspect.signature(model.forward)
        try:
            bound = signature.bind(*example_inputs, **example_kwargs)
        except TypeError as error:
            raise TypeError(
                f"{type(model).__name__}.forward{signature} does not take these example inputs: "
                f"{error}"
            ) from None
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
