"""Writes files so that a reader never sees half of one, and says so in a line where it cannot."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quant_conformance.errors import UsageError

Report = tuple[Path | None, Callable[[], str]]
"""Where a report goes, None for nowhere, and what makes its text."""


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text to a temporary file beside ``path`` and renames it.

    What is there and is no regular file, such as ``/dev/stdout`` or a named pipe, is written to
    instead; of a symbolic link, the file that it points to is replaced.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    target = path.resolve() if path.is_symlink() else path
    if target.is_dir():
        raise IsADirectoryError(21, "Is a directory", str(path))
    # A name of its own: that of the file may be as long as names can be already.
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".quant-", suffix=".tmp")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's own mode is for secrets
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def check_reports(paths: Iterable[Path | None]) -> None:
    """Refuses, before the work, reports that certainly cannot be written after it.

    Raises:
        UsageError: there is no such folder, it cannot be written to, a folder is in the file's
            place, or two reports have the same file.
    """
    seen = set[Path]()
    for path in paths:
        if path is None:
            continue
        folder = path.resolve().parent if path.is_symlink() else path.absolute().parent
        if not folder.is_dir():
            raise UsageError(f"cannot write {path}: there is no folder {path.parent}")
        if path.is_dir():
            raise UsageError(f"cannot write {path}: it is a folder; name a file")
        if path.exists() and not path.is_file():
            continue  # a device or a pipe takes several
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"cannot write {path}: no permission to write in {folder}")
        if path.resolve() in seen:
            raise UsageError(f"cannot write two reports to {path}; name a file for each")
        seen.add(path.resolve())


def write_reports(reports: Iterable[Report]) -> bool:
    """Writes reports, each whatever became of the others; a line on stderr for one that fails.

    Returns:
        Whether all of them were written.
    """
    written = True
    for path, make in reports:
        if path is None:
            continue
        try:
            with told(path):
                write_text(path, make())
        except UsageError as error:
            print(f"quant-conformance: {error}", file=sys.stderr)
            written = False
    return written


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns an error of the file system into one line.

    Raises:
        UsageError: the file or folder could not be written.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
