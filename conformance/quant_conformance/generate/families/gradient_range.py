"""gradient: scales, sizes and tails on which a test of the range goes wrong (GRAD-1 to GRAD-3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.data import at_codes
from quant_conformance.generate.families.elementwise import ask, params_of
from quant_conformance.generate.families.quantize_float import float_kinds
from quant_conformance.generate.floats import around, cast, f32
from quant_conformance.generate.layouts import QUICK_TAILS, make_spec
from quant_conformance.generate.rivals import keep
from quant_conformance.generate.streams import reals
from quant_reference import QParams, QuantizationSpec

Array = NDArray[Any]

_KINDS = ("int8-sym-zp", "uint8-asym-zp", "int4-asym-minval", "int2-clip-zp", *float_kinds())
_SIZES = (2.0**8, 2.0**16, 2.0**24, 2.0**31, 2.0**32, 2.0**40, 2.0**63, 2.0**64, 1e20, 1e30)


def build(builder: Builder) -> None:
    """Add the part of the family."""
    for kind in _KINDS:
        _scales(builder, kind)
        _huge(builder, kind)
        _tails(builder, kind)
    for kind in ("float8_e4m3fn-scale32", "float8_e5m2-scale32"):
        _beside_max(builder, kind)


def _ends(spec: QuantizationSpec, params: QParams) -> Array:
    """Real numbers at, just inside and outside both ends of the range, as float64."""
    if spec.format.is_integer:
        low, high = spec.quant_min, spec.quant_max
        codes = np.array([low - 1.0, low - 0.5, low, 0, high, high + 0.5, high + 1.0])
        return at_codes(codes, spec, params)
    top = spec.quant_max * np.array([1.2, 1.0, 0.5, 0.0])
    return np.concatenate([-top, top]) * params.scale.astype(np.float64)


def _positive(count: int) -> Array:
    return np.arange(1, count + 1).astype(np.float32)


def _scales(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    scales = {"least": 2.0**-127, "normal": 2.0**-126, "small": 2.0**-60, "large": 2.0**100}
    if spec.scale_dtype is None:
        scales |= {"subnormal": 2.0**-149, "odd": 9 * 2.0**-149}
    for name, scale in scales.items():
        params = params_of(spec, np.float32(scale), None, 1, np.float32(-3 * scale))
        x = _ends(spec, params).astype(np.float32)
        ask(
            builder,
            f"scale/{kind}-{name}",
            "gradient",
            spec,
            params,
            x,
            "ClippedGradient Subnormals",
            f"both ends of the range at a scale of {scale:g}",
            grad=_positive(x.size),
            clauses="Q-8",
        )
    if spec.format.is_integer:
        params = params_of(spec, 2.0**-23, None, 1, -(2.0**-22))
        x = cast(_ends(spec, params), "float16")
        ask(
            builder,
            f"scale/{kind}-float16",
            "gradient",
            spec,
            params,
            x,
            "ClippedGradient Subnormals",
            "subnormal float16 numbers",
            grad=_positive(x.size).astype(x.dtype),
        )


def _huge(builder: Builder, kind: str) -> None:
    """Sizes at which a code that was cast to an integer too early comes back into the range."""
    spec = make_spec(kind)
    for dtype in ("float32", "bfloat16"):
        x = cast(np.concatenate([_SIZES, -np.array(_SIZES), [1.0]]), dtype)
        ask(
            builder,
            f"huge/{kind}-{dtype}",
            "gradient",
            spec,
            params_of(spec, 1.0),
            x,
            "ClippedGradient CastBeforeClamp",
            "numbers that no integer type holds are outside",
            grad=cast(_positive(x.size), dtype),
            clauses="Q-7",
        )


def _tails(builder: Builder, kind: str) -> None:
    """Ties at the ends of the range, in every place of a vector and its tail."""
    spec = make_spec(kind)
    params = params_of(spec, 0.25)
    if spec.format.is_integer:
        low, high = spec.quant_min, spec.quant_max
        values = at_codes(np.array([low - 0.5, high + 0.5]), spec, params)
    else:
        values = np.array([1.0, -1.0, 1.01]) * spec.quant_max * 0.25
    for length in sorted(QUICK_TAILS)[:: 1 if kind == "int8-sym-zp" else 4]:
        x = cast(np.resize(values, length), "float32")
        ask(
            builder,
            f"end-tail/{kind}-length{length}",
            "gradient",
            spec,
            params,
            x,
            "TailElements ClippedGradient TiesToEven",
            f"{length} numbers at the ends of the range",
            grad=_positive(length),
        )


def _beside_max(builder: Builder, kind: str) -> None:
    """Numbers for which x/scale <= max and x <= max*scale disagree."""
    spec = make_spec(kind)
    top = np.float32(spec.quant_max)
    rows: list[Array] = []
    scales: list[float] = []
    for scale in np.abs(reals(f"gradient/beside-max/{kind}", (64,), exponents=(-6, 0))):
        x = around(np.asarray([top * scale]), (-2, -1, 0, 1, 2)).ravel()
        if keep((x / scale <= top) != (x <= top * scale), 1).size and len(rows) < 6:
            rows.append(np.concatenate([x, -x]))
            scales.append(scale)
    for part, (x, scale) in enumerate(zip(rows, scales, strict=True)):
        ask(
            builder,
            f"beside-max/{kind}-{part}",
            "gradient",
            spec,
            params_of(spec, scale),
            x,
            "ClippedGradient",
            "the test is on x/scale, not on x",
            grad=f32(*range(1, x.size + 1)),
        )
