"""Mutants of SPEC.md, chapter 5: granularity."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.granularity.blocks import BLOCKS
from quant_conformance.mutants.tables.granularity.layouts import LAYOUTS
from quant_conformance.mutants.tables.granularity.misfits import MISFITS
from quant_conformance.mutants.tables.granularity.shared_bytes import SHARED_BYTES

GRANULARITY: tuple[Mutant, ...] = (*BLOCKS, *MISFITS, *LAYOUTS, *SHARED_BYTES)
