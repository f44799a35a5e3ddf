"""Turns every trick of this package off, so that tests compare them with the plain formulas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class _Switch:
    """Whether the tricks are used, in every thread of the process."""

    on = True


SWITCH = _Switch()


@contextmanager
def switched_off() -> Iterator[None]:
    """Only the plain formulas inside."""
    before, SWITCH.on = SWITCH.on, False
    try:
        yield
    finally:
        SWITCH.on = before
