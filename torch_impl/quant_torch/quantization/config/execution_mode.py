"""How the quantizer works on a model."""

from __future__ import annotations

from enum import StrEnum


class InvalidExecutionModeError(ValueError):
    """A value that names no execution mode."""


class ExecutionMode(StrEnum):
    """Execution mode of the quantizer.

    Attributes:
        GRAPH: On the graph that ``torch.export`` captures; gives an ``fx.GraphModule``.
        EAGER: On the module itself through ``__torch_function__``, without graph capture.
    """

    GRAPH = "graph"
    EAGER = "eager"

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise InvalidExecutionModeError(
            f"execution mode {value!r}: allowed are {', '.join(repr(m.value) for m in cls)}"
        )
