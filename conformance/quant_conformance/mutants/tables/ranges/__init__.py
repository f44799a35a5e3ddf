"""Mutants of SPEC.md, chapter 6: ranges."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.ranges.bounds import RANGE_BUGS
from quant_conformance.mutants.tables.ranges.special import SPECIAL_RANGES

RANGES: tuple[Mutant, ...] = (*RANGE_BUGS, *SPECIAL_RANGES)
