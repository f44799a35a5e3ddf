"""Bugs of judged systems that are no mutants: formulas that one system alone computes by."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants.model import patched
from quant_conformance.mutants.pipeline import Pipeline
from quant_conformance.protocol import Array
from quant_reference import QuantizationSpec
from quant_reference.batch_norm import BatchNorm


def _root(p: Pipeline, norm: BatchNorm, ulps: int) -> Array:
    """The reciprocal root, or its neighbour: which of them depends on the processor."""
    eps = p.bn_eps(norm.eps, norm.variance.dtype)
    summed = p.bn_rounded(np.add, norm.variance, eps)
    root = p.bn_rounded(lambda v: 1 / np.sqrt(v), summed)
    bits = np.dtype(f"i{root.itemsize}")
    return np.asarray((root.view(bits) + bits.type(ulps)).view(root.dtype))


def _folding(ulps: int) -> Pipeline:
    def factor(p: Pipeline, norm: BatchNorm, training: bool) -> Array:
        root = _root(p, norm, ulps)
        return root if norm.gamma is None else p.bn_rounded(np.multiply, norm.gamma, root)

    def folded(p: Pipeline, bias: Array | None, norm: BatchNorm, factor: Array) -> Array:
        given = np.zeros_like(norm.mean) if bias is None else bias
        y = p.bn_rounded(np.subtract, given, norm.mean)
        y = p.bn_rounded(np.multiply, y, _root(p, norm, ulps))
        y = y if norm.gamma is None else p.bn_rounded(np.multiply, y, norm.gamma)
        return y if norm.beta is None else p.bn_rounded(np.add, y, norm.beta)

    return patched(bn_factor=factor, bn_bias=folded)


def _nested(p: Pipeline, state: Any) -> None:
    """Enters the inner mode, and leaves both with it."""
    state.note("refusals", 0, np.int8)
    state.mode = None


def _weight_quantized(p: Pipeline, state: Any, name: str) -> tuple[bool, bool]:
    return True, name == "weight"  # the policy calibration_weights = "quantized"


def _mark(p: Pipeline, state: Any) -> None:
    state.finalized = True


def _finalized(p: Pipeline, state: Any, name: str, x: Array) -> Array:
    """Counts levels from the least code of the format: 256 of an activation, for 255."""
    right = Pipeline.life_tensor(p, state, name, x)
    spec = state.spec(name) if name in state.seen else None
    if spec is None or spec.qformulation != "minval" or not hasattr(state, "finalized"):
        return right
    qparams = p.life_qparams(state, name)
    scale, minval = qparams.scale, qparams.minval
    if name == "weight":
        codes = p.quantize(x, spec, qparams).astype(np.float32)
        levels = codes - np.float32(spec.format.quant_min)
    else:
        last = np.float32(spec.format.quant_max - spec.format.quant_min)
        levels = np.clip(np.rint((x - minval) / scale), 0, last)
    return np.asarray(levels * scale + minval, np.float32)


def _exported(p: Pipeline, codes: Array, spec: QuantizationSpec) -> Array:
    step = spec.quant_min - spec.format.quant_min
    moves = spec.format.is_integer and spec.qformulation == "minval"
    return codes + np.array(step, codes.dtype) if moves else codes


FORMULAS: dict[str, tuple[Pipeline, ...]] = {
    "torch-batch-norm-by-a-reciprocal-root": tuple(map(_folding, (0, -1, 1))),
    "coreai-opt-a-mode-inside-a-mode": (
        patched(on_refused=_nested),
        patched(on_refused=_nested, life_calibrates=_weight_quantized),
    ),
    "coreai-opt-finalized-clipping-with-minval": (
        patched(on_finalize=_mark, life_tensor=_finalized),
        patched(stored_codes=_exported),
    ),
}
"""Section of docs/findings.md -> backends that have its bug, or a part of it."""
