"""Nested JSON values as a flat list of pointers (RFC 6901) and scalars, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_DEPTH = 16

Entry = tuple[str, Any]
"""A pointer without its leading slash, and a scalar, ``List(n)`` or ``Members(n)``."""


class List(int):
    """A list of so many items, whose pointers follow."""


class Members(int):
    """An object of so many members, whose pointers follow."""


def flat(attributes: Mapping[str, Any]) -> Iterator[Entry]:
    """Yields every value under its pointer, containers before what they contain."""
    for name, value in attributes.items():
        yield from _flat(_escaped(name), value)


def nested(entries: Sequence[Entry]) -> dict[str, Any]:
    """Builds the attributes that ``flat`` was given.

    Raises:
        ValueError: entries that no attributes have.
    """
    root: dict[str, Any] = {}
    sizes: list[tuple[str, Any, int]] = []
    places: dict[str, Any] = {"": root}
    for pointer, value in entries:
        parent, _, name = pointer.rpartition("/")
        place = places.get(parent)
        if pointer in places or pointer.count("/") >= MAX_DEPTH:
            raise ValueError(f"attribute {pointer!r} comes twice or is too deep")
        item: Any = value
        if isinstance(value, List | Members):
            item = [] if isinstance(value, List) else {}
            sizes.append((pointer, item, int(value)))
        places[pointer] = item
        if isinstance(place, list) and name == str(len(place)):
            place.append(item)
        elif isinstance(place, dict):
            place[name.replace("~1", "/").replace("~0", "~")] = item
        else:
            raise ValueError(f"attribute {pointer!r} is in nothing that was announced before it")
    for pointer, item, size in sizes:
        if len(item) != size:
            raise ValueError(f"attribute {pointer!r} has {len(item)} entries, not {size}")
    return root


def _flat(pointer: str, value: Any) -> Iterator[Entry]:
    if isinstance(value, Mapping):
        yield pointer, Members(len(value))
        for name, inner in value.items():
            yield from _flat(f"{pointer}/{_escaped(str(name))}", inner)
    elif isinstance(value, list | tuple):
        yield pointer, List(len(value))
        for index, inner in enumerate(value):
            yield from _flat(f"{pointer}/{index}", inner)
    else:
        yield pointer, value


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
