"""Makers of steps that several tables use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import Mutant, Selector, known
from quant_conformance.protocol import Array
from quant_reference import QuantizationSpec
from quant_reference.observers import Range

Plain = dict[str, Any]
"""A spec as a backend reads it."""


def range_after_zero(change: Callable[[Array, Array], Any]) -> Step:
    """Makes ``with_zero``: changes (lo, hi) after zero was put into the range."""

    def with_zero(p: Mutated, lo: Array, hi: Array) -> Range:
        low, high = change(*p.right.with_zero(lo, hi))
        return np.asarray(low).astype(lo.dtype), np.asarray(high).astype(hi.dtype)

    return with_zero


def least(change: Callable[[Array], Any]) -> Step:
    """Makes ``least_scale``: ``change(scale)``."""
    return lambda p, scale: np.asarray(change(scale)).astype(np.float32)


def zero_point_codes(formula: Callable[..., Any]) -> Step:
    """Makes ``unclamped_codes``: another ``formula(p, x, scale, zero point)`` for Q-3."""

    def unclamped_codes(p: Mutated, x: Array, spec: QuantizationSpec, scale: Array, by: Any) -> Any:
        if not spec.format.is_integer or spec.qformulation == "minval":
            return p.right.unclamped_codes(x, spec, scale, by)
        return formula(p, x, scale, by)

    return unclamped_codes


def minval_codes(formula: Callable[..., Any]) -> Step:
    """Makes ``unclamped_codes``: another ``formula(p, x, scale, minval, quant_min)`` for Q-4."""

    def unclamped_codes(p: Mutated, x: Array, spec: QuantizationSpec, scale: Array, by: Any) -> Any:
        if not spec.format.is_integer or spec.qformulation != "minval":
            return p.right.unclamped_codes(x, spec, scale, by)
        return formula(p, x, scale, by, np.float32(spec.quant_min))

    return unclamped_codes


def scale_read(change: Callable[[Array], Any]) -> Step:
    """Makes ``checked_params``: what the arithmetic sees of a scale."""

    def checked_params(p: Mutated, *arguments: Any) -> tuple[Array, Any]:
        scale, offset = p.right.checked_params(*arguments)
        return np.asarray(change(scale)), offset

    return checked_params


def folding(kind: str, formula: Callable[..., Any]) -> Step:
    """Makes ``fold``: another ``formula(p, old, new)`` for observers of one kind."""

    def fold(p: Mutated, of: str, old: Range, new: Range, *rest: Any) -> Range:
        changed: Range = formula(p, old, new) if of == kind else p.right.fold(of, old, new, *rest)
        return changed

    return fold


def reading(change: Callable[[Plain], Plain]) -> Step:
    """Makes ``tolerated``: what the spec is read as."""
    return lambda p, mapping: change(mapping)


def is_number(bound: Any) -> bool:
    """Tells whether a bound of float_range is a number."""
    return isinstance(bound, int | float) and not isinstance(bound, bool)


@dataclass(frozen=True)
class Place:
    """A step that mistakes are made in; calling it gives a row for one of them.

    Attributes:
        step: The step.
        clauses: Clauses of its rows that name no others.
        families: Families of its rows that name no others.
        operands: How many of the step's arguments a mistake is a function of.
    """

    step: str
    clauses: str
    families: tuple[str, ...]
    operands: int = 1

    def __call__(
        self,
        id: str,
        bug: str,
        mistake: Callable[..., Any],
        *,
        clauses: str = "",
        families: tuple[str, ...] = (),
        pitfall: str = "",
        where: Selector | None = None,
    ) -> Mutant:
        """A row: the step by the function ``mistake``; the rest is as in ``known``."""
        step = {self.step: lambda p, *given: mistake(*given[: self.operands])}
        return known(
            id,
            bug,
            clauses or self.clauses,
            families or self.families,
            pitfall=pitfall,
            where=where,
            **step,
        )
