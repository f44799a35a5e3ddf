"""All mutants, by chapter of SPEC.md."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.blocks import BLOCKS
from quant_conformance.mutants.tables.dequantize import VALUE_BUGS
from quant_conformance.mutants.tables.encoding import ENCODE
from quant_conformance.mutants.tables.exports import EXPORTS
from quant_conformance.mutants.tables.fake_quantize import FAKES
from quant_conformance.mutants.tables.formats import FORMAT_BUGS
from quant_conformance.mutants.tables.gradient import GRADIENT
from quant_conformance.mutants.tables.granularity import GRANULARITY
from quant_conformance.mutants.tables.integers import INTEGERS
from quant_conformance.mutants.tables.layers import LAYERS
from quant_conformance.mutants.tables.lifecycle import LIFECYCLES
from quant_conformance.mutants.tables.observers import OBSERVE
from quant_conformance.mutants.tables.packing import PACKING
from quant_conformance.mutants.tables.placement import PLACEMENTS
from quant_conformance.mutants.tables.qparams import QPARAMS
from quant_conformance.mutants.tables.quantize import QUANTIZE
from quant_conformance.mutants.tables.ranges import RANGES
from quant_conformance.mutants.tables.specs import SPECS
from quant_conformance.mutants.tables.systems import SYSTEMS

MUTANTS: tuple[Mutant, ...] = (
    *FORMAT_BUGS,  # 1
    *ENCODE,  # 2
    *PACKING,  # 3
    *SPECS,  # 4
    *GRANULARITY,  # 5
    *RANGES,  # 6
    *QPARAMS,  # 7
    *QUANTIZE,  # 8
    *VALUE_BUGS,  # 9
    *FAKES,  # 10
    *GRADIENT,  # 11
    *OBSERVE,  # 12
    *PLACEMENTS,  # 14
    *LAYERS,  # 15
    *LIFECYCLES,  # 13 and 16
    *INTEGERS,  # 17
    *BLOCKS,  # 18, and formats that no spec names
    # Of several chapters: exported weights, and what judged systems get wrong.
    *EXPORTS,
    *SYSTEMS,
)
