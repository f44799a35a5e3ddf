"""Closest valid names for error messages and warnings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: object, valid: Iterable[str], count: int = 1) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest valid names, or an empty string."""
    near = difflib.get_close_matches(str(name), list(valid), n=count)
    return f" (did you mean {' or '.join(repr(n) for n in near)}?)" if near else ""
