"""Observers: from batches to qparams (SPEC.md, OBS-1 to OBS-6)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal, get_args

import numpy as np

from quant_reference._arrays import Array, round_to, to_float32
from quant_reference.errors import InputError, SpecError
from quant_reference.granularity import Target
from quant_reference.qparams import QParams, compute_qparams
from quant_reference.ranges import value_range
from quant_reference.spec import QuantizationSpec, check_spec

ObserverKind = Literal["static", "moving_average", "global_minmax", "dynamic"]


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
        lo, hi = value_range(batch, self.spec, self.target)
        if self.lo is None or self.hi is None or self.kind in ("static", "dynamic"):
            return replace(self, lo=_fixed(lo), hi=_fixed(hi))
        if (lo.shape, lo.dtype) != (self.lo.shape, self.lo.dtype):
            raise InputError(
                "range of this batch",
                given=f"{lo.dtype}{lo.shape}",
                allowed=f"{self.lo.dtype}{self.lo.shape}, as in the batches before",
                clause="OBS-6",
            )
        if self.kind == "global_minmax":
            with np.errstate(invalid="ignore"):  # bfloat16 warns of a NaN, which is a result here
                lo, hi = np.minimum(self.lo, lo), np.maximum(self.hi, hi)
        else:
            lo, hi = self._average(lo, self.lo), self._average(hi, self.hi)
        return replace(self, lo=_fixed(lo), hi=_fixed(hi))

    def qparams(self) -> QParams:
        """Qparams of the running range.

        Raises:
            InputError: Before the first batch (OBS-6).
        """
        if self.lo is None or self.hi is None:
            raise InputError(
                "qparams of an observer", given="no batch", allowed="after update", clause="OBS-6"
            )
        return compute_qparams(self.lo, self.hi, self.spec)

    def _average(self, new: Array, old: Array) -> Array:
        if None not in self.spec.float_range:
            return old  # both bounds are given: fixed after the first batch (RANGE-2)
        keep = np.float32(1.0 - self.averaging_constant)
        take = np.float32(self.averaging_constant)
        with np.errstate(all="ignore"):
            taken = round_to(to_float32(new) * take, new.dtype)
            kept = round_to(to_float32(old) * keep, new.dtype)
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
    return Observer(kind, spec, target, float(c))
