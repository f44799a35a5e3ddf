"""Run a script written for ``coreai_opt`` with this package in its place.

``python -m quant_torch.drop_in SCRIPT [ARGS]`` runs a script unchanged in a process where the name
``coreai_opt``, and every module below it, means ``quant_torch``. From Python::

    from quant_torch.drop_in import run

    names = run("quantize_my_model.py", ["--epochs", "3"])
"""

from __future__ import annotations

import importlib
import importlib.util
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from quant_torch._stand_in import stand_in_placement

REPLACED = "coreai_opt"
PACKAGE = "quant_torch"

_USAGE = f"usage: python -m {PACKAGE}.drop_in SCRIPT [ARGS]"


class _SameModule(Loader):
    """Loads a module as the very module of this package that stands in for it."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has just set the alias's


class _Finder(MetaPathFinder):
    """Finds ``coreai_opt.x`` as ``quant_torch.x``: one module, one set of classes."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != REPLACED and not fullname.startswith(f"{REPLACED}."):
            return None
        if fullname == REPLACED:
            importlib.import_module(f"{PACKAGE}.quantization")  # the original loads it, too
        own = PACKAGE + fullname.removeprefix(REPLACED)
        if importlib.util.find_spec(own) is None:
            raise ModuleNotFoundError(
                f"{PACKAGE}, which stands in for {REPLACED} here, has no module {own}",
                name=fullname,
            )
        return ModuleSpec(fullname, _SameModule(importlib.import_module(own)))


@contextmanager
def stand_in() -> Iterator[None]:
    """While inside, ``import coreai_opt`` and imports below it give this package's modules.

    Models that are prepared inside have their quantizers where that package has them (PLACE-13).
    Afterwards the name means what it meant before. Modules that imported it inside keep what they
    got.
    """
    finder = _Finder()
    before = _take_out()
    sys.meta_path.insert(0, finder)
    try:
        with stand_in_placement():
            yield
    finally:
        sys.meta_path.remove(finder)
        _take_out()
        sys.modules.update(before)


def run(script: str | Path, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Run a script as ``python SCRIPT ARGS`` would, with this package as ``coreai_opt``.

    ``sys.argv`` and ``sys.path`` are the script's while it runs, and restored afterwards.

    Args:
        script: Path of a Python file.
        arguments: What the script finds in ``sys.argv[1:]``.

    Returns:
        The script's global names.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = Path(script)
    if not path.is_file():
        raise FileNotFoundError(f"no script at {str(script)!r}")
    argv, search = sys.argv, sys.path
    sys.argv = [str(script), *arguments]
    sys.path = [str(path.resolve().parent), *search]
    try:
        with stand_in():
            return runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv, sys.path = argv, search


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with 2 if it is misused."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in ("-h", "--help"):
        print(f"{_USAGE}\n\nRuns SCRIPT in a process where {REPLACED} means {PACKAGE}.")
        return
    if not given or given[0].startswith("-"):
        why = f"unknown option {given[0]!r}" if given else "no script given"
        print(f"{_USAGE}\n{why}", file=sys.stderr)
        raise SystemExit(2)
    if not Path(given[0]).is_file():
        print(f"{_USAGE}\nno script at {given[0]!r}", file=sys.stderr)
        raise SystemExit(2)
    run(given[0], given[1:])


def _take_out() -> dict[str, ModuleType]:
    """Remove the replaced package's modules from the import system and return them."""
    names = [n for n in sys.modules if n == REPLACED or n.startswith(f"{REPLACED}.")]
    return {name: sys.modules.pop(name) for name in names}


if __name__ == "__main__":
    main()
