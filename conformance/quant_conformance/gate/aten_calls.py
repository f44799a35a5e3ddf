"""Recorded ATen operations with their arguments by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quant_conformance.gate.recording import Operation, Ref
from quant_conformance.protocol import Array
from quant_reference.admissible import Step

Operand = str | float | None
Steps = list[Step]


class Call:
    """An operation with its arguments by name, as its schema names them.

    Args:
        operation: the operation.
        values: recorded values, for their shapes.
    """

    def __init__(self, operation: Operation, values: Mapping[str, Array]) -> None:
        self.operation = operation
        self.values = values
        schema = operation.function._schema.arguments
        self._given = {a.name: a.default_value for a in schema if a.has_default_value()}
        self._given |= dict(zip((a.name for a in schema), operation.args, strict=False))
        self._given |= operation.kwargs

    def __getitem__(self, name: str) -> Any:
        """An argument; tensors as their names."""
        value = self._given[name]
        if isinstance(value, list | tuple):
            return [_plain(item) for item in value]
        return _plain(value)

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or the default where the operation has none of that name."""
        return self[name] if name in self._given else default

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
