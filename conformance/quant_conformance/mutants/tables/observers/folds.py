"""Mutants of the observers (SPEC.md, OBS-1, OBS-3 to OBS-6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import OBSERVE
from quant_conformance.mutants.tables.steps import folding
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference.observers import ObserverKind, Range


def _both(formula: Callable[[Array, Array], Any]) -> Step:
    """Fold each bound by ``formula(old, new)``."""

    def fold(p: Mutated, old: Range, new: Range) -> Range:
        lo, hi = (np.asarray(formula(o, n)) for o, n in zip(old, new, strict=True))
        return lo, hi

    return fold


_mean = _both(lambda old, new: ((old + new) / old.dtype.type(2)).astype(old.dtype))


def _without(drop: Callable[[Array], Any]) -> Step:
    """Skip batches whose range ``drop`` finds something in, unless all are such."""

    def observe(
        p: Mutated,
        batches: Sequence[Array],
        spec: Any,
        target: str,
        kind: str,
        constant: float = 0.01,
    ) -> Any:
        kept = [b for b in batches if not drop(b.astype(F32)).any()]
        return p.right.observe(kept or batches, spec, target, kind, constant)

    return observe


def _one_zero(p: Mutated, kind: str, ranges: Sequence[Range]) -> None:
    """Lets an observer without batches observe a zero."""
    if isinstance(ranges, list) and not ranges:
        zero = np.zeros((1, 1), np.float32)
        ranges.append((zero, zero))
    p.right.check_batches(kind, ranges)


def _like(change: Callable[[Array, Array], Array], new: Range, first: Range) -> Range:
    return change(new[0], first[0]), change(new[1], first[1])


def _checking(change: Callable[[Array, Array], Array]) -> Step:
    """Checks ranges after they were made like the first: ``change(bound, first bound)``."""

    def check_batches(p: Mutated, kind: str, ranges: Sequence[Range]) -> None:
        p.right.check_batches(kind, [_like(change, new, ranges[0]) for new in ranges])

    return check_batches


def _folding(change: Callable[[Array, Array], Array]) -> Step:
    def fold(p: Mutated, kind: str, old: Range, new: Range, *rest: Any) -> Range:
        if kind in ("moving_average", "global_minmax"):
            new = _like(change, new, old)
        return p.right.fold(kind, old, new, *rest)

    return fold


OBSERVERS = (
    known(
        "static-keeps-first",
        "keeps the range of the first batch",
        "OBS-1",
        OBSERVE,
        fold=folding("static", lambda p, old, new: old),
    ),
    known(
        "static-accumulates",
        "widens a static range with every batch",
        "OBS-1",
        OBSERVE,
        fold=folding("static", lambda p, old, new: p.fold_global(old, new)),
    ),
    known(
        "static-averages",
        "averages static ranges",
        "OBS-1",
        OBSERVE,
        fold=folding("static", _mean),
    ),
    known(
        "unknown-observer-accepted",
        "takes an unknown kind for static",
        "OBS-1",
        OBSERVE,
        check_observer=lambda p, kind, spec, target, c: p.right.check_observer(
            kind if kind in get_args(ObserverKind) else "static", spec, target, c
        ),
    ),
    known(
        "global-keeps-last",
        "keeps the last range instead of the widest",
        "OBS-3",
        OBSERVE,
        fold_global=lambda p, old, new: new,
    ),
    known(
        "global-keeps-first",
        "keeps the first range instead of the widest",
        "OBS-3",
        OBSERVE,
        fold_global=lambda p, old, new: old,
    ),
    known(
        "global-lo-only",
        "widens lo and takes hi from the last batch",
        "OBS-3",
        OBSERVE,
        fold_global=lambda p, old, new: (np.minimum(old[0], new[0]), new[1]),
    ),
    known(
        "global-averages",
        "averages global ranges",
        "OBS-3",
        OBSERVE,
        fold_global=_mean,
    ),
    known(
        "global-over-blocks",
        "takes one global range for all blocks",
        "OBS-3",
        OBSERVE,
        fold_global=lambda p, old, new: (
            np.full_like(old[0], np.minimum(old[0], new[0]).min()),
            np.full_like(old[1], np.maximum(old[1], new[1]).max()),
        ),
    ),
    known(
        "dynamic-accumulates",
        "widens a dynamic range with every batch",
        "OBS-4",
        OBSERVE,
        fold=folding("dynamic", lambda p, old, new: p.fold_global(old, new)),
    ),
    known(
        "dynamic-keeps-first",
        "keeps the range of the first batch for a dynamic observer",
        "OBS-4",
        OBSERVE,
        fold=folding("dynamic", lambda p, old, new: old),
    ),
    known(
        "dynamic-averages",
        "averages dynamic ranges",
        "OBS-4",
        OBSERVE,
        fold=folding("dynamic", _mean),
    ),
    known(
        "nan-batch-skipped",
        "skips batches with NaN",
        "OBS-5",
        OBSERVE,
        pitfall="nan",
        observe=_without(np.isnan),
    ),
    known(
        "infinite-batch-skipped",
        "skips batches with infinities",
        "OBS-5",
        OBSERVE,
        observe=_without(np.isinf),
    ),
    known(
        "nan-lost-in-global",
        "loses a NaN where a global range is widened",
        "OBS-5 OBS-3",
        OBSERVE,
        pitfall="nan",
        fold_global=lambda p, old, new: (np.fmin(old[0], new[0]), np.fmax(old[1], new[1])),
    ),
    known(
        "old-nan-replaced",
        "starts again after a NaN batch",
        "OBS-5",
        OBSERVE,
        pitfall="nan",
        fold=lambda p, kind, old, new, spec, c: (
            new if np.isnan(old[0]).any() else p.right.fold(kind, old, new, spec, c)
        ),
    ),
    known(
        "nan-stays-in-static",
        "keeps a NaN in a static range after the next batch",
        "OBS-5 OBS-1",
        OBSERVE,
        pitfall="nan",
        fold=folding("static", _both(lambda old, new: np.where(np.isnan(old), old, new))),
    ),
    known(
        "nan-weighted-as-zero",
        "averages NaN as zero",
        "OBS-5 OBS-2",
        OBSERVE,
        pitfall="nan",
        average=lambda p, old, new, take, keep: p.right.average(
            np.where(np.isnan(old), np.zeros((), old.dtype), old),
            np.where(np.isnan(new), np.zeros((), new.dtype), new),
            take,
            keep,
        ),
    ),
    known(
        "batch-of-other-dtype-accepted",
        "casts a batch of another dtype to that of the first",
        "OBS-6",
        OBSERVE,
        check_batches=_checking(lambda bound, first: bound.astype(first.dtype)),
        fold=_folding(lambda bound, first: bound.astype(first.dtype)),
    ),
    known(
        "batch-of-other-blocks-accepted",
        "repeats or cuts the range of a batch with another number of blocks",
        "OBS-6",
        OBSERVE,
        check_batches=_checking(lambda bound, first: np.resize(bound, first.shape)),
        fold=_folding(lambda bound, first: np.resize(bound, first.shape)),
    ),
    known(
        "no-batch-accepted",
        "gives qparams of zeros before the first batch",
        "OBS-6",
        OBSERVE,
        pitfall="observer-ranges",
        check_batches=_one_zero,
    ),
)
