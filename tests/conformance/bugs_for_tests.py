"""Bugs of judged systems that are no mutants: formulas that one system alone computes by."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, patched
from quant_conformance.protocol import Array
from quant_reference import QParams, QuantizationSpec
from quant_reference.batch_norm import BatchNorm


def _root(p: Mutated, norm: BatchNorm, ulps: int) -> Array:
    """The reciprocal root, or its neighbour: which of them depends on the processor."""
    eps = p.eps_of(norm, norm.variance.dtype)
    summed = p.rounded(np.add, norm.variance, eps)
    root = p.rounded(lambda v: 1 / np.sqrt(v), summed)
    bits = np.dtype(f"i{root.itemsize}")
    return np.asarray((root.view(bits) + bits.type(ulps)).view(root.dtype))


def _folding(ulps: int) -> Mutated:
    def factor(p: Mutated, norm: BatchNorm, *, training: bool = False) -> Any:
        root = _root(p, norm, ulps)
        return root if norm.gamma is None else p.rounded(np.multiply, norm.gamma, root)

    def folded(
        p: Mutated, bias: Array | None, norm: BatchNorm, factor: Array, dtype: np.dtype[Any]
    ) -> Any:
        given = np.zeros_like(norm.mean) if bias is None else bias
        y = p.rounded(np.subtract, given, norm.mean)
        y = p.rounded(np.multiply, y, _root(p, norm, ulps))
        y = y if norm.gamma is None else p.rounded(np.multiply, y, norm.gamma)
        return (y if norm.beta is None else p.rounded(np.add, y, norm.beta)).astype(dtype)

    return patched(fold_factor=factor, fold_bias=folded)


def _nested(p: Mutated, state: Any) -> bool:
    """Enters the inner mode, and leaves both with it."""
    state.mode = None
    return False


def _weight_quantized(p: Mutated, state: Any, name: str) -> tuple[bool, bool]:
    return True, name == "weight"  # the policy calibration_weights = "quantized"


def _mark(p: Mutated, state: Any) -> None:
    state.finalized = True


def _finalized(p: Mutated, state: Any, name: str, x: Array) -> Array:
    """Counts levels from the least code of the format: 256 of an activation, for 255."""
    right = p.right.quantized(state, name, x)
    spec = state.life.specs.get(name)
    if spec is None or spec.qformulation != "minval" or not hasattr(state, "finalized"):
        return right
    qparams = p.qparams_of(state, name)
    scale, minval = qparams.scale, qparams.minval
    if name == "weight":
        codes = p.quantize(x, spec, qparams).astype(np.float32)
        levels = codes - np.float32(spec.format.quant_min)
    else:
        last = np.float32(spec.format.quant_max - spec.format.quant_min)
        levels = np.clip(np.rint((x - minval) / scale), 0, last)
    return np.asarray(levels * scale + minval, np.float32)


def _exported(p: Mutated, x: Array, spec: QuantizationSpec, qparams: QParams) -> Any:
    codes = p.right.quantize(x, spec, qparams)
    step = spec.quant_min - spec.format.quant_min
    moves = spec.format.is_integer and spec.qformulation == "minval"
    return codes + np.array(step, codes.dtype) if moves else codes


def _left_alone(p: Mutated, state: Any, name: str, x: Array) -> Array:
    return x


FORMULAS: dict[str, tuple[Mutated, ...]] = {
    "torch-batch-norm-by-a-reciprocal-root": tuple(map(_folding, (0, -1, 1))),
    "coreai-opt-a-mode-inside-a-mode": (
        patched(refuses=_nested),
        patched(refuses=_nested, in_calibration=_weight_quantized),
    ),
    "coreai-opt-finalized-clipping-with-minval": (
        patched(finalize=_mark, quantized=_finalized),
        patched(quantize=_exported),
    ),
    "coreai-opt-tensors-of-one-element": (patched(quantized=_left_alone),),
}
"""Section of docs/findings.md -> backends that have its bug, or a part of it."""
