"""Finds what a backend's class says in a way that the protocol does not hear.

A misspelt method is never called, and one with other parameters fails on every case, which would
pass for a refusal where a refusal is right. Both are told before the first case.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from quant_conformance.protocol import Backend, implements

ALIKE = 0.6
"""Ratio of ``difflib`` from which a name is taken for a misspelt one."""


def _is_method(value: Any) -> bool:
    return inspect.isroutine(value) or isinstance(value, staticmethod | classmethod)


METHODS = tuple(n for n, v in vars(Backend).items() if n[0] != "_" and _is_method(v))
ATTRIBUTES = tuple(n for n, v in vars(Backend).items() if n[0] != "_" and not _is_method(v))


def mistakes(backend: Backend) -> list[str]:
    """Returns what makes it pointless to ask, one line each.

    These are attributes of another type than the protocol's, and methods that cannot be called
    as the protocol calls them.
    """
    return [
        *wrong_attributes(backend, ATTRIBUTES),
        *(line for name in METHODS for line in _uncallable(backend, name)),
    ]


def wrong_attributes(backend: Backend | type[Backend], names: Iterable[str]) -> Iterator[str]:
    """Names the attributes of a backend, or of its class, that are of another type."""
    for name in names:
        allowed, holds = _ATTRIBUTES[name]
        value = getattr(backend, name, None)
        if not holds(value):
            yield f"{name} is {value!r}; allowed: {allowed}"


def _uncallable(backend: Backend, name: str) -> Iterator[str]:
    method = getattr(backend, name)
    if not implements(backend, name):
        return
    # Without self, and without the names of what the protocol calls by position.
    wanted = list(inspect.signature(getattr(Backend, name)).parameters)[1:]
    call = f"{name}({', '.join(wanted)})"
    if not callable(method):
        yield f"{name} is {method!r} and no method; the protocol calls {call}"
        return
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # some builtins do not tell
        return
    try:
        signature.bind(*wanted)
    except TypeError as error:
        bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        given = inspect.Signature(bare)
        yield f"{name}{given} cannot be called as the protocol does, {call}: {error}"


def misnamed(backend: Backend, *, every: bool = False) -> list[str]:
    """Names public methods and attributes that are not the protocol's, but look like it.

    Args:
        backend: the backend.
        every: also name the public methods that resemble nothing, for a backend of which nothing
            could be judged.
    """
    found = []
    for name, value in _own(backend).items():
        method = _is_method(value)
        allowed = METHODS if method else (*ATTRIBUTES, "versions")
        missing = [n for n in allowed if n in ATTRIBUTES or not implements(backend, n)]
        near = difflib.get_close_matches(name, missing, n=1, cutoff=ALIKE)
        written = f"{name}()" if method else name
        if near:
            nearest = f"{near[0]}()" if near[0] in METHODS else near[0]
            found.append(f"{written} is not in the protocol; did you mean {nearest}?")
        elif method and every:
            (nearest,) = difflib.get_close_matches(name, METHODS, n=1, cutoff=0)
            found.append(f"{written} is not in the protocol; the nearest name is {nearest}()")
    return found


def misspelt(backend: Backend, method: str) -> str | None:
    """Returns the name of a method of the backend that may be meant for one that it lacks."""
    names = tuple(name for name, value in _own(backend).items() if _is_method(value))
    return _nearest(method, names)


@functools.lru_cache(maxsize=1024)  # asked for each case
def _nearest(name: str, names: tuple[str, ...]) -> str | None:
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=ALIKE)), None)


def _own(backend: Backend) -> dict[str, Any]:
    """Public names that the backend's classes and its constructor add to the protocol's."""
    names: dict[str, Any] = {}
    for cls in type(backend).__mro__:
        if cls not in (Backend, object):
            names = {**vars(cls), **names}
    names.update({n: v for n, v in vars(backend).items() if n not in names})
    known = (*METHODS, *ATTRIBUTES)
    return {
        name: value
        for name, value in names.items()
        if name[0] != "_" and name not in known and not isinstance(value, type)
    }


def _texts(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(entry, str) for entry in value)


def _mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and _texts([*value, *value.values()])


def _factor(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < math.inf


_ATTRIBUTES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("text", lambda value: isinstance(value, str)),
    "requires": ('a tuple of names, e.g. ("onnxruntime",)', _texts),
    "pip": ("text", lambda value: isinstance(value, str)),
    "isolated": ("True, False", lambda value: isinstance(value, bool)),
    "patience": ("a number above 0", _factor),
    "checks_input": ("True, False", lambda value: isinstance(value, bool)),
    "policies": ("a mapping of names to choices", _mapping),
}
