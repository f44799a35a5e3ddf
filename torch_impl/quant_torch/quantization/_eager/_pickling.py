"""Pickling a model of eager mode: refused, with what to do in its place.

Call sites are found by the code objects that lead to them, and weights are parametrized by classes
that torch makes at run time; neither can be pickled.
"""

from __future__ import annotations

from typing import NoReturn

from torch import nn
from torch.nn.utils import parametrize

_ADVICE = (
    "a model of eager mode cannot be pickled (torch.save, multiprocessing), neither prepared nor "
    "finalized: save prepared.state_dict(), prepare a new model with the same config and load it "
    "there; a finalized model is saved as its exported file"
)


class PreparedModelPicklingError(TypeError):
    """A model of eager mode was pickled."""


def refuse(*_: object) -> NoReturn:
    """Raise the error; takes the arguments of every pickling hook.

    Raises:
        PreparedModelPicklingError: Always.
    """
    raise PreparedModelPicklingError(_ADVICE)


def refuse_pickling(model: nn.Module) -> None:
    """Give the classes that parametrizing made the error in the place of torch's own."""
    for module in model.modules():
        if parametrize.is_parametrized(module):
            type(module).__getstate__ = refuse  # type: ignore[method-assign]
