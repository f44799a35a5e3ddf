"""What the gate cannot judge, and why."""

from __future__ import annotations

from quant_conformance.errors import ConformanceError


class GateError(ConformanceError):
    """A model, config, data or file that cannot be judged; the text says what is missing."""


class UnreadableProgramError(GateError):
    """A file whose program has a form that the gate does not know."""
