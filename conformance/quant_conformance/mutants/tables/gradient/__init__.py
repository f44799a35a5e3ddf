"""Mutants of SPEC.md, chapter 11: the gradient."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.gradient.inside import GRADIENTS
from quant_conformance.mutants.tables.gradient.passing import PASSING

GRADIENT: tuple[Mutant, ...] = (*GRADIENTS, *PASSING)
