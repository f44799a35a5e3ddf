"""Known bugs, to test the vectors and to explain what a backend gets wrong.

A mutant is a correct backend with one step exchanged. ``main`` asks every mutant the frozen cases:
one that survives shows a hole in the vectors. ``diagnosis`` uses the same table the other way
round, as hypotheses about a backend that is wrong.
"""

from __future__ import annotations

from quant_conformance.mutants.exchanged import Mutated
from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.pitfalls import PITFALLS
from quant_conformance.mutants.table import MUTANTS

__all__ = ["MUTANTS", "PITFALLS", "Mutant", "Mutated", "main"]


def main(families: tuple[str, ...] = (), tier: str = "full") -> int:
    """Hunts all mutants, prints who was caught by what, and returns 1 if one survived.

    Args:
        families: Families of vectors to ask; all if empty.
        tier: ``"quick"`` or ``"full"``.

    Raises:
        UsageError: A family or tier that does not exist.
    """
    from quant_conformance.mutants.report import report  # rich is optional

    return report(families, tier)
