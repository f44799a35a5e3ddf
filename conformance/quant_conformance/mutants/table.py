"""All mutants, in the order of SPEC.md."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.blocks import BLOCKS
from quant_conformance.mutants.tables.clamps import CLAMPS
from quant_conformance.mutants.tables.decoding import DECODING
from quant_conformance.mutants.tables.division import DIVISION
from quant_conformance.mutants.tables.e8m0 import E8M0
from quant_conformance.mutants.tables.encoding import ENCODING
from quant_conformance.mutants.tables.exports import EXPORTS
from quant_conformance.mutants.tables.fakes import FAKES
from quant_conformance.mutants.tables.float_ranges import FLOAT_RANGES
from quant_conformance.mutants.tables.formats import FORMAT_BUGS
from quant_conformance.mutants.tables.gradients import GRADIENTS
from quant_conformance.mutants.tables.illegal_specs import ILLEGAL_SPECS
from quant_conformance.mutants.tables.layers import LAYERS
from quant_conformance.mutants.tables.layouts import LAYOUTS
from quant_conformance.mutants.tables.least_scales import LEAST_SCALES
from quant_conformance.mutants.tables.legal_specs import LEGAL_SPECS
from quant_conformance.mutants.tables.lifecycles import LIFECYCLES
from quant_conformance.mutants.tables.misfits import MISFITS
from quant_conformance.mutants.tables.moving_averages import MOVING_AVERAGES
from quant_conformance.mutants.tables.observers import OBSERVERS
from quant_conformance.mutants.tables.offsets import OFFSETS
from quant_conformance.mutants.tables.overflow import OVERFLOW
from quant_conformance.mutants.tables.packing import PACKING
from quant_conformance.mutants.tables.passing import PASSING
from quant_conformance.mutants.tables.placements import PLACEMENTS
from quant_conformance.mutants.tables.ranges import RANGE_BUGS
from quant_conformance.mutants.tables.refusals import REFUSALS
from quant_conformance.mutants.tables.rounding import ROUNDING
from quant_conformance.mutants.tables.scales import SCALE_BUGS
from quant_conformance.mutants.tables.shared_bytes import SHARED_BYTES
from quant_conformance.mutants.tables.special_ranges import SPECIAL_RANGES
from quant_conformance.mutants.tables.stored import STORED
from quant_conformance.mutants.tables.systems import SYSTEMS
from quant_conformance.mutants.tables.values import VALUE_BUGS
from quant_conformance.mutants.tables.zero_points import ZERO_POINTS

MUTANTS: tuple[Mutant, ...] = (
    *ENCODING,
    *OVERFLOW,
    *FORMAT_BUGS,
    *PACKING,
    *ILLEGAL_SPECS,
    *FLOAT_RANGES,
    *LEGAL_SPECS,
    *BLOCKS,
    *MISFITS,
    *LAYOUTS,
    *SHARED_BYTES,
    *RANGE_BUGS,
    *SPECIAL_RANGES,
    *SCALE_BUGS,
    *LEAST_SCALES,
    *ZERO_POINTS,
    *E8M0,
    *ROUNDING,
    *DIVISION,
    *OFFSETS,
    *CLAMPS,
    *STORED,
    *REFUSALS,
    *DECODING,
    *VALUE_BUGS,
    *FAKES,
    *GRADIENTS,
    *PASSING,
    *OBSERVERS,
    *MOVING_AVERAGES,
    *PLACEMENTS,
    *LIFECYCLES,
    *EXPORTS,
    *LAYERS,
    *SYSTEMS,
)
