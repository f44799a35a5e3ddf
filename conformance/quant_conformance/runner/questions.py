"""What an executor is given and what it offers, wherever the backend runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from quant_conformance.protocol import Array
from quant_conformance.verdicts.outcome import Outcome
from quant_vectors import Case

if TYPE_CHECKING:
    from quant_conformance.runner.loading import Hello

Question = tuple[Case, dict[str, Array]]
"""A case and its input tensors; the expected answer stays with the judge."""

READY = "ready"
"""What a child process says once its backend knows what will be asked."""


@dataclass(frozen=True)
class Limits:
    """How long a backend may take, and what is asked of it.

    Attributes:
        timeout: seconds for one case; only a backend in its own process can be held to it.
        start_timeout: seconds to import and construct, and again for ``Backend.prepare``.
        tier: "quick" or "full", handed to ``Backend.selects``.
    """

    timeout: float = 10.0
    start_timeout: float = 120.0
    tier: str = "full"


class Executor(Protocol):
    """Runs questions on one backend."""

    hello: Hello

    @property
    def printed(self) -> str:
        """The end of what the backend has printed so far; all of it once it is closed."""
        ...

    def run(self, indices: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
        """Asks the questions at ``indices`` in this order and yields (index, outcome)."""
        ...

    def cancel(self) -> None:
        """Makes ``run`` end early; may be called from another thread."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
