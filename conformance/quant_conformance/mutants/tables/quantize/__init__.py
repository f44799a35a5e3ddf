"""Mutants of SPEC.md, chapter 8: quantize."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.quantize.clamps import CLAMPS
from quant_conformance.mutants.tables.quantize.division import DIVISION
from quant_conformance.mutants.tables.quantize.offsets import OFFSETS
from quant_conformance.mutants.tables.quantize.refusals import REFUSALS
from quant_conformance.mutants.tables.quantize.rounding import ROUNDING
from quant_conformance.mutants.tables.quantize.stored import STORED

QUANTIZE: tuple[Mutant, ...] = (*ROUNDING, *DIVISION, *OFFSETS, *CLAMPS, *STORED, *REFUSALS)
