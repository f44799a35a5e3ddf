"""Which known bug explains what a backend gets wrong.

Every mutant is a hypothesis: it is asked what the backend was asked, and its answers are laid
beside the backend's wrong ones.
"""

from __future__ import annotations

from quant_conformance.diagnosis.diagnose import Explanation, diagnose, sentence
from quant_conformance.diagnosis.evidence import Mismatch, mismatch_of

__all__ = ["Explanation", "Mismatch", "diagnose", "mismatch_of", "sentence"]
