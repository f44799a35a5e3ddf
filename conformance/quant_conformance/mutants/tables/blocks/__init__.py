"""Mutants of small formats and of block-scaled tensors (SPEC.md, FMT-5 to FMT-8 and BLK)."""

from quant_conformance.mutants.tables.blocks.elements import BLOCK_ELEMENTS
from quant_conformance.mutants.tables.blocks.formats import SMALL_FORMATS
from quant_conformance.mutants.tables.blocks.scales import BLOCK_SCALES

BLOCKS = (*SMALL_FORMATS, *BLOCK_SCALES, *BLOCK_ELEMENTS)
