"""quantize: inputs found by search, on which a nearly right division goes wrong (Q-1, Q-4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.data import at_codes
from quant_conformance.generate.families.elementwise import ask, half_codes, params_of
from quant_conformance.generate.floats import around, cast
from quant_conformance.generate.layouts import make_spec
from quant_conformance.generate.rivals import DIVISIONS, OFFSETS, Rival, keep
from quant_conformance.generate.streams import integers, reals
from quant_reference import PerChannel, QParams, QuantizationSpec

Array = NDArray[Any]

_ZP_KINDS = (
    "int8-sym-zp",
    "uint8-asym-zp",
    "int4-sym-zp",
    "int8-clip-zp",
    "uint4-asym-zp",
    "int2-asym-zp",
)
_MINVAL_KINDS = ("int8-sym-minval", "uint8-asym-minval", "int4-asym-minval", "uint2-sym-minval")
_NARROW = {
    "float16": ("reciprocal", "float64", "float16-quotient", "float16-scale"),
    "bfloat16": ("reciprocal", "float64", "bfloat16-quotient", "bfloat16-scale"),
}
_ROWS, _SCALES = 6, 24
Found = tuple[Any, float, Array]  # scale, offset, the x that tell


def build(builder: Builder) -> None:
    """Add the searched part of the family."""
    for kind in _ZP_KINDS:
        for name, (rival, flag) in DIVISIONS.items():
            _division(builder, kind, "float32", name, rival, flag)
        for dtype, names in _NARROW.items():
            for name in names:
                if kind in _ZP_KINDS[:3]:
                    _division(builder, kind, dtype, name, *DIVISIONS[name])
    for kind in _MINVAL_KINDS:
        for name, (rival, flag) in OFFSETS.items():
            _offset(builder, kind, name, rival, flag)


def _division(builder: Builder, kind: str, dtype: str, name: str, rival: Rival, flag: str) -> None:
    spec = make_spec(kind)
    label = f"quantize/search/{kind}/{dtype}/{name}"
    found: list[Found] = []
    for index, scale in enumerate(np.abs(reals(label, (_SCALES,), exponents=(-8, 1)))):
        point = int(integers(f"{label}/{index}", (1,), int(spec.quant_min), int(spec.quant_max))[0])
        params = params_of(spec, scale, point if spec.qscheme == "asymmetric" else None)
        zero_point = np.float32(0 if params.zero_point is None else params.zero_point[0])
        x = _candidates(spec, params, dtype)
        wide = x.astype(np.float32)
        with np.errstate(all="ignore"):
            right = _clamped(np.rint(wide / scale) + zero_point, spec)
            wrong = _clamped(np.rint(rival(wide, scale)) + zero_point, spec)
        found.append((scale, int(zero_point), x[keep(right != wrong, 24)]))
    _add(
        builder, f"division/{kind}-{dtype}-{name}", spec, found, flag, f"x/scale computed as {name}"
    )


def _offset(builder: Builder, kind: str, name: str, rival: Rival, flag: str) -> None:
    spec = make_spec(kind)
    label = f"quantize/search/{kind}/{name}"
    found: list[Found] = []
    for index, scale in enumerate(np.abs(reals(label, (_SCALES,), exponents=(-8, 1)))):
        minval = np.float32(-np.abs(reals(f"{label}/{index}", (1,), exponents=(-2, 5))[0]))
        params = params_of(spec, scale, None, 1, minval)
        x = _candidates(spec, params, "float32")
        with np.errstate(all="ignore"):
            right = _clamped(np.rint((x - minval) / scale) + np.float32(spec.quant_min), spec)
            wrong = _clamped(rival(x, scale, minval) + np.float32(spec.quant_min), spec)
        found.append((scale, float(minval), x[keep(right != wrong, 24)]))
    _add(
        builder,
        f"offset/{kind}-{name}",
        spec,
        found,
        flag,
        f"(x - minval)/scale computed as {name}",
    )


def _candidates(spec: QuantizationSpec, params: Any, dtype: str) -> Array:
    """Numbers on and just beside every tie, and some in between."""
    halves = np.concatenate([half_codes(spec), half_codes(spec) + 0.4990234375])
    return around(cast(at_codes(halves, spec, params), dtype), (-2, -1, 0, 1, 2)).ravel()


def _clamped(codes: Array, spec: QuantizationSpec) -> Array:
    return np.clip(codes, spec.quant_min, spec.quant_max)


def _add(
    builder: Builder,
    case: str,
    spec: QuantizationSpec,
    found: list[Found],
    flag: str,
    comment: str,
) -> None:
    """One case with the most telling scale, and one with a channel for each of several scales."""
    found = sorted(found, key=lambda entry: -entry[2].size)
    scale, offset, x = found[0]
    if x.size == 0:
        return
    text = f"differs if {comment}"
    ask(builder, case, "quantize", spec, _params(spec, scale, offset), x, flag, text)
    width = min(4, found[min(_ROWS, len(found)) - 1][2].size)
    if width == 0:
        return
    rows = make_rows(spec)
    scales, offsets, tensors = zip(*found[:_ROWS], strict=True)
    x = np.stack([t[keep(np.ones(t.size, bool), width)] for t in tensors])
    ask(
        builder,
        f"{case}-rows",
        "quantize",
        rows,
        _params(rows, scales, offsets, 2),
        x,
        flag,
        text,
        target="weight",
    )


def _params(spec: QuantizationSpec, scale: Any, offset: Any, rank: int = 1) -> QParams:
    if spec.qformulation == "zp":
        return params_of(spec, scale, offset, rank)
    return params_of(spec, scale, None, rank, offset)


def make_rows(spec: QuantizationSpec) -> QuantizationSpec:
    """Return the spec with one block per index of axis 0."""
    return QuantizationSpec.from_dict({**spec.to_dict(), "granularity": PerChannel(0).to_dict()})
