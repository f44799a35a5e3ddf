"""What a mutant is, and how it becomes a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, Step, patched
from quant_conformance.protocol import Array

Selector = Callable[[Array], Array]
"""From the tensor that a method gets first to a mask of the elements at which the bug bites."""

ELEMENTWISE = ("encode", "decode", "quantize", "dequantize", "fake_quantize", "gradient")
"""Methods whose answer has one element for each of their first argument."""


@dataclass(frozen=True)
class Mutant:
    """A known bug: a correct backend with some of its steps exchanged.

    Attributes:
        id: Short name, also that of the hypothesis in a diagnosis.
        bug: What it does wrong, as the rest of the sentence "the backend …".
        clauses: Clauses of SPEC.md that it breaks.
        families: Families of vectors in each of which it must be caught.
        steps: Name of a step -> what is in its place; called with the backend first.
        pitfall: Key of the row in ``PITFALLS`` that tells where it was seen, or empty.
        where: Limits the bug to some elements, or None.
    """

    id: str
    bug: str
    clauses: tuple[str, ...]
    families: tuple[str, ...]
    steps: Mapping[str, Step]
    pitfall: str = ""
    where: Selector | None = None

    def backend(self) -> Mutated:
        """A backend that has the bug."""
        wrong = patched(name=self.id, **self.steps)
        return wrong if self.where is None else _limited(wrong, self.where)


def known(
    id: str,
    bug: str,
    clauses: str,
    families: tuple[str, ...],
    *,
    pitfall: str = "",
    where: Selector | None = None,
    **steps: Step,
) -> Mutant:
    """A row of a table of mutants.

    Args:
        id: As in :class:`Mutant`.
        bug: As in :class:`Mutant`.
        clauses: Clause ids, separated by spaces.
        families: As in :class:`Mutant`.
        pitfall: As in :class:`Mutant`.
        where: As in :class:`Mutant`.
        **steps: The exchanged steps.
    """
    return Mutant(id, bug, tuple(clauses.split()), families, steps, pitfall, where)


def _limited(wrong: Mutated, where: Selector) -> Mutated:
    right = Mutated()

    def mixed(method: str) -> Step:
        def call(_: Mutated, tensor: Array, *rest: Any) -> Array:
            of_wrong: Array = getattr(wrong, method)(tensor, *rest)
            of_right: Array = getattr(right, method)(tensor, *rest)
            return np.where(where(tensor), of_wrong, of_right)

        return call

    return patched(name=wrong.name, **{method: mixed(method) for method in ELEMENTWISE})
