"""The arguments of one forward pass, as users give them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from quant_conformance.gate.errors import GateError

FORMS = (
    "a tensor, a tuple or list of arguments, a dict of arguments by name, or a pair of a tuple and "
    "a dict for both"
)


@dataclass(frozen=True)
class Inputs:
    """Arguments of one forward pass: tensors, or tuples, lists and dicts of them.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments by name.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Any) -> Inputs:
        """Arguments as they stand: a tuple of positional ones, or what is :class:`Inputs`."""
        return given if isinstance(given, Inputs) else cls(tuple(given))

    @classmethod
    def read(cls, given: Any) -> Inputs:
        """Arguments in one of the forms that users give; numpy arrays become tensors.

        A dict behind a tensor is a positional argument, as in torch. A model that takes a tuple and
        a dict by position gets them as ``((pair, named), {})``.

        Args:
            given: in one of ``FORMS``.

        Raises:
            GateError: something that is no tensor, or a keyword that is no word.
        """
        args, kwargs = given if isinstance(given, tuple | list) else (given,), {}
        if isinstance(given, Inputs):
            args, kwargs = given.args, given.kwargs
        elif isinstance(given, Mapping):
            args, kwargs = (), dict(given)
        elif _is_pair(given):
            args, kwargs = given[0], dict(given[1])
        words = [name for name in kwargs if not isinstance(name, str)]
        if words:
            raise GateError(f"inputs are {FORMS}; given the name {words[0]!r}")
        return Inputs(*pytree.tree_map(_tensor, (tuple(args), kwargs)))

    def bound(self, model: nn.Module) -> Inputs:
        """The same arguments in the order of a model's signature, by position where possible.

        So a recording, a captured graph and an exported file have them in one order.

        Raises:
            GateError: the model does not take them.
        """
        signature = inspect.signature(model.forward)
        try:
            found = signature.bind(*self.args, **self.kwargs)
        except TypeError as error:
            raise GateError(
                f"{type(model).__name__}.forward{signature} does not take these inputs: {error}"
            ) from None
        return Inputs(found.args, found.kwargs)

    def run(self, model: Any) -> Any:
        """What a model gives for them."""
        return model(*self.args, **self.kwargs)

    def copied(self) -> Inputs:
        """Copies that a model may write to."""
        return Inputs(
            *pytree.tree_map_only(
                torch.Tensor, lambda t: t.detach().clone(), (self.args, self.kwargs)
            )
        )

    @property
    def tensors(self) -> Iterator[torch.Tensor]:
        """Every tensor, in the order in which an exported program takes them."""
        leaves = pytree.tree_leaves((self.args, self.kwargs))
        return (leaf for leaf in leaves if isinstance(leaf, torch.Tensor))


def _is_pair(given: Any) -> bool:
    return (
        isinstance(given, tuple)
        and len(given) == 2
        and isinstance(given[0], tuple)
        and isinstance(given[1], Mapping)
    )


def _tensor(leaf: Any) -> torch.Tensor:
    if isinstance(leaf, np.ndarray):
        return torch.from_numpy(leaf)
    if not isinstance(leaf, torch.Tensor):
        raise GateError(
            "inputs are tensors or arrays, or tuples, lists and dicts of them, given "
            f"{type(leaf).__name__}"
        )
    return leaf
