"""Operations called with the arguments of a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quant_torch._torch_internals import OpOverload


def call(overload: OpOverload, args: list[Any], function: Callable[..., Any] | None = None) -> Any:
    """Call an operation, or a rule in its place, with arguments in the order of its schema."""
    schema = overload._schema.arguments
    plain = [a for a, spec in zip(args, schema, strict=False) if not spec.kwarg_only]
    named = {s.name: a for a, s in zip(args, schema, strict=False) if s.kwarg_only}
    if function is None:
        return overload(*plain, **named)
    defaults = {s.name: s.default_value for s in schema if s.has_default_value()}
    # A rule is written down with the arguments that it reads; the dtype and the like of a trace
    # are always those of its inputs.
    return function(*plain, **{n: v for n, v in named.items() if v != defaults.get(n)})
