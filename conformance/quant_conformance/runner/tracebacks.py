"""Where in a backend's code an exception comes from."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType, TracebackType

LONGEST = 8000
"""Characters of a traceback that are kept: its end, which says most."""

_HARNESS = Path(__file__).parents[1]
_ASKING = frozenset(
    str(_HARNESS / f"{name}.py")
    for name in ("runner/invoke", "runner/loading", "gate/recording/subject")
)
_INSTALLED = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True)
class Place:
    """A line of code.

    Attributes:
        file: its file, as its package or the backend's folder has it: the same on every machine.
        line: its number.
        function: the function that it is in.
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


def place_of(error: BaseException, owner: type | FunctionType) -> Place | None:
    """Finds the innermost line that belongs to a backend, or the innermost of all.

    Args:
        error: what was raised.
        owner: the class of the backend, or the function that was called. What lies beside its
            file, or in its package, is its own.
    """
    places = list(_frames(error.__traceback__))
    root = _root(owner)
    own = [place for place in places if root is not None and _inside(place.file, root)]
    found = next(reversed(own or places), None)
    return None if found is None else replace(found, file=_short(found.file, root))


def trace_of(error: BaseException) -> str:
    """Writes the traceback from the backend's first line on, and those of what caused it."""
    try:
        told = traceback.TracebackException.from_exception(error)
        frames = list(told.stack)
        inner = [n for n, frame in enumerate(frames) if frame.filename in _ASKING]
        told.stack = traceback.StackSummary.from_list(frames[inner[-1] + 1 if inner else 0 :])
        text = "".join(told.format())
    except BaseException:  # an exception can be as hostile as what raises it
        return ""
    return text if len(text) <= LONGEST else f"…{text[-LONGEST:]}"


def _frames(trace: TracebackType | None) -> Iterator[Place]:
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename not in _ASKING:
            yield Place(code.co_filename, trace.tb_lineno, code.co_name)
        trace = trace.tb_next


def _root(owner: type | FunctionType) -> Path | None:
    """Returns the folder of a class's package, or of its file if that is in none."""
    module = sys.modules.get(owner.__module__)
    package = sys.modules.get((getattr(module, "__package__", None) or "").partition(".")[0])
    file = getattr(package, "__file__", None) or getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve().parent


def _inside(file: str, root: Path) -> bool:
    path = Path(file)
    if not path.is_absolute() or not path.is_relative_to(root):
        return False
    # A virtual environment may lie in the folder that the backend's file is in.
    return _INSTALLED.isdisjoint(path.relative_to(root).parts)


def _short(file: str, root: Path | None) -> str:
    """Writes a path as seen from the folder that its package, or the backend's file, is in."""
    path = Path(file)
    if root is not None and _inside(file, root):
        return str(path.relative_to(root.parent if (root / "__init__.py").is_file() else root))
    if path.is_absolute() and path.is_relative_to(_HARNESS):
        return str(path.relative_to(_HARNESS.parent))
    at = [n for n, part in enumerate(path.parts) if part in _INSTALLED]
    return str(Path(*path.parts[at[-1] + 1 :])) if at else path.name
