"""What a backend prints while it is asked."""

from __future__ import annotations

import io
import os
from contextlib import suppress

LONGEST = 1 << 15
"""Characters that are kept: the last ones."""


class Captured(io.TextIOBase):
    """Stands in for standard output and standard error, and keeps the end of what they get.

    Args:
        forward: file descriptor that gets the text too, or None.
    """

    def __init__(self, forward: int | None = None) -> None:
        super().__init__()
        self._forward = forward
        self._parts: list[str] = []
        self._size = 0

    @property
    def text(self) -> str:
        """The end of what was written."""
        return "".join(self._parts)[-LONGEST:]

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def write(self, text: str) -> int:
        """Takes text down."""
        if self._forward is not None:
            self._send(text.encode("utf-8", "backslashreplace"))
            return len(text)
        self._parts.append(text)
        self._size += len(text)
        if self._size > 2 * LONGEST:
            self._parts = [self.text]
            self._size = len(self._parts[0])
        return len(text)

    def close(self) -> None:
        """Stays open: a backend that closes its output may be asked again."""

    def _send(self, data: bytes) -> None:
        with suppress(OSError):  # whoever listened is gone; that is no fault of the backend's
            while data:
                data = data[os.write(self._forward or 0, data) :]
