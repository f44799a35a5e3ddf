"""Recurrent layers of torch, which keep a list of their weights beside the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_LIST = "_flat_weights"


def read_anew(owner: nn.Module) -> None:
    """Let a recurrent layer whose weights are parametrized make its list when it reads it.

    Args:
        owner: Any module; of its own class, as torch gives it to a parametrized one.
    """
    if isinstance(owner, nn.RNNBase):
        setattr(type(owner), _LIST, property(_weights_of, _forget))


def keep_anew(owner: nn.Module) -> None:
    """Make the list of a recurrent layer from what it has now."""
    if isinstance(owner, nn.RNNBase):
        setattr(owner, _LIST, _weights_of(owner))


def _weights_of(owner: nn.RNNBase) -> list[torch.Tensor | None]:
    return [getattr(owner, name, None) for name in owner._flat_weights_names]


def _forget(owner: nn.RNNBase, value: Any) -> None:
    """What is set is what would be read."""
