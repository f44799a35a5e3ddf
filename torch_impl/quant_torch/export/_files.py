"""Model folders appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def check_target(path: str | os.PathLike[str], suffix: str, overwrite: bool) -> Path:
    """The target as a path, before any work is done.

    Args:
        path: Where the model is to be written.
        suffix: What its name has to end in.
        overwrite: Whether something there may be replaced.

    Raises:
        ValueError: Another ending.
        FileExistsError: Something is there already.
        FileNotFoundError: The folder around it does not exist.
    """
    target = Path(path)
    if target.suffix != suffix:
        raise ValueError(f"the path must end in {suffix}, given {target}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent} to write {target.name} to")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it")
    return target


def write_whole(target: Path, write: Callable[[Path], object]) -> Path:
    """Write to a temporary folder beside the target, then move it there.

    Args:
        target: The final path; what is there is replaced.
        write: Writes to the path it is given.

    Returns:
        The target.
    """
    workspace = Path(tempfile.mkdtemp(prefix=f".{target.stem}.", dir=target.parent))
    try:
        made = workspace / target.name
        write(made)
        if target.exists():
            target.rename(workspace / f"replaced{target.suffix}")
        made.rename(target)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    return target
