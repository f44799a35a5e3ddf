"""What a rule is, and what rules share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from quant_torch._torch_internals import OpOverload

aten = torch.ops.aten

Rule = Callable[..., Any]
"""Takes the arguments of an operation, and gives its result by other operations, or
``NotImplemented`` where the converter takes the operation with these arguments as it is."""

Rules = dict[OpOverload, Rule]


def overloads(*packets: Any) -> Iterable[OpOverload]:
    """All overloads of operations, those that write into an argument left out."""
    for packet in packets:
        for name in packet.overloads():
            overload = getattr(packet, name)
            if not name.endswith("out") and not overload._schema.is_mutable:
                yield overload


def listed(value: int | Sequence[int], rank: int) -> list[int]:
    """One number per spatial axis, where torch takes a single one for all."""
    numbers = [value] if isinstance(value, int) else [int(n) for n in value]
    return numbers * rank if len(numbers) == 1 else numbers


def like(number: float, x: Tensor) -> Tensor:
    """A number as a tensor of no axes, in the dtype of another."""
    return torch.full((), number, dtype=x.dtype)


def part(x: Tensor, axis: int, start: int, length: int) -> Tensor:
    """``x.narrow``, as the slice that every converter has."""
    return aten.slice.Tensor(x, axis, start, start + length, 1)


def once(rule: Rule) -> Rule:
    """A rule that uses its own operation: what it calls is left as it is."""
    active = False

    def guarded(*args: Any, **kwargs: Any) -> Any:
        nonlocal active
        if active:
            return NotImplemented
        active = True
        try:
            return rule(*args, **kwargs)
        finally:
            active = False

    return guarded
