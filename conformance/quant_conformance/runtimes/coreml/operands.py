"""The inputs of one MIL operation, as the functions of the operation tables read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quant_conformance.runtimes.errors import UnsupportedOperationError

Result = Any
"""A tensor, or a tuple of them where the operation has several results."""
Table = Mapping[str, Callable[["Inputs"], Result]]


class Inputs:
    """Values of an operation's inputs by name; an input left out has the default of the op.

    Tensors of floats are float32, whatever the program's dtype; tensors of integers that index
    or measure are int64.
    """

    def __init__(self, operation: str, values: Mapping[str, Any]) -> None:
        self.operation = operation
        self._values = values

    def has(self, name: str) -> bool:
        """Tells whether the input is given."""
        return self._values.get(name) is not None

    def tensor(self, name: str) -> Tensor:
        """A required tensor."""
        value = self.optional(name)
        if value is None:
            raise self.unsupported(f"without {name}")
        return value

    def optional(self, name: str) -> Tensor | None:
        """A tensor, or None where it is left out."""
        value = self._values.get(name)
        return value if value is None or isinstance(value, Tensor) else torch.as_tensor(value)

    def tensors(self, name: str) -> list[Tensor]:
        """A required list of tensors."""
        return [torch.as_tensor(value) for value in self._values[name]]

    def ints(self, name: str, default: list[int] | None = None) -> list[int]:
        """A list of integers."""
        if not self.has(name):
            if default is None:
                raise self.unsupported(f"without {name}")
            return default
        return [int(v) for v in np.asarray(self._values[name]).reshape(-1)]

    def integer(self, name: str, default: int = 0) -> int:
        """An integer."""
        return int(self._scalar(name, default))

    def number(self, name: str, default: float = 0.0) -> float:
        """A float, with the value that its dtype in the program gives it."""
        return float(self._scalar(name, default))

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean."""
        return bool(self._scalar(name, default))

    def flags(self, name: str, count: int) -> list[bool]:
        """A list of booleans, all False where it is left out."""
        if not self.has(name):
            return [False] * count
        return [bool(v) for v in np.asarray(self._values[name]).reshape(-1)]

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        return str(self._scalar(name, default))

    def unsupported(self, detail: str) -> UnsupportedOperationError:
        """The error for a form of the operation that the evaluator lacks."""
        return UnsupportedOperationError([self.operation], detail)

    def _scalar(self, name: str, default: Any) -> Any:
        value = self._values.get(name)
        if value is None:
            return default
        return value if isinstance(value, str) else np.asarray(value).reshape(()).item()
