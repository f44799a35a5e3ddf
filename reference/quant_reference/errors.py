"""The exceptions of the reference: what was given, what is allowed, and which clause says so."""

from __future__ import annotations


class QuantError(ValueError):
    """Base of every error that the reference raises on bad input (CONV-8).

    Attributes:
        what: One sentence naming the problem.
        given: The offending value, as text.
        allowed: What would have been accepted, as text.
        clause: Identifier of the SPEC.md clause that decides it, for example ``"GRAN-6"``.
    """

    def __init__(self, what: str, *, given: object, allowed: str, clause: str) -> None:
        self.what = what
        self.given = _shortened(given)
        self.allowed = allowed
        self.clause = clause
        super().__init__(f"{what}: given {self.given}; allowed: {allowed} [{clause}]")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by keyword, so that the error survives the way out of a child process."""
        return _rebuild, (type(self), self.what, self.given, self.allowed, self.clause)


class FormatError(QuantError):
    """An unknown format, or a value that the format cannot hold."""


class SpecError(QuantError):
    """A quantization spec that the rules refuse."""


class GranularityError(QuantError):
    """A granularity that does not fit the tensor, or a module kind without a default axis."""


class InputError(QuantError):
    """An array whose dtype, rank, shape or contents an operation does not accept."""


class UnknownOperationError(QuantError):
    """An operation that admissible results are not defined for."""


def _shortened(given: object) -> str:
    text = given if isinstance(given, str) else repr(given)
    return text if len(text) <= 200 else text[:197] + "..."


def _rebuild(cls: type[QuantError], what: str, given: str, allowed: str, clause: str) -> QuantError:
    return cls(what, given=given, allowed=allowed, clause=clause)
