"""Mutants that accept tensors and qparams which must be refused (SPEC.md, Q-8, DQ-4, ENC-6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import APPLIED, DECODED
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import Format, QParams, QuantizationSpec


def _params(repair: Callable[[QParams, QuantizationSpec], QParams]) -> Step:
    """Checks qparams as if they had been repaired, and uses them as they are."""

    def check_params(
        p: Mutated, shape: Any, spec: QuantizationSpec, qparams: QParams, clause: str
    ) -> None:
        p.right.check_params(shape, spec, repair(qparams, spec), clause)

    return check_params


def _scales(repair: Callable[[Array], Any]) -> Step:
    """The same, for scales alone."""
    return _params(lambda q, spec: replace(q, scale=np.asarray(repair(q.scale), q.scale.dtype)))


def _one_block(qparams: QParams, spec: QuantizationSpec) -> QParams:
    """Legal qparams of one block whatever the rank, so that no shape is refused."""
    fields = {
        name: np.asarray(value).reshape(-1)[:1].reshape(())
        for name in ("scale", "zero_point", "minval")
        if (value := getattr(qparams, name)) is not None
    }
    return replace(qparams, **fields)


def _any_shape(
    p: Mutated, shape: Any, spec: QuantizationSpec, qparams: QParams, clause: str
) -> None:
    p.right.check_params((), spec, _one_block(qparams, spec), clause)


def _resized(p: Mutated, parameter: Array, shape: tuple[int, ...]) -> Array:
    fits = parameter.ndim == len(shape) and not any(
        n % c if c else n for n, c in zip(shape, parameter.shape, strict=True)
    )
    if fits:
        return p.right.spread(parameter, shape)
    return np.asarray(np.resize(parameter, shape), F32)


def _is_power(scale: Array) -> Array:
    return np.asarray(np.isnan(scale) | (np.frexp(scale)[0] == 0.5))


def _codes(repair: Callable[[Array, Format], Array]) -> Step:
    """Checks codes as if they had been repaired, and uses them as they are."""

    def code_array(p: Mutated, codes: Array, form: Format, clause: str) -> Array:
        p.right.code_array(repair(codes, form), form, clause)
        return codes

    return code_array


def _within(codes: Array, form: Format) -> Array:
    if form.is_integer:
        return np.clip(codes, form.quant_min, form.quant_max).astype(codes.dtype)
    return np.asarray(codes & np.array(2**form.bits - 1, codes.dtype))


def _e8m0(repair: Callable[[Array], Any]) -> Step:
    """Checks values for e8m0 as if they had been repaired, and encodes them as they are."""
    return lambda p, values: p.right.check_scale_values(np.asarray(repair(values), F32))


REFUSALS = (
    known(
        "illegal-qparams-accepted",
        "accepts scales that are not positive, zero points out of range and blocks that do not fit",
        "Q-8",
        APPLIED,
        check_params=lambda p, shape, spec, qparams, clause: None,
        spread=_resized,
    ),
    known(
        "zero-scale-accepted",
        "accepts a scale of zero",
        "Q-8",
        APPLIED,
        check_params=_scales(lambda s: np.where(s == 0, 1, s)),
    ),
    known(
        "negative-scale-accepted",
        "accepts negative scales",
        "Q-8",
        APPLIED,
        check_params=_scales(lambda s: np.where(s < 0, -s, s)),
    ),
    known(
        "zero-point-out-of-range-accepted",
        "accepts zero points outside quant_min … quant_max",
        "Q-8",
        APPLIED,
        pitfall="zero-point",
        check_params=_params(
            lambda q, spec: (
                q
                if q.zero_point is None
                else replace(
                    q,
                    zero_point=np.clip(q.zero_point, int(spec.quant_min), int(spec.quant_max)),
                )
            )
        ),
    ),
    known(
        "scale-of-other-dtype-accepted",
        "accepts scales that are not float32",
        "Q-8",
        APPLIED,
        check_params=_params(lambda q, spec: replace(q, scale=q.scale.astype(F32))),
    ),
    known(
        "e8m0-scale-not-a-power-accepted",
        "accepts scales that are no powers of two where e8m0 is asked for",
        "Q-8",
        APPLIED,
        pitfall="e8m0",
        check_params=_scales(lambda s: np.where(_is_power(s) | (s <= 0), s, 1)),
    ),
    known(
        "misfitting-qparams-accepted",
        "repeats qparams whose shape does not fit the tensor",
        "Q-8",
        APPLIED,
        pitfall="blocks",
        check_params=_any_shape,
        spread=_resized,
    ),
    known(
        "wide-codes-accepted",
        "accepts codes outside the format's width",
        "DEC-1 DQ-4",
        (*DECODED, "pack"),
        code_array=_codes(_within),
    ),
    known(
        "codes-of-other-dtype-accepted",
        "accepts codes of another dtype than the format's",
        "DEC-1 DQ-4",
        DECODED,
        code_array=_codes(lambda codes, form: codes.astype(form.code_dtype)),
    ),
    known(
        "e8m0-of-zero-accepted",
        "encodes 0 to float8_e8m0fnu instead of refusing it",
        "ENC-6",
        ("encode",),
        pitfall="e8m0",
        check_scale_values=_e8m0(lambda v: np.where(v == 0, 1, v)),
    ),
    known(
        "e8m0-of-negative-accepted",
        "encodes negative powers of two to float8_e8m0fnu by their magnitude",
        "ENC-6",
        ("encode",),
        pitfall="e8m0",
        check_scale_values=_e8m0(np.abs),
    ),
    known(
        "e8m0-of-infinity-accepted",
        "encodes infinity to float8_e8m0fnu as NaN",
        "ENC-6",
        ("encode",),
        pitfall="e8m0",
        check_scale_values=_e8m0(lambda v: np.where(v == np.inf, 1, v)),
    ),
    known(
        "e8m0-not-a-power-accepted",
        "rounds what is no power of two to float8_e8m0fnu",
        "ENC-6",
        ("encode",),
        pitfall="e8m0",
        check_scale_values=_e8m0(
            lambda v: np.where(np.isfinite(v) & (v > 0), np.ldexp(F32(1), np.frexp(v)[1] - 1), v)
        ),
    ),
)
