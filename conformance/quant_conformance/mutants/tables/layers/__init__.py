"""Mutants of SPEC.md, chapter 15: admissible results of whole layers."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.layers.arithmetic import ARITHMETIC
from quant_conformance.mutants.tables.layers.operations import OPERATIONS

LAYERS: tuple[Mutant, ...] = (*ARITHMETIC, *OPERATIONS)
