"""Judges implementations of the quantization spec against the frozen vectors.

To be judged, subclass ``Backend`` and run ``quant-conformance run --backend file.py:Class``.
"""

from __future__ import annotations

from quant_conformance.protocol import Backend
from quant_conformance.verdicts.verdict import CaseResult, Verdict

__all__ = ["Backend", "CaseResult", "Verdict"]
