"""Mutants of SPEC.md, chapter 7: qparams."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.qparams.e8m0 import E8M0
from quant_conformance.mutants.tables.qparams.least_scales import LEAST_SCALES
from quant_conformance.mutants.tables.qparams.scales import SCALE_BUGS
from quant_conformance.mutants.tables.qparams.zero_points import ZERO_POINTS

QPARAMS: tuple[Mutant, ...] = (*SCALE_BUGS, *LEAST_SCALES, *ZERO_POINTS, *E8M0)
