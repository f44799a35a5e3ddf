"""A region of a model as a list of steps, and its evaluation (ADM-1)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quant_reference._arrays import Array
from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic
from quant_reference.admissible.bounds import Bounds
from quant_reference.admissible.operations import OPERATIONS
from quant_reference.errors import InputError, QuantError, UnknownOperationError


@dataclass(frozen=True)
class Step:
    """One operation of a region.

    Attributes:
        op: A name in :data:`OPERATIONS`.
        inputs: Operands in the operation's order: the name of an operand or of an earlier step's
            output, None for one that is absent, or a number.
        output: The name that the result gets.
        attributes: Keyword arguments of the operation, JSON-ready.

    Raises:
        UnknownOperationError: No such operation; the closest name is given.
        InputError: Inputs of another type, or an empty output name.
    """

    op: str
    inputs: tuple[str | float | None, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.op not in OPERATIONS:
            close = difflib.get_close_matches(str(self.op), OPERATIONS, n=1, cutoff=0.4)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UnknownOperationError(
                f"unknown operation{hint}",
                given=self.op,
                allowed=", ".join(OPERATIONS),
                clause="ADM-1",
            )
        object.__setattr__(self, "inputs", tuple(self.inputs))
        for name in self.inputs:
            if isinstance(name, bool) or not (name is None or isinstance(name, str | int | float)):
                raise InputError(
                    f"input of {self.op}", given=name, allowed="a name, a number or None",
                    clause="ADM-1",
                )  # fmt: skip
        if not isinstance(self.output, str) or not self.output:
            raise InputError(
                f"output of {self.op}", given=self.output, allowed="a name", clause="ADM-1"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form, the inverse of :meth:`from_dict`."""
        return {
            "op": self.op,
            "inputs": list(self.inputs),
            "output": self.output,
            "attributes": dict(self.attributes),
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Step:
        """Build a step from its plain form; attributes may be left out.

        Raises:
            InputError: A key that is missing or unknown.
            UnknownOperationError: As for the constructor.
        """
        needed, known = {"op", "inputs", "output"}, {"op", "inputs", "output", "attributes"}
        if not isinstance(mapping, Mapping) or not needed <= set(mapping) <= known:
            raise InputError(
                "step",
                given=sorted(mapping) if isinstance(mapping, Mapping) else mapping,
                allowed="op, inputs, output and perhaps attributes",
                clause="ADM-1",
            )
        return cls(
            mapping["op"],
            tuple(mapping["inputs"]),
            mapping["output"],
            dict(mapping.get("attributes") or {}),
        )


def evaluate(
    steps: Iterable[Step],
    operands: Mapping[str, Bounds | Array],
    arithmetic: Arithmetic = FLOAT32,
) -> dict[str, Bounds]:
    """Bounds of every result of a region, by name, the operands' own included (ADM-1).

    Args:
        steps: In an order in which every input is there before it is used.
        operands: Tensors by name; an array is exact.
        arithmetic: dtypes of values and sums.

    Raises:
        InputError: A name that nothing made, a name made twice, or whatever the operation refuses.
    """
    known: dict[str, Bounds] = {
        name: operand if isinstance(operand, Bounds) else Bounds.exact(operand)
        for name, operand in operands.items()
    }
    for step in steps:
        if step.output in known:
            raise InputError(
                "output of a step", given=step.output, allowed="a new name", clause="ADM-1"
            )
        inputs: list[Bounds | float | None] = []
        for name in step.inputs:
            if isinstance(name, str) and name not in known:
                raise InputError(
                    f"input of {step.op}", given=name, allowed=", ".join(known), clause="ADM-1"
                )
            inputs.append(known[name] if isinstance(name, str) else name)
        try:
            known[step.output] = OPERATIONS[step.op](
                *inputs, **step.attributes, arithmetic=arithmetic
            )
        except QuantError:
            raise
        except (TypeError, ValueError, IndexError) as error:
            # numpy's or Python's own words for shapes or attributes that do not fit.
            raise InputError(
                f"{step.op} refuses its operands or attributes: {error}",
                given=step.to_dict(),
                allowed="what the operation takes",
                clause="ADM-1",
            ) from error
    return known
