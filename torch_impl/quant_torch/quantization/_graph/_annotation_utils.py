"""Chains of operations as the classes of the pattern registry write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OpsListPattern:
    """Operations that follow one another, each the only reader of the one before.

    Attributes:
        ops: Torch functions, operators, or names of operations.
    """

    ops: Sequence[str | Callable[..., Any]]
