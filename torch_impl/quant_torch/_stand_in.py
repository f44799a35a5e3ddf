"""Whether this package runs in the place of the one that scripts were written for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_depth = 0


def standing_in() -> bool:
    """Whether a script runs under :mod:`quant_torch.drop_in`, and expects its own placement."""
    return _depth > 0


@contextmanager
def stand_in_placement() -> Iterator[None]:
    """While inside, quantizers are where the replaced package has them (PLACE-13)."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
