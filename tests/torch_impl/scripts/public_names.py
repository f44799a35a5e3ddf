"""The public names of a package, by introspection: modules, what they define, and class members."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from enum import Enum
from types import ModuleType

import torch
from pydantic import BaseModel

INHERITED = {
    name for base in (torch.nn.Module, BaseModel, str, Enum, BaseException) for name in dir(base)
}
"""Members that come from a framework and not from the package."""


def modules_of(package: str) -> list[str]:
    """Public modules of a package, relative to it; the package itself is the empty string."""
    root = importlib.import_module(package)
    names = [""]
    for info in pkgutil.walk_packages(root.__path__, f"{package}."):
        relative = info.name.removeprefix(f"{package}.")
        if not any(part.startswith("_") for part in relative.split(".")):
            names.append(relative)
    return names


def names_of(module: ModuleType) -> list[str]:
    """What a module declares public, else the public classes and functions that it defines."""
    declared = getattr(module, "__all__", None)
    if declared is not None:
        return sorted(name for name in declared if not name.startswith("_"))
    return sorted(
        name
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and not name.startswith("_")
        and "[" not in name  # pydantic's parametrized generics
        and value.__module__ == module.__name__
    )


def members_of(owner: type) -> Iterator[str]:
    """Public members of a class, fields of its config included."""
    fields = getattr(owner, "model_fields", {})
    for name in {*dir(owner), *fields}:
        if not name.startswith("_") and (name in fields or name not in INHERITED):
            yield name
