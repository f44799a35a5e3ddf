"""Mutants of the least scale (SPEC.md, QP-1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, Step, patched
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import QPARAMS, SCALES
from quant_conformance.mutants.tables.steps import least
from quant_conformance.mutants.wrong import F32

_UNBOUNDED = patched(least_scale=least(lambda scale: scale))


def _at_least(eps: float) -> Step:
    return least(lambda scale: np.maximum(scale, F32(eps)))


def _least_of_the_dtype(rule: str) -> Step:
    """A rule whose scales are at least the machine epsilon of the range's dtype."""

    def scale_of(p: Mutated, *arguments: Any) -> Any:
        eps = {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(arguments[-1].name, 2.0**-23)
        return np.maximum(getattr(p.right, rule)(*arguments), F32(eps))

    return scale_of


_LEAST_OF_THE_DTYPE: dict[str, Any] = {
    rule: _least_of_the_dtype(rule)
    for rule in ("symmetric_scale", "asymmetric_scale", "float_scale")
}

LEAST_SCALES = (
    known(
        "no-least-scale",
        "has no least scale, so zeros give the scale 0",
        "QP-1",
        SCALES,
        pitfall="observer-ranges",
        least_scale=least(lambda scale: scale),
    ),
    *(
        known(
            f"least-scale-{name}",
            f"takes {name} for the least scale",
            "QP-1",
            SCALES,
            least_scale=_at_least(eps),
        )
        for name, eps in (
            ("1e-8", 1e-8),
            ("1e-5", 1e-5),
            ("2^-24", 2.0**-24),
            ("2^-126", 2.0**-126),
        )
    ),
    known(
        "least-scale-added",
        "adds eps to the scale instead of taking the greater",
        "QP-1",
        SCALES,
        least_scale=least(lambda scale: scale + F32(2.0**-23)),
    ),
    known(
        "least-scale-of-the-dtype",
        "takes the machine epsilon of x's dtype for the least scale",
        "QP-1",
        SCALES,
        **_LEAST_OF_THE_DTYPE,
    ),
    known(
        "zero-scale-as-one",
        "replaces a zero scale by 1 and leaves small ones as they are",
        "QP-1",
        SCALES,
        pitfall="observer-ranges",
        least_scale=least(lambda scale: np.where(scale == 0, F32(1), scale)),
    ),
    known(
        "zero-scale-only-replaced",
        "replaces a zero scale by eps and leaves small ones as they are",
        "QP-1",
        SCALES,
        pitfall="observer-ranges",
        least_scale=least(lambda scale: np.where(scale == 0, F32(2.0**-23), scale)),
    ),
    known(
        "least-range-instead-of-scale",
        "keeps max_abs, and not the scale, at least eps",
        "QP-1",
        SCALES,
        max_abs=lambda p, low, high: np.maximum(p.right.max_abs(low, high), F32(2.0**-23)),
        least_scale=least(lambda scale: scale),
    ),
    known(
        "no-least-scale-of-floats",
        "forgets the least scale for float formats",
        "QP-1 QP-6",
        QPARAMS,
        compute_qparams=lambda p, lo, hi, spec: (
            p.right.compute_qparams(lo, hi, spec)
            if spec.format.is_integer
            else _UNBOUNDED.compute_qparams(lo, hi, spec)
        ),
    ),
)
