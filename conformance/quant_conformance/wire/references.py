"""References of programs and answers: ``cmd://PROGRAM``, or ``cmd+{"memory": 1}://PROGRAM``."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, TypeVar

from quant_conformance.errors import UsageError

T = TypeVar("T")


def reference_of(scheme: str, target: str, options: Any) -> str:
    """Writes a reference; options at their defaults are left out."""
    default = type(options)()
    given = {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if getattr(options, field.name) != getattr(default, field.name)
    }
    return f"{scheme}{'+' + json.dumps(given) if given else ''}://{target}"


def parsed(reference: str, options: type[T]) -> tuple[str, T]:
    """Reads a reference: what it is of, and its options.

    Raises:
        UsageError: options that there are not.
    """
    scheme, _, rest = reference.partition("+")
    if "://" in scheme:
        return reference.partition("://")[2], options()
    try:
        given, end = json.JSONDecoder().raw_decode(rest)
        if not rest.startswith("://", end):
            raise ValueError("there is no :// behind the options")
        made = options(**given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"backend {reference!r}: {error}") from error
    return rest[end + 3 :], made
