"""Mutants of batch norm's folding and of what quantizers do from prepare to finalize (BN, LIFE)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import Mutant, known
from quant_conformance.protocol import Array
from quant_reference.batch_norm import BatchNorm

FOLD = ("batch_norm",)
LIFE = ("lifecycle",)


def _by_root(p: Mutated, norm: BatchNorm, *, training: bool = False) -> Any:
    one = np.ones((), norm.variance.dtype)
    root = p.rounded(np.divide, one, p.deviation_of(norm))
    return root if norm.gamma is None else p.rounded(np.multiply, norm.gamma, root)


def _beta_scaled(p: Mutated, bias: Array | None, norm: BatchNorm, factor: Array, dtype: Any) -> Any:
    zero = np.zeros_like(norm.mean)
    centred = p.rounded(np.subtract, zero if bias is None else bias, norm.mean)
    shifted = p.rounded(np.add, centred, zero if norm.beta is None else norm.beta)
    return p.rounded(np.multiply, shifted, factor).astype(dtype)


def _in_weights_dtype(p: Mutated, weight: Array, factor: Array, **given: Any) -> Any:
    return p.right.fold_weight(weight, factor.astype(weight.dtype), **given)


def _factors(channels: Callable[[Array, Any, bool, int], Array]) -> Step:
    """Makes ``spread_factor``: ``channels(index of each element, shape, transposed, groups)``."""
    return lambda p, factor, shape, transposed, groups: factor[
        channels(np.indices(shape), shape, transposed, groups)
    ]


def _forgets(p: Mutated, state: Any, mode: str) -> None:
    """Begin ranges anew with a mode, as an observer that is reset does."""
    state.mode = mode
    for name in state.observers:
        if name != "weight":
            state.observers[name] = p.new_observer(state.life.specs[name], name)


def _restarts(p: Mutated, state: Any, mode: str) -> None:
    state.mode, state.steps = mode, 0


def _first_of_mode(p: Mutated, state: Any, name: str) -> Any:
    if state.observers[name].lo is None:
        state.observers[name] = state.observers[name].update(np.zeros((1, 1), np.float32))
    return p.right.qparams_of(state, name)


def _quantized_in_prepare(p: Mutated, state: Any, name: str) -> tuple[bool, bool]:
    right = p.right.switches(state, name)
    return (True, True) if state.mode == "prepare" else right


def _stays_in_mode(p: Mutated, state: Any) -> None:
    """An exception skips what should be done on leaving."""


def _as_before(p: Mutated, state: Any, name: str, x: Array) -> Any:
    """Fake-quantize with the qparams of the batch before."""
    observer = state.observers.get(name)
    if observer is None or observer.lo is None or not p.switches(state, name)[1]:
        return p.right.quantized(state, name, x)
    before = p.qparams_of(state, name)
    if p.switches(state, name)[0]:
        state.observers[name] = observer.update(x)
    return p.fake_quantize(x, state.life.specs[name], before)


def _finalized(p: Mutated, state: Any) -> None:
    """Quantize the weight anew, from float16."""
    state.weight = state.weight.astype(np.float16).astype(np.float32)
    if "weight" in state.observers:
        state.observers["weight"] = state.observers["weight"].update(state.weight)


LIFECYCLES: tuple[Mutant, ...] = (
    known("batch-norm-by-reciprocal-root", "multiplies gamma by a reciprocal root", "BN-1", FOLD,
          pitfall="reciprocal", fold_factor=_by_root),
    known("batch-norm-eps-left-out", "divides by the root of the variance alone", "BN-1", FOLD,
          eps_of=lambda p, norm, dtype: np.zeros((), dtype)),
    known("batch-norm-eps-in-float32", "adds eps in float32, whatever the dtype of the variance",
          "BN-1", FOLD, eps_of=lambda p, norm, dtype: np.asarray(norm.eps, np.float32)),
    known("batch-norm-factor-in-weight-dtype", "rounds the factor to the dtype of the weight",
          "BN-1", FOLD, fold_weight=_in_weights_dtype),
    known("batch-norm-statistics-in-float16", "rounds the variance to float16", "BN-1", FOLD,
          deviation_of=lambda p, norm: p.right.deviation_of(replace(
              norm, variance=norm.variance.astype(np.float16)))),
    known("batch-norm-channels-of-axis-0", "reads output channels off axis 0 of any weight",
          "BN-1", FOLD, spread_factor=_factors(lambda at, shape, transposed, groups: (
              at[0] % (shape[1] * groups if transposed else shape[0])))),
    known("batch-norm-groups-ignored", "gives all groups the factors of the first", "BN-1", FOLD,
          spread_factor=_factors(lambda at, shape, transposed, groups: at[int(transposed)])),
    known("batch-norm-bias-unfolded", "leaves the bias of the layer as it is", "BN-2", FOLD,
          fold_bias=lambda p, bias, norm, factor, dtype: (
              np.zeros_like(norm.mean) if bias is None else bias).astype(dtype)),
    known("batch-norm-mean-forgotten", "does not subtract the mean", "BN-2", FOLD,
          fold_bias=lambda p, bias, norm, factor, dtype: p.right.fold_bias(
              bias, replace(norm, mean=np.zeros_like(norm.mean)), factor, dtype)),
    known("batch-norm-beta-scaled", "adds beta before it multiplies", "BN-2", FOLD,
          fold_bias=_beta_scaled),
    known("batch-norm-trains-folded", "uses the running statistics in training", "BN-3", LIFE,
          batch_statistics=lambda p, state: False),
    known("batch-norm-factor-not-undone", "normalizes the folded result", "BN-3", LIFE,
          undone=lambda p, y, factor, bias: y if bias is None else y + bias),
    known("batch-norm-zero-gamma-divides", "divides by a gamma of 0 in training", "BN-3", LIFE,
          nonzero_gamma=lambda p, gamma: gamma),
    known("batch-norm-biased-variance", "updates the running variance without n - 1", "BN-3", LIFE,
          unbiased=lambda p, variance, rows: variance),
    known("batch-norm-never-frozen", "goes on with batch statistics when frozen", "BN-4", LIFE,
          batch_statistics=lambda p, state: state.mode == "training"),
    known("prepare-quantizes", "fake-quantizes while it prepares", "LIFE-1", LIFE,
          switches=_quantized_in_prepare),
    known("observes-at-rest", "leaves observers on outside of the modes", "LIFE-1 LIFE-2", LIFE,
          at_rest=lambda p, state, name: (True, True)),
    known("weight-always-observed", "takes qparams from the weight of the moment", "LIFE-2", LIFE,
          at_rest=lambda p, state, name: (name == "weight", True)),
    known("quantizes-before-it-observes", "fake-quantizes with the qparams of the batch before",
          "LIFE-2", LIFE, quantized=_as_before),
    known("calibration-quantizes", "fake-quantizes in calibration", "LIFE-3", LIFE,
          in_calibration=lambda p, state, name: (True, True)),
    known("calibration-weights-alone", "calibrates no activations", "LIFE-3", LIFE,
          in_calibration=lambda p, state, name: (name == "weight", False)),
    known("calibration-survives-exceptions", "stays in its mode after an exception",
          "LIFE-3 LIFE-4", LIFE, fail=_stays_in_mode),
    known("training-keeps-qparams", "does not observe in training", "LIFE-4", LIFE,
          in_training=lambda p, state, name: (False, True)),
    known("training-weights-fixed", "does not observe weights in training", "LIFE-4", LIFE,
          in_training=lambda p, state, name: (name != "weight", True)),
    known("ranges-begin-anew", "begins running ranges anew with each mode", "LIFE-5", LIFE,
          enter=_forgets, qparams_of=_first_of_mode),
    known("modes-nest", "enters a mode inside a mode", "LIFE-5", LIFE,
          refuses=lambda p, state: False),
    known("schedule-one-step-late", "switches by the steps before the last one", "LIFE-6", LIFE,
          in_training=lambda p, state, name: (
              (True, True) if state.life.schedule is None else (
                  p.scheduled(state.steps - 1, *state.life.schedule[::2]),
                  state.life.schedule[1] <= state.steps - 1))),
    known("schedule-never-ends", "does not switch observers off again", "LIFE-6", LIFE,
          scheduled=lambda p, steps, on, off: on <= steps),
    known("schedule-restarts", "counts the steps of each training anew", "LIFE-6", LIFE,
          enter=_restarts),
    known("finalize-through-float16", "finalizes the weight by way of float16", "LIFE-7", LIFE,
          finalize=_finalized),
)  # fmt: skip
