"""Observers: from batches to qparams (SPEC.md, OBS-1 to OBS-6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal, get_args

import numpy as np

from quant_reference._arrays import Array, Float32, narrow, widen
from quant_reference.errors import InputError, SpecError
from quant_reference.granularity import Target
from quant_reference.qparams import QParams, compute_qparams
from quant_reference.ranges import value_range
from quant_reference.spec import QuantizationSpec, check_spec

ObserverKind = Literal["static", "moving_average", "global_minmax", "dynamic"]
Range = tuple[Array, Array]
"""(lo, hi), with an entry per block."""


@dataclass(frozen=True)
class Observer:
    """An observer's state; :meth:`update` returns the next one.

    Attributes:
        kind: How batches are combined.
        spec: What the qparams are computed for.
        target: ``"weight"`` or ``"activation"``.
        averaging_constant: Weight of the new batch, in (0, 1]; used by moving_average only.
        lo: Running lower bound per block, or None before the first batch.
        hi: Running upper bound per block, or None before the first batch.
    """

    kind: ObserverKind
    spec: QuantizationSpec
    target: Target
    averaging_constant: float = 0.01
    lo: Array | None = None
    hi: Array | None = None

    def update(self, batch: Array) -> Observer:
        """The state after one more batch.

        Clauses OBS-1 (static), OBS-2 (moving_average), OBS-3 (global_minmax), OBS-4 (dynamic),
        OBS-5 (NaN and infinities are never dropped), OBS-6 (batches must agree).

        Args:
            batch: float16, bfloat16 or float32, of any shape with as many blocks as before.

        Raises:
            InputError: A batch whose dtype or number of blocks differs (OBS-6), or that
                value_range refuses.
        """
        new = value_range(batch, self.spec, self.target)
        if self.lo is None or self.hi is None:
            lo, hi = first_range(self.kind, new, self.averaging_constant)
        else:
            old = self.lo, self.hi
            check_batches(self.kind, [old, new])
            lo, hi = fold(self.kind, old, new, self.spec, self.averaging_constant)
        return replace(self, lo=_fixed(lo), hi=_fixed(hi))

    def qparams(self) -> QParams:
        """Qparams of the running range.

        Raises:
            InputError: Before the first batch (OBS-6).
        """
        seen = [] if self.lo is None or self.hi is None else [(self.lo, self.hi)]
        check_batches(self.kind, seen)
        return compute_qparams(*seen[0], self.spec)


def observe(
    batches: Sequence[Array],
    spec: QuantizationSpec,
    target: Target,
    kind: ObserverKind,
    averaging_constant: float = 0.01,
) -> QParams:
    """Qparams after all batches: an observer's life in one call.

    Clauses OBS-1 to OBS-6, as in :class:`Observer`.

    Args:
        batches: What is observed, in its order.
        spec: What the qparams are computed for.
        target: ``"weight"`` or ``"activation"``.
        kind: As for :func:`make_observer`.
        averaging_constant: As for :func:`make_observer`.

    Raises:
        InputError: No batch, or batches that disagree (OBS-6).
        SpecError: As for :func:`make_observer`.
    """
    spec = check_observer(kind, spec, target, averaging_constant)
    seen = [value_range(batch, spec, target) for batch in batches]
    check_batches(kind, seen)
    lo, hi = first_range(kind, seen[0], averaging_constant)
    for new in seen[1:]:
        lo, hi = fold(kind, (lo, hi), new, spec, averaging_constant)
    return compute_qparams(lo, hi, spec)


def check_batches(kind: ObserverKind, ranges: Sequence[Range]) -> None:
    """Refuse batches that disagree, or none (OBS-6)."""
    if not ranges:
        raise InputError(
            "qparams of an observer", given="no batch", allowed="after update", clause="OBS-6"
        )
    if kind not in ("moving_average", "global_minmax"):
        return  # the others keep nothing of the batches before
    first = ranges[0][0]
    for lo, _ in ranges[1:]:
        if (lo.shape, lo.dtype) != (first.shape, first.dtype):
            raise InputError(
                "range of this batch",
                given=f"{lo.dtype}{lo.shape}",
                allowed=f"{first.dtype}{first.shape}, as in the batches before",
                clause="OBS-6",
            )


def first_range(kind: ObserverKind, new: Range, averaging_constant: float) -> Range:
    """The running range after the first batch: that of the batch (OBS-1 to OBS-4)."""
    return new


def fold(
    kind: ObserverKind, old: Range, new: Range, spec: QuantizationSpec, averaging_constant: float
) -> Range:
    """The running range after a further batch (OBS-1 to OBS-5)."""
    if kind == "global_minmax":
        return fold_global(old, new)
    if kind == "moving_average":
        return fold_moving(old, new, spec, averaging_constant)
    return new  # OBS-1, OBS-4


def fold_global(old: Range, new: Range) -> Range:
    """The widest range of all; NaN stays (OBS-3, OBS-5)."""
    with np.errstate(invalid="ignore"):  # bfloat16 warns of a NaN, which is a result here
        return np.minimum(old[0], new[0]), np.maximum(old[1], new[1])


def fold_moving(old: Range, new: Range, spec: QuantizationSpec, averaging_constant: float) -> Range:
    """The moving average of either bound (OBS-2)."""
    if None not in spec.float_range:
        return old  # both bounds are given: fixed after the first batch (RANGE-2)
    take, keep = weights(averaging_constant)
    return average(old[0], new[0], take, keep), average(old[1], new[1], take, keep)


def weights(averaging_constant: float) -> tuple[np.float32, np.float32]:
    """Weights of the new and the old range, each rounded once (OBS-2)."""
    return np.float32(averaging_constant), np.float32(1.0 - averaging_constant)


def average(old: Array, new: Array, take: np.float32, keep: np.float32) -> Array:
    """Two products and a sum, each rounded to the range's dtype (OBS-2)."""
    with np.errstate(all="ignore"):
        taken: Float32 = narrow(widen(new) * take, new.dtype)
        kept: Float32 = narrow(widen(old) * keep, new.dtype)
        return (taken + kept).astype(new.dtype)


def _fixed(bound: Array) -> Array:
    """The same values as an array that nobody can write to: a state does not change."""
    view = np.asarray(bound).view()
    view.flags.writeable = False
    return view


def make_observer(
    kind: ObserverKind, spec: QuantizationSpec, target: Target, averaging_constant: float = 0.01
) -> Observer:
    """An observer that has seen nothing yet.

    Args:
        kind: ``"static"``, ``"moving_average"``, ``"global_minmax"`` or ``"dynamic"``.
        spec: What the qparams are computed for.
        target: ``"weight"`` or ``"activation"``.
        averaging_constant: Weight of a new batch in moving_average (OBS-2), in (0, 1].

    Raises:
        SpecError: Unknown kind (OBS-1), a constant out of range (OBS-2), or a combination that
            SPEC-5 refuses for dynamic.
    """
    spec = check_observer(kind, spec, target, averaging_constant)
    return Observer(kind, spec, target, float(averaging_constant))


def check_observer(
    kind: ObserverKind, spec: QuantizationSpec, target: Target, averaging_constant: float
) -> QuantizationSpec:
    """The spec as the observer sees it; refuses what no observer can be made of (OBS-1, OBS-2)."""
    check_spec(spec)
    if kind not in get_args(ObserverKind):
        raise SpecError(
            "observer kind", given=kind, allowed=", ".join(get_args(ObserverKind)), clause="OBS-1"
        )
    c = averaging_constant
    if isinstance(c, bool) or not isinstance(c, Real) or not 0 < c <= 1:
        raise SpecError(
            "averaging_constant", given=c, allowed="a number, 0 < c <= 1", clause="OBS-2"
        )
    if kind == "dynamic":
        spec = replace(spec, qparam_calculator_cls="dynamic")  # refuses what SPEC-5 refuses
        if target == "weight":
            raise SpecError(
                "target of a dynamic observer", given=target, allowed="activation", clause="SPEC-5"
            )
    return spec
