"""Mutants of SPEC.md, chapter 17: requantization and integer layers."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.integers.integer_layer import INTEGER_LAYERS
from quant_conformance.mutants.tables.integers.requantize import REQUANTIZATIONS

INTEGERS: tuple[Mutant, ...] = (*REQUANTIZATIONS, *INTEGER_LAYERS)
