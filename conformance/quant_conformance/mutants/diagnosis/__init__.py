"""Which known bug explains what a backend gets wrong.

Every mutant is a hypothesis: it is asked what the backend was asked, and its answers are laid
beside the backend's.
"""

from __future__ import annotations

from quant_conformance.mutants.diagnosis.diagnose import Explanation, diagnose, sentence
from quant_conformance.mutants.diagnosis.hypothesis import matched

__all__ = ["Explanation", "diagnose", "matched", "sentence"]
