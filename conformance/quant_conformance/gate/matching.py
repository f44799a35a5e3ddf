"""Which quantizer of a file is which of the prepared model's, by the values that they give.

Names do not survive an export and orders may change, but what a tensor holds does: quantizers are
paired so that their values differ the least. A quantizer without a partner is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from quant_conformance.protocol import Array

_FAR = 0.5
"""Difference, relative to both norms, above which two tensors are not the same one."""

_FAR_FLOAT = 0.02
"""The same for float results, which differ by roundings only."""

_RESCALED = 0.1
"""What it costs that two tensors agree only up to a factor, as where a converter moves a scale."""

_ORDER = 0.05
"""Weight of the order: where values agree, the earlier belongs to the earlier."""


def match(ours: Sequence[Array], theirs: Sequence[Array]) -> dict[int, int]:
    """Pairs tensors one to one.

    Args:
        ours: dequantized tensors of the prepared model, in the order of computation.
        theirs: those of the file, in the order of the program.

    Returns:
        Index in ``ours`` -> index in ``theirs``, for the pairs that are close enough.
    """
    if not ours or not theirs:
        return {}
    flat = [[np.asarray(a, np.float64).reshape(-1) for a in side] for side in (ours, theirs)]
    costs = np.full((len(ours), len(theirs)), 10.0)
    for i, x in enumerate(flat[0]):
        for j, y in enumerate(flat[1]):
            if x.size == y.size:
                order = abs(i / len(ours) - j / len(theirs))
                difference = min(_difference(x, y), _RESCALED + _angle(x, y))
                costs[i, j] = difference + _ORDER * order
    rows, columns = linear_sum_assignment(costs)
    return {
        int(i): int(j) for i, j in zip(rows, columns, strict=True) if costs[i, j] < _FAR + _ORDER
    }


def match_floats(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> dict[str, str]:
    """Finds float results in a file, the first one where a reshape repeats the values.

    Args:
        ours: results of the prepared model by name.
        theirs: results of the program by name, in its order.
    """
    found: dict[str, str] = {}
    for name, array in ours.items():
        x = np.asarray(array, np.float64).reshape(-1)
        best, least = None, _FAR_FLOAT
        for candidate, other in theirs.items():
            if other.size != x.size or candidate in found.values():
                continue
            difference = _difference(x, np.asarray(other, np.float64).reshape(-1))
            if difference < least * 0.999:
                best, least = candidate, difference
        if best is not None:
            found[name] = best
    return found


def _angle(x: Array, y: Array) -> float:
    """Sine of the angle between two tensors: their difference whatever their scales are."""
    total = float(np.linalg.norm(x) * np.linalg.norm(y))
    if total == 0 or not np.isfinite(total):
        return 1.0
    cosine = float(np.dot(x, y)) / total
    return float(np.sqrt(max(0.0, 1 - cosine**2))) if cosine > 0 else 1.0


def _difference(x: Array, y: Array) -> float:
    total = float(np.linalg.norm(x) + np.linalg.norm(y))
    if not np.isfinite(total):
        return 0.0 if np.array_equal(x, y, equal_nan=True) else 1.0
    return 0.0 if total == 0 else float(np.linalg.norm(x - y)) / total
