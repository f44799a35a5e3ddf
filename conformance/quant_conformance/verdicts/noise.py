"""Signal to noise: how far an answer is from the right one, as one number."""

from __future__ import annotations

import math

import numpy as np

from quant_conformance.protocol import Array

NOT_FINITE = -999.0
"""Stands for the ratio of what is not finite, which JSON has no number for."""


def sqnr(given: Array, wanted: Array) -> float | None:
    """Signal to quantization-noise ratio in dB; None where nothing differs, see NOT_FINITE."""
    a, b = given.astype(np.float64), wanted.astype(np.float64)
    noise = float(np.sum((a - b) ** 2))
    if noise == 0:
        return None
    if not math.isfinite(noise):
        return NOT_FINITE
    return 10 * math.log10(max(float(np.sum(b**2)), 1e-300) / noise)
