"""Mutants of the moving average (SPEC.md, OBS-2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import OBSERVE
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference.observers import Range


def _average(formula: Callable[[Array, Array, Any, Any], Any]) -> Step:
    """A moving average rounded to the dtype of the range only at its end."""

    def average(p: Mutated, old: Array, new: Array, take: Any, keep: Any) -> Array:
        result = formula(p.widen(old), p.widen(new), take, keep)
        return np.asarray(result).astype(new.dtype)

    return average


def _incremental(p: Any, old: Array, new: Array, take: Any, keep: Any) -> Array:
    """R + c * (new - r), each operation rounded."""
    step = p.narrow(p.narrow(p.widen(new) - p.widen(old), new.dtype) * take, new.dtype)
    return np.asarray((p.widen(old) + step).astype(new.dtype))


def _averaged_with_zero(p: Any, kind: str, new: Range, constant: float) -> Range:
    if kind != "moving_average":
        return new
    take, keep = p.weights(constant)
    lo, hi = (p.average(np.zeros_like(bound), bound, take, keep) for bound in new)
    return lo, hi


def _scales_averaged(
    p: Any, batches: Sequence[Array], spec: Any, target: str, kind: str, constant: float = 0.01
) -> Any:
    """Averages scales and not ranges."""
    right = p.right.observe(batches, spec, target, kind, constant)
    if kind != "moving_average":
        return right
    take, keep = p.weights(constant)
    scale = p.qparams(batches[0], spec, target).scale
    for batch in batches[1:]:
        scale = scale * keep + p.qparams(batch, spec, target).scale * take
    return type(right)(scale.astype(F32), right.zero_point, right.minval)


def _evenly(first: Sequence[float]) -> Step:
    """An observer that takes the mean of all ranges, after those that it starts with."""

    def observe(
        p: Any,
        batches: Sequence[Array],
        spec: Any,
        target: str,
        kind: str,
        constant: float = 0.01,
    ) -> Any:
        right = p.right.observe(batches, spec, target, kind, constant)
        if kind != "moving_average" or None not in spec.float_range:
            return right
        seen = [p.value_range(batch, spec, target) for batch in batches]
        lo, hi = (
            p.narrow(
                (sum(first) + sum(wrong.float64(bound) for bound in bounds))
                / (len(first) + len(bounds)),
                bounds[0].dtype,
            ).astype(bounds[0].dtype)
            for bounds in zip(*seen, strict=True)
        )
        return p.compute_qparams(lo, hi, spec)

    return observe


MOVING_AVERAGES = (
    known(
        "weights-swapped",
        "gives the averaging constant to the old range",
        "OBS-2",
        OBSERVE,
        weights=lambda p, c: (F32(1.0 - c), F32(c)),
    ),
    known(
        "constant-ignored",
        "averages with 0.01 whatever the constant",
        "OBS-2",
        OBSERVE,
        weights=lambda p, c: (F32(0.01), F32(0.99)),
    ),
    known(
        "complement-in-float32",
        "computes 1 - c from the rounded c",
        "OBS-2",
        OBSERVE,
        weights=lambda p, c: (F32(c), F32(1) - F32(c)),
    ),
    known(
        "weights-in-dtype",
        "rounds the weights to the dtype of the range",
        "OBS-2",
        OBSERVE,
        average=lambda p, old, new, take, keep: p.right.average(
            old, new, p.narrow(take, new.dtype), p.narrow(keep, new.dtype)
        ),
    ),
    known(
        "average-in-float64",
        "averages in float64",
        "OBS-2",
        OBSERVE,
        average=_average(
            lambda old, new, take, keep: (
                wrong.float64(new) * float(take) + wrong.float64(old) * float(keep)
            )
        ),
    ),
    known(
        "average-in-float32",
        "averages float16 and bfloat16 ranges in float32 and rounds at the end",
        "OBS-2",
        OBSERVE,
        average=_average(lambda old, new, take, keep: new * take + old * keep),
    ),
    known(
        "average-fused",
        "averages with a fused multiply-add",
        "OBS-2",
        OBSERVE,
        average=_average(lambda old, new, take, keep: wrong.fma(old, keep, new * take)),
    ),
    known(
        "average-incremental",
        "computes r + c * (new - r)",
        "OBS-2",
        OBSERVE,
        average=_incremental,
    ),
    known(
        "average-state-in-float32",
        "keeps the running range in float32 whatever the dtype of x",
        "OBS-2",
        OBSERVE,
        first_range=lambda p, kind, new, c: (p.widen(new[0]), p.widen(new[1])),
        fold=lambda p, kind, old, new, spec, c: p.right.fold(
            kind, old, (p.widen(new[0]), p.widen(new[1])), spec, c
        ),
    ),
    known(
        "first-batch-averaged",
        "averages the first batch with zero",
        "OBS-2",
        OBSERVE,
        pitfall="averaged-zero",
        first_range=_averaged_with_zero,
    ),
    known(
        "batches-averaged-evenly",
        "takes the mean of the ranges of all batches",
        "OBS-2",
        OBSERVE,
        observe=_evenly(()),
    ),
    known(
        "zero-averaged-evenly",
        "takes the mean of the ranges of all batches and of zero",
        "OBS-2",
        OBSERVE,
        pitfall="averaged-zero",
        observe=_evenly((0.0,)),
    ),
    known(
        "only-lo-averaged",
        "averages lo and keeps the first hi",
        "OBS-2",
        OBSERVE,
        fold_moving=lambda p, old, new, spec, c: (
            p.right.fold_moving(old, new, spec, c)[0],
            old[1],
        ),
    ),
    known(
        "average-only-grows",
        "averages only where a batch widens the range",
        "OBS-2",
        OBSERVE,
        fold_moving=lambda p, old, new, spec, c: p.right.fold_moving(
            old, p.right.fold_global(old, new), spec, c
        ),
    ),
    known(
        "scales-averaged",
        "averages scales instead of ranges",
        "OBS-2",
        OBSERVE,
        observe=_scales_averaged,
    ),
    known(
        "fixed-range-averaged",
        "averages a range of which both bounds are fixed",
        "OBS-2 RANGE-2",
        OBSERVE,
        fold_moving=lambda p, old, new, spec, c: (
            p.average(old[0], new[0], *p.weights(c)),
            p.average(old[1], new[1], *p.weights(c)),
        ),
    ),
    known(
        "moving-average-global",
        "keeps the least and greatest instead of averaging",
        "OBS-2",
        OBSERVE,
        fold_moving=lambda p, old, new, spec, c: p.right.fold_global(old, new),
    ),
    known(
        "moving-average-last",
        "keeps the last range instead of averaging",
        "OBS-2",
        OBSERVE,
        fold_moving=lambda p, old, new, spec, c: new,
    ),
    known(
        "moving-average-first",
        "keeps the first range instead of averaging",
        "OBS-2",
        OBSERVE,
        fold_moving=lambda p, old, new, spec, c: old,
    ),
    known(
        "illegal-constant-accepted",
        "accepts averaging constants outside (0, 1]",
        "OBS-2",
        OBSERVE,
        check_observer=lambda p, kind, spec, target, c: p.right.check_observer(
            kind, spec, target, 0.5
        ),
    ),
)
