"""A backend that is asked by the case, and that another language or machine may be behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from quant_conformance.protocol import Array, Backend

if TYPE_CHECKING:
    from quant_conformance.verdicts.outcome import Outcome
    from quant_vectors import Case


class CaseBackend(Backend):
    """Base of the backends that hand a case on as it is, whatever its operation."""

    def ask(self, case: Case, tensors: Mapping[str, Array]) -> Outcome:
        """Returns what came of asking a case.

        Args:
            case: the case; its answer is not for the system.
            tensors: its inputs.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Ends whatever was started; called once, after the last case."""
