"""Recorded ATen operations with their arguments by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from quant_conformance.gate.aten.arguments import WITHOUT_EFFECT
from quant_conformance.gate.recording.recorder import Operation, Ref
from quant_conformance.protocol import Array
from quant_reference.admissible import Step

Operand = str | float | None
Steps = list[Step]


class Call:
    """An operation with its arguments by name, as its schema names them.

    Args:
        operation: the operation.
        values: recorded values, for their shapes.

    Attributes:
        read: names of the arguments that were asked for.
    """

    def __init__(self, operation: Operation, values: Mapping[str, Array]) -> None:
        self.operation = operation
        self.values = values
        self.read: set[str] = set()
        schema = operation.function._schema.arguments
        self._defaults = {a.name: a.default_value for a in schema if a.has_default_value()}
        self._given = dict(self._defaults)
        self._given |= dict(zip((a.name for a in schema), operation.args, strict=False))
        self._given |= operation.kwargs

    def __getitem__(self, name: str) -> Any:
        """An argument; tensors as their names."""
        self.read.add(name)
        value = self._given[name]
        if isinstance(value, list | tuple):
            return [_plain(item) for item in value]
        return _plain(value)

    def __contains__(self, name: str) -> bool:
        """Whether the operation has an argument of this name."""
        return name in self._given

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or the default where the operation has none of that name."""
        return self[name] if name in self._given else default

    def number(self, name: str) -> Any:
        """An argument that a step takes as an attribute, such as a bound or an exponent.

        Raises:
            NotImplementedError: it is a tensor, which only an operand can be.
        """
        if isinstance(self._given[name], Ref):
            raise NotImplementedError(f"{name} is a tensor")
        return self[name]

    def is_tensor(self, name: str) -> bool:
        """Whether an argument is a tensor, and no number."""
        return isinstance(self._given.get(name), Ref)

    def check_read(self) -> None:
        """Checks that the steps are made of all that the operation was told.

        Raises:
            NotImplementedError: an argument other than its default that nothing read, and that
                can change the result.
        """
        for name, value in self._given.items():
            if name in self.read or (name in self._defaults and value == self._defaults[name]):
                continue
            if name == "out" and self._is_of_one_dtype():
                continue  # where the result is written, which is recorded as its value
            if not WITHOUT_EFFECT.keys() & {(self.name, name), ("*", name)}:
                raise NotImplementedError(f"its argument {name} is not read")

    def _is_of_one_dtype(self) -> bool:
        """Whether nothing is cast on the way to a place that was given for the result."""
        leaves = [v.name for v in self._given.values() if isinstance(v, Ref)]
        return len({self.values[name].dtype for name in leaves}) == 1

    @property
    def name(self) -> str:
        """Name of the operation as the tables have it, without underscores around it."""
        return self.operation.name.strip("_")

    def dtype(self, name: str) -> np.dtype[Any]:
        """Dtype of a tensor argument."""
        return self.values[self[name]].dtype

    @property
    def output_dtype(self) -> np.dtype[Any]:
        """Dtype of the first output."""
        return self.values[str(self.operation.outputs[0])].dtype

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor argument."""
        return self.values[self[name]].shape

    def step(self, op: str, *inputs: Operand, **attributes: Any) -> Step:
        """A step that makes one of the operation's outputs: the one at ``output``, or the first."""
        name = self.operation.outputs[attributes.pop("output", 0)]
        return Step(op, tuple(inputs), str(name), attributes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self.values[str(self.operation.outputs[0])].shape


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Ref) else value
