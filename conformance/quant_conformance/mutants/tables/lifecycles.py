"""Mutants of batch norm's folding and of what quantizers do from prepare to finalize (BN, LIFE)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from quant_conformance.mutants.model import Mutant, known
from quant_conformance.mutants.pipeline import Pipeline
from quant_conformance.protocol import Array
from quant_reference.batch_norm import BatchNorm

FOLD = ("batch_norm",)
LIFE = ("lifecycle",)


def _by_root(p: Pipeline, norm: BatchNorm, training: bool) -> Array:
    one = np.ones((), norm.variance.dtype)
    root = p.bn_rounded(np.divide, one, p.bn_deviation(norm))
    return root if norm.gamma is None else p.bn_rounded(np.multiply, norm.gamma, root)


def _in_weights_dtype(p: Pipeline, weight: Array, factor: Array, *rest: Any) -> Array:
    return Pipeline.bn_weight(p, weight, factor.astype(weight.dtype), *rest)


def _forgets(p: Pipeline, state: Any, mode: str) -> None:
    """Begin ranges anew with a mode, as an observer that is reset does."""
    state.mode = mode
    for name, seen in state.seen.items():
        state.seen[name] = seen[:0] if name != "weight" else seen


def _restarts(p: Pipeline, state: Any, mode: str) -> None:
    state.mode, state.steps = mode, 0


def _first_of_mode(p: Pipeline, state: Any, name: str) -> Any:
    if not state.seen[name]:
        state.seen[name].append(np.zeros((1, 1), np.float32))
    return Pipeline.life_qparams(p, state, name)


def _quantized_in_prepare(p: Pipeline, state: Any, name: str) -> tuple[bool, bool]:
    right = Pipeline.life_switches(p, state, name)
    return (True, True) if state.mode == "prepare" else right


def _stays_in_mode(p: Pipeline, state: Any) -> None:
    """An exception skips what should be done on leaving."""


def _as_before(p: Pipeline, state: Any, name: str, x: Array) -> Array:
    """Fake-quantize with the qparams of the batch before."""
    if name not in state.seen or len(state.seen[name]) < 1 or not p.life_switches(state, name)[1]:
        return Pipeline.life_tensor(p, state, name, x)
    before = p.life_qparams(state, name)
    if p.life_switches(state, name)[0]:
        state.seen[name].append(x)
    return p.fake_quantize(x, state.spec(name), before)


def _finalized(p: Pipeline, state: Any) -> None:
    """Quantize the weight anew, from float16."""
    state.weight = state.weight.astype(np.float16).astype(np.float32)
    if "weight" in state.seen:
        state.seen["weight"].append(state.weight)


def _biased(p: Pipeline, state: Any, y: Array) -> Array:
    before = state.norm
    right = Pipeline.life_batch_norm(p, state, y)
    biased = p.bn_updated(before.variance, y.var(axis=0), state.life.momentum)
    state.norm = replace(state.norm, variance=biased)
    return right


LIFECYCLES: tuple[Mutant, ...] = (
    known("batch-norm-by-reciprocal-root", "multiplies gamma by a reciprocal root", "BN-1", FOLD,
          pitfall="reciprocal", bn_factor=_by_root),
    known("batch-norm-eps-left-out", "divides by the root of the variance alone", "BN-1", FOLD,
          bn_eps=lambda p, eps, dtype: np.zeros((), dtype)),
    known("batch-norm-eps-in-float32", "adds eps in float32, whatever the dtype of the variance",
          "BN-1", FOLD, bn_eps=lambda p, eps, dtype: np.asarray(eps, np.float32)),
    known("batch-norm-factor-in-weight-dtype", "rounds the factor to the dtype of the weight",
          "BN-1", FOLD, bn_weight=_in_weights_dtype),
    known("batch-norm-statistics-in-float16", "rounds the variance to float16", "BN-1", FOLD,
          bn_deviation=lambda p, norm: Pipeline.bn_deviation(p, replace(
              norm, variance=norm.variance.astype(np.float16)))),
    known("batch-norm-channels-of-axis-0", "reads output channels off axis 0 of any weight",
          "BN-1", FOLD, bn_channels=lambda p, weight, transposed, groups: (
              np.indices(weight.shape)[0] % (
                  weight.shape[1] * groups if transposed else weight.shape[0]))),
    known("batch-norm-groups-ignored", "gives all groups the factors of the first", "BN-1", FOLD,
          bn_channels=lambda p, weight, transposed, groups: (
              Pipeline.bn_channels(p, weight, transposed, 1))),
    known("batch-norm-bias-unfolded", "leaves the bias of the layer as it is", "BN-2", FOLD,
          bn_bias=lambda p, bias, norm, factor: (
              np.zeros_like(norm.mean) if bias is None else bias)),
    known("batch-norm-mean-forgotten", "does not subtract the mean", "BN-2", FOLD,
          bn_bias=lambda p, bias, norm, factor: Pipeline.bn_bias(
              p, bias, replace(norm, mean=np.zeros_like(norm.mean)), factor)),
    known("batch-norm-beta-scaled", "adds beta before it multiplies", "BN-2", FOLD,
          bn_bias=lambda p, bias, norm, factor: p.bn_rounded(
              np.multiply, p.bn_rounded(np.add, p.bn_rounded(
                  np.subtract, np.zeros_like(norm.mean) if bias is None else bias, norm.mean),
                  np.zeros_like(norm.mean) if norm.beta is None else norm.beta), factor)),
    known("batch-norm-trains-folded", "uses the running statistics in training", "BN-3", LIFE,
          bn_trains=lambda p, mode, frozen: False),
    known("batch-norm-factor-not-undone", "normalizes the folded result", "BN-3", LIFE,
          bn_undone=lambda p, y, factor, bias: y if bias is None else y + bias),
    known("batch-norm-zero-gamma-divides", "divides by a gamma of 0 in training", "BN-3", LIFE,
          bn_gamma=lambda p, gamma, training: gamma),
    known("batch-norm-biased-variance", "updates the running variance without n - 1", "BN-3", LIFE,
          life_batch_norm=_biased),
    known("batch-norm-never-frozen", "goes on with batch statistics when frozen", "BN-4", LIFE,
          bn_trains=lambda p, mode, frozen: mode == "training"),
    known("prepare-quantizes", "fake-quantizes while it prepares", "LIFE-1", LIFE,
          life_switches=_quantized_in_prepare),
    known("observes-at-rest", "leaves observers on outside of the modes", "LIFE-1 LIFE-2", LIFE,
          life_at_rest=lambda p, state, name: (True, True)),
    known("weight-always-observed", "takes qparams from the weight of the moment", "LIFE-2", LIFE,
          life_at_rest=lambda p, state, name: (name == "weight", True)),
    known("quantizes-before-it-observes", "fake-quantizes with the qparams of the batch before",
          "LIFE-2", LIFE, life_tensor=_as_before),
    known("calibration-quantizes", "fake-quantizes in calibration", "LIFE-3", LIFE,
          life_calibrates=lambda p, state, name: (True, True)),
    known("calibration-weights-alone", "calibrates no activations", "LIFE-3", LIFE,
          life_calibrates=lambda p, state, name: (name == "weight", False)),
    known("calibration-survives-exceptions", "stays in its mode after an exception",
          "LIFE-3 LIFE-4", LIFE, on_fail=_stays_in_mode),
    known("training-keeps-qparams", "does not observe in training", "LIFE-4", LIFE,
          life_trains=lambda p, state, name: (False, True)),
    known("training-weights-fixed", "does not observe weights in training", "LIFE-4", LIFE,
          life_trains=lambda p, state, name: (name != "weight", True)),
    known("ranges-begin-anew", "begins running ranges anew with each mode", "LIFE-5", LIFE,
          life_enter=_forgets, life_qparams=_first_of_mode),
    known("modes-nest", "enters a mode inside a mode", "LIFE-5", LIFE,
          on_refused=lambda p, state: state.note("refusals", 0, np.int8)),
    known("schedule-one-step-late", "switches by the steps before the last one", "LIFE-6", LIFE,
          life_trains=lambda p, state, name: (
              (True, True) if state.life.schedule is None else (
                  p.life_between(state.steps - 1, *state.life.schedule[::2]),
                  state.life.schedule[1] <= state.steps - 1))),
    known("schedule-never-ends", "does not switch observers off again", "LIFE-6", LIFE,
          life_between=lambda p, steps, on, off: on <= steps),
    known("schedule-restarts", "counts the steps of each training anew", "LIFE-6", LIFE,
          life_enter=_restarts),
    known("finalize-through-float16", "finalizes the weight by way of float16", "LIFE-7", LIFE,
          on_finalize=_finalized),
)  # fmt: skip
