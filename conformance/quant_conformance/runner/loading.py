"""Finds a backend's class by registry name, ``module:Class`` or ``path/file.py:Class``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from quant_conformance.errors import UsageError, unknown
from quant_conformance.protocol import Backend, missing_packages, pip_line
from quant_conformance.registry import BACKENDS, PROGRAMS
from quant_conformance.runner.invoke import describe
from quant_conformance.runner.protocol_check import misnamed, mistakes, wrong_attributes
from quant_conformance.runner.tracebacks import place_of

Problem = Literal["usage", "unavailable", "crashed"]


@dataclass(frozen=True)
class Hello:
    """What a backend says of itself, or why it cannot be asked.

    Attributes:
        name: what reports call it.
        versions: package name to installed version.
        policies: the choices that it documents.
        patience: factor of the time limit per case.
        problem: None, or why no case can be asked.
        text: the problem for people.
        misnamed: what looks like a misspelt name of the protocol, one line each.
        strangers: these, and every other public method that is not in the protocol.
    """

    name: str
    versions: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)
    patience: float = 1.0
    problem: Problem | None = None
    text: str = ""
    misnamed: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()


def is_builtin(reference: str) -> bool:
    """Tells whether the reference names a backend of the suite's own table."""
    return reference in BACKENDS


def display_name(reference: str) -> str:
    """Returns a name for a backend that never came to say its own."""
    if is_program(reference):
        return reference
    return reference if is_builtin(reference) else reference.rpartition(":")[2]


def is_program(reference: str) -> bool:
    """Tells whether the reference is of a program or of a file of answers (``wire``)."""
    return _program_class(reference) is not None


def _program_class(reference: str) -> str | None:
    kind, slashes, _ = reference.partition("://")
    return PROGRAMS.get(kind.partition("+")[0]) if slashes else None


def check_reference(reference: str) -> None:
    """Raises UsageError unless the reference has one of the three forms."""
    where, colon, name = reference.rpartition(":")
    if is_builtin(reference) or is_program(reference):
        return
    if not colon:
        raise unknown("backend", reference, [*BACKENDS, "module:Class", "path/file.py:Class"])
    if not where or not name.isidentifier():
        raise UsageError(f"backend {reference!r} is neither module:Class nor path/file.py:Class")
    if where.endswith(".py") and not Path(where).is_file():
        raise UsageError(f"backend {reference!r}: there is no file {where}")


def load_class(reference: str) -> type[Backend]:
    """Imports the backend's module and returns its class.

    Raises:
        UsageError: the module or class does not exist, cannot be imported or is no Backend.
        ModuleNotFoundError: the backend's module imports a package that is missing.
    """
    check_reference(reference)
    program = _program_class(reference)
    if program is not None:
        place, _, factory = program.partition(":")
        made: type[Backend] = getattr(importlib.import_module(place), factory)(reference)
        return made
    where, _, name = BACKENDS.get(reference, reference).rpartition(":")
    try:
        module = _module_of_file(Path(where)) if where.endswith(".py") else _module_of_name(where)
    except (KeyboardInterrupt, UsageError, ModuleNotFoundError):
        raise
    except BaseException as error:  # whatever the module does
        text = f"{where} cannot be imported: {describe(error)}{_line_of(error)}"
        raise UsageError(text) from error
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [k for k, v in vars(module).items() if isinstance(v, type)]
        raise unknown(f"class in {where}", name, classes)
    if not issubclass(found, Backend):
        raise UsageError(f"{reference} is not a subclass of quant_conformance.Backend")
    return found


def load_object(reference: str, what: str) -> Any:
    """Imports what ``module:name`` or ``path/file.py:name`` names.

    Args:
        reference: where it is.
        what: what it is to be, for messages: "model", "data".

    Raises:
        UsageError: another form, or no such module, file or name.
    """
    where, colon, name = reference.rpartition(":")
    if not colon or not where or not name.isidentifier():
        raise UsageError(f"{what} {reference!r} is neither module:name nor path/file.py:name")
    if where.endswith(".py"):
        if not Path(where).is_file():
            raise UsageError(f"{what} {reference!r}: there is no file {where}")
        module = _module_of_file(Path(where))
    else:
        module = _module_of_name(where)
    if not hasattr(module, name):
        raise unknown(f"{what} in {where}", name, [k for k in vars(module) if k[0] != "_"])
    return getattr(module, name)


def _module_of_name(name: str) -> ModuleType:
    # A console script has its own folder on the path where "python -m" has the current one.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            raise UsageError(f"there is no module {missing!r} (asked for {name!r})") from error
        raise


def _module_of_file(path: Path) -> ModuleType:
    path = path.resolve()
    if str(path.parent) not in sys.path:  # so that the file can import its neighbours
        sys.path.insert(0, str(path.parent))
    name = f"_quant_backend_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    spec.loader.exec_module(module)
    return module


def open_backend(reference: str) -> tuple[Backend | None, Hello]:
    """Loads and constructs a backend; only KeyboardInterrupt escapes.

    Returns:
        The backend, or None with the problem in the second item.
    """
    name = display_name(reference)
    pip = ""
    cls: type[Backend] | None = None
    try:
        cls = load_class(reference)
        for line in wrong_attributes(cls, ("requires", "pip")):
            raise UsageError(f"{reference}: {line}")
        name = cls.name if cls.name and isinstance(cls.name, str) else name
        missing = missing_packages(cls)
        pip = pip_line(cls)
        if missing:
            return None, Hello(name, problem="unavailable", text=_missing(missing, pip))
        backend = cls()
        if not isinstance(backend, Backend):
            return None, Hello(name, problem="usage", text=f"{reference} makes no Backend")
        for line in mistakes(backend):
            raise UsageError(f"{reference}: {line}")
        versions = {str(k): str(v) for k, v in backend.versions().items()}
        policies = {str(k): str(v) for k, v in backend.policies.items()}
        patience = float(backend.patience)
        return backend, Hello(
            backend.name or name,
            versions,
            policies,
            patience,
            misnamed=() if is_program(reference) else tuple(misnamed(backend)),
            strangers=()
            if is_program(reference)
            else tuple(misnamed(backend, every=not is_builtin(reference))),
        )
    except KeyboardInterrupt:
        raise
    except UsageError as error:
        return None, Hello(name, problem="usage", text=str(error))
    except ModuleNotFoundError as error:
        text = _missing([error.name or str(error)], pip)
        return None, Hello(name, problem="unavailable", text=text)
    except ImportError as error:  # a package is there, but not all of it
        return None, Hello(name, problem="unavailable", text=_partly_missing(error, pip))
    except BaseException as error:  # a verdict on every case, whatever it is
        text = f"cannot be opened: {describe(error)}"
        place = None if cls is None else place_of(error, cls)
        return None, Hello(name, problem="crashed", text=f"{text} ({place})" if place else text)


def _missing(packages: list[str], pip: str) -> str:
    line = pip if pip and pip != "pip install " else f"pip install {' '.join(packages)}"
    return f"{', '.join(packages)} not installed; install with: {line}"


def _partly_missing(error: ImportError, pip: str) -> str:
    known = bool(pip) and pip != "pip install "
    return f"cannot be opened: {describe(error)}" + (f"; install with: {pip}" if known else "")


def _line_of(error: BaseException) -> str:
    """Says in which line the innermost call of an exception is; a SyntaxError says it itself."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not frames:
        return ""
    return f" ({frames[-1].filename}, line {frames[-1].lineno})"
