"""Mutants of SPEC.md, chapter 4: the quantization spec."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.specs.float_ranges import FLOAT_RANGES
from quant_conformance.mutants.tables.specs.illegal import ILLEGAL_SPECS
from quant_conformance.mutants.tables.specs.legal import LEGAL_SPECS

SPECS: tuple[Mutant, ...] = (*ILLEGAL_SPECS, *FLOAT_RANGES, *LEGAL_SPECS)
