"""Mutants of SPEC.md, chapter 12: observers."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.observers.folds import OBSERVERS
from quant_conformance.mutants.tables.observers.moving_averages import MOVING_AVERAGES

OBSERVE: tuple[Mutant, ...] = (*OBSERVERS, *MOVING_AVERAGES)
