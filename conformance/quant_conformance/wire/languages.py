"""Starting points of backends in other languages: skeletons, and examples that are exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from quant_conformance.errors import UsageError, unknown


@dataclass(frozen=True)
class Language:
    """How a backend in a language begins.

    Attributes:
        files: name in the new folder to the template.
        example: name in the new folder and the template of the worked example.
        build: the command that compiles it, or nothing.
        run: the command of the backend.
    """

    files: Mapping[str, str]
    example: tuple[str, str]
    build: str
    run: str


LANGUAGES: Final[Mapping[str, Language]] = {
    "c": Language(
        {"wire.h": "c/wire.h", "backend.c": "c/backend.c"},
        ("backend.c", "c/example.c"),
        "cc -std=c99 -O2 -ffp-contract=off -o my-backend backend.c -lm",
        "./my-backend",
    ),
    "cpp": Language(
        {"wire.h": "c/wire.h", "backend.cpp": "c/backend.c"},
        ("backend.cpp", "cpp/example.cpp"),
        "c++ -std=c++17 -O2 -ffp-contract=off -o my-backend backend.cpp",
        "./my-backend",
    ),
    "node": Language(
        {"wire.mjs": "node/wire.mjs", "backend.mjs": "node/backend.mjs"},
        ("backend.mjs", "node/example.mjs"),
        "",
        "node backend.mjs",
    ),
    "python": Language(
        {"wire.py": "python/wire.py", "backend.py": "python/backend.py"},
        ("backend.py", "python/example.py"),
        "",
        "python3 backend.py",
    ),
    "rust": Language(
        {"wire.rs": "rust/wire.rs", "backend.rs": "rust/backend.rs"},
        ("backend.rs", "rust/example.rs"),
        "rustc --edition 2021 -O -o my-backend backend.rs",
        "./my-backend",
    ),
}


def write_backend(out: Path, name: str, *, example: bool = False) -> list[str]:
    """Writes the files of a new backend into a folder.

    Args:
        out: the folder; it is made.
        name: a key of ``LANGUAGES``.
        example: the worked example in the place of the stubs.

    Returns:
        The names of what was written.

    Raises:
        UsageError: another language, or a file that is there already.
    """
    if name not in LANGUAGES:
        raise unknown("language", name, LANGUAGES)
    language = LANGUAGES[name]
    chosen = dict(language.files)
    if example:
        chosen[language.example[0]] = language.example[1]
    taken = [entry for entry in chosen if (out / entry).exists()]
    if taken:
        raise UsageError(f"{out} has {', '.join(taken)} already; name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    root = files("quant_conformance.wire").joinpath("templates")
    for entry, template in chosen.items():
        (out / entry).write_bytes(root.joinpath(*template.split("/")).read_bytes())
    return list(chosen)
