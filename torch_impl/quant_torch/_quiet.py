"""Deprecation warnings of torch about calls that users did not write and cannot change."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_OF_TORCH = (
    (FutureWarning, r"`isinstance\(treespec, LeafSpec\)` is deprecated"),  # copies of graphs
    (DeprecationWarning, r"`torch\.jit\.\w+` is deprecated"),
)


@contextmanager
def torch_deprecations_hidden() -> Iterator[None]:
    """Hide them inside; every other warning is shown."""
    with warnings.catch_warnings():
        for category, message in _OF_TORCH:
            warnings.filterwarnings("ignore", message, category)
        yield
