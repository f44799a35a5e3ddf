"""The formats by name, and the reading of files that nobody vouches for."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from quant_conformance.wire.model import LONGEST_FILE, Contents, Format
from quant_conformance.wire.npz import Npz
from quant_conformance.wire.raw import Raw
from quant_conformance.wire.safetensors import Safetensors

FORMATS: Final[Mapping[str, Format]] = {
    "safetensors": Safetensors(),
    "npz": Npz(),
    "raw": Raw(),
}
"""Name of a format to what reads and writes it."""


def read_file(path: Path, fmt: Format) -> Contents:
    """Reads a file of records that may be anything: a link, a device, a terabyte.

    A file that is not there holds no records and has no fault.
    """
    try:
        # Not blocking: a named pipe that nobody writes to would be waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Contents()
    except OSError as error:
        if path.is_symlink():
            return Contents(fault="is a symbolic link, which is not followed")
        return Contents(fault=f"cannot be opened: {error.strerror}")
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        return Contents(fault="is no regular file")
    with open(handle, "rb") as file:
        if found.st_nlink > 1:
            return Contents(fault="has a second name elsewhere (a hard link)")
        if found.st_size > LONGEST_FILE:
            return Contents(fault=f"has {found.st_size} bytes, more than {LONGEST_FILE}")
        return fmt.read(file.read(LONGEST_FILE))
