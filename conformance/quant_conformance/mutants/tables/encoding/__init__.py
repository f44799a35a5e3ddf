"""Mutants of SPEC.md, chapter 2: encoding and decoding."""

from __future__ import annotations

from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.tables.encoding.decoding import DECODING
from quant_conformance.mutants.tables.encoding.elements import ENCODING
from quant_conformance.mutants.tables.encoding.overflow import OVERFLOW

ENCODE: tuple[Mutant, ...] = (*ENCODING, *OVERFLOW, *DECODING)
