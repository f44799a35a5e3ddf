"""Mutants of what becomes of the incoming gradient (SPEC.md, GRAD-1, GRAD-2, GRAD-4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import GRADIENT
from quant_conformance.mutants.tables.steps import Place
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import QuantizationSpec


def _scaled(p: Any, x: Array, grad: Array, spec: QuantizationSpec, qparams: Any) -> Array:
    right = p.right.fake_quantize_gradient(x, grad, spec, qparams)
    scale = p.spread(np.asarray(qparams.scale), x.shape)
    return np.asarray((p.widen(right) / scale).astype(x.dtype))


_MASK = Place("masked", "GRAD-2", GRADIENT, operands=2)

PASSING = (
    _MASK(
        "gradient-by-mask",
        "multiplies by a mask, so that infinities outside become NaN",
        lambda grad, inside: grad * inside.astype(grad.dtype),
    ),
    known(
        "gradient-leaks",
        "passes a hundredth of the gradient outside the range",
        "GRAD-2",
        GRADIENT,
        masked=lambda p, grad, inside: np.where(
            inside, grad, (p.widen(grad) * F32(0.01)).astype(grad.dtype)
        ),
    ),
    known(
        "gradient-by-scale",
        "divides the gradient by the scale",
        "GRAD-1",
        GRADIENT,
        fake_quantize_gradient=_scaled,
    ),
    _MASK(
        "gradient-of-one",
        "passes 1 inside the range",
        lambda grad, inside: inside.astype(grad.dtype),
        clauses="GRAD-1",
    ),
    known(
        "gradient-through-float16",
        "rounds the gradient to float16",
        "GRAD-1",
        GRADIENT,
        pitfall="double-rounding",
        masked=lambda p, grad, inside: p.right.masked(
            wrong.through(np.float16)(grad).astype(grad.dtype), inside
        ),
    ),
    known(
        "gradient-through-bfloat16",
        "rounds the gradient to bfloat16",
        "GRAD-1",
        GRADIENT,
        pitfall="double-rounding",
        masked=lambda p, grad, inside: p.right.masked(
            wrong.through(wrong.BFLOAT16)(grad).astype(grad.dtype), inside
        ),
    ),
    known(
        "gradient-in-float32",
        "returns the gradient in float32",
        "GRAD-1",
        GRADIENT,
        masked=lambda p, grad, inside: p.widen(p.right.masked(grad, inside)),
    ),
    known(
        "gradient-subnormals-flushed",
        "flushes subnormal gradients",
        "GRAD-1",
        GRADIENT,
        pitfall="subnormals",
        masked=lambda p, grad, inside: p.right.masked(wrong.flushed(grad), inside),
    ),
    known(
        "gradient-negative-zero-lost",
        "makes +0 of an incoming -0",
        "GRAD-1",
        GRADIENT,
        pitfall="negative-zero",
        masked=lambda p, grad, inside: p.right.masked(grad + np.zeros((), grad.dtype), inside),
    ),
    known(
        "gradient-nan-dropped",
        "makes 0 of an incoming NaN",
        "GRAD-4",
        GRADIENT,
        pitfall="nan",
        masked=lambda p, grad, inside: p.right.masked(
            np.where(np.isnan(grad), np.zeros((), grad.dtype), grad), inside
        ),
    ),
    known(
        "gradient-infinity-clamped",
        "clamps incoming infinities to 65504",
        "GRAD-1",
        GRADIENT,
        masked=lambda p, grad, inside: p.right.masked(
            np.where(np.isinf(grad), np.copysign(np.asarray(65504).astype(grad.dtype), grad), grad),
            inside,
        ),
    ),
    known(
        "gradient-nan-of-nan",
        "gives NaN where x is NaN",
        "GRAD-4",
        GRADIENT,
        pitfall="nan",
        fake_quantize_gradient=lambda p, x, grad, spec, qparams: np.where(
            np.isnan(x), x, p.right.fake_quantize_gradient(x, grad, spec, qparams)
        ),
    ),
    known(
        "gradient-of-other-shape-accepted",
        "broadcasts a gradient of another shape, and casts one of another dtype",
        "GRAD-1",
        GRADIENT,
        check_grad=lambda p, x, grad: None,
        masked=lambda p, grad, inside: p.right.masked(np.resize(grad, inside.shape), inside),
    ),
)
