"""Which tensor of a file is which of the prepared model's, by its values and its qparams.

Names do not survive an export and orders may change, but what a tensor holds does: tensors are
paired so that their values differ the least. A quantizer without a partner is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np
from scipy.optimize import linear_sum_assignment

from quant_conformance.gate.alignment.thresholds import THRESHOLDS, Thresholds
from quant_conformance.protocol import Array

BY_VALUES = 1.0
"""All of a difference in values counts: what a tensor is known by."""

BY_ORDER = 0.0
"""Stands for :func:`match_order`."""


def match(
    ours: Sequence[Array],
    theirs: Sequence[Array],
    alike: Array | None = None,
    trust: float = BY_VALUES,
    spare: Sequence[bool] = (),
    limits: Thresholds = THRESHOLDS,
) -> dict[int, int]:
    """Pairs tensors one to one.

    Args:
        ours: dequantized tensors of the prepared model, in the order of computation.
        theirs: those of the file, in the order of the program; NaN all over where what it holds is
            not known, and its qparams alone tell.
        alike: which pairs have like qparams, of shape (ours, theirs); None where that is not known.
        trust: how much of a difference in values counts between tensors of like qparams:
            ``BY_VALUES``, or ``by_both`` or ``by_qparams`` of the thresholds. A wrong layer changes
            a tensor's values, a wrong quantizer its qparams; either way one is left.
        spare: which of ``ours`` a file may leave out, because another gives the same; they stand
            back where several fit.
        limits: the thresholds.

    Returns:
        Index in ``ours`` -> index in ``theirs``, for the pairs that are close enough.
    """
    if not ours or not theirs:
        return {}
    if alike is None:
        alike = np.zeros((len(ours), len(theirs)), bool)
    flat = [[np.asarray(a, np.float64).reshape(-1) for a in side] for side in (ours, theirs)]
    # A pair that is too far apart costs what a tensor without a partner does: it may not push
    # others out of theirs.
    costs = np.full((len(ours), len(theirs)), limits.far + limits.order)
    for i, x in enumerate(flat[0]):
        for j, y in enumerate(flat[1]):
            if x.size == y.size and (alike[i, j] or not _is_unknown(y)):
                order = abs(i / len(ours) - j / len(theirs))
                gap = 0.0 if _is_unknown(y) and alike[i, j] else difference(x, y)
                if gap > limits.rescaled:
                    gap = min(gap, limits.rescaled + _angle(x, y))
                factor, more = (
                    (trust, 0.0) if alike[i, j] else (1.0, _qparams_penalty(trust, limits))
                )
                if spare and spare[i]:
                    more += limits.spare
                costs[i, j] = min(costs[i, j], factor * gap + more + limits.order * order)
    rows, columns = linear_sum_assignment(costs)
    return {
        int(i): int(j)
        for i, j in zip(rows, columns, strict=True)
        if costs[i, j] < limits.far + limits.order
    }


def _is_unknown(values: Array) -> bool:
    return bool(values.size and np.isnan(values).all())


def match_order(ours: Sequence[int], theirs: Sequence[int]) -> dict[int, int]:
    """Pairs tensors in their order by their sizes alone, whatever they hold.

    Args:
        ours: sizes of the prepared model's tensors, in the order of computation.
        theirs: those of the file's, in the order of the program.
    """
    blocks = SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    return {b.a + k: b.b + k for b in blocks for k in range(b.size)}


def match_floats(
    ours: Mapping[str, Array],
    theirs: Mapping[str, Array],
    taken: Collection[str] = (),
    limits: Thresholds = THRESHOLDS,
) -> dict[str, str]:
    """Finds float results in a file, the first one where a reshape repeats the values.

    What differs by the roundings of large elements alone is told by the small ones: a tensor and
    what a relu makes of it may be equal up to a bias of 1e-6.

    Args:
        ours: results of the prepared model by name.
        theirs: results of the program by name, in its order.
        taken: results of the program that were found to be others.
        limits: the thresholds.
    """
    found: dict[str, str] = {}
    for name, array in ours.items():
        x = np.asarray(array, np.float64).reshape(-1)
        gone = {*taken, *found.values()}
        flat = {
            candidate: np.asarray(other, np.float64).reshape(-1)
            for candidate, other in theirs.items()
            if other.size == x.size and candidate not in gone
        }
        gaps = {candidate: difference(x, y) for candidate, y in flat.items()}
        least = min(gaps.values(), default=1.0)
        if least >= limits.far_float:
            continue
        near = [n for n, gap in gaps.items() if gap <= limits.near_float * least]
        odd = {n: _of_another_size(x, flat[n], limits.own_size) for n in near}
        # The differences of repetitions are the same up to float64's own error.
        close = [n for n in near if odd[n] == min(odd.values())]
        nearest = min(gaps[n] for n in close)
        found[name] = next(n for n in close if gaps[n] <= nearest * 1.001)
    return found


def _of_another_size(x: Array, y: Array, share: float) -> int:
    """Counts elements that differ by a share of themselves, and by two of float16's least steps."""
    size = np.maximum(np.abs(x), np.abs(y))
    with np.errstate(invalid="ignore"):
        return int(np.count_nonzero(np.abs(x - y) > np.maximum(share * size, 2.0**-23)))


def difference(x: Array, y: Array) -> float:
    """How far two tensors of one size are apart: from 0 for equal ones to 1 for opposite ones."""
    total = float(np.linalg.norm(x) + np.linalg.norm(y))
    if not np.isfinite(total):
        return 0.0 if np.array_equal(x, y, equal_nan=True) else 1.0
    return 0.0 if total == 0 else float(np.linalg.norm(x - y)) / total


def _angle(x: Array, y: Array) -> float:
    """Sine of the angle between two tensors: their difference whatever their scales are."""
    total = float(np.linalg.norm(x) * np.linalg.norm(y))
    if total == 0 or not np.isfinite(total):
        return 1.0
    cosine = float(np.dot(x, y)) / total
    return float(np.sqrt(max(0.0, 1 - cosine**2))) if cosine > 0 else 1.0


def _qparams_penalty(trust: float, limits: Thresholds) -> float:
    return limits.apart if trust == limits.by_qparams else 0.0
