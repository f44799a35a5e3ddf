"""gradient: straight through inside the range, zero outside (GRAD-1 to GRAD-4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.data import at_codes
from quant_conformance.generate.families.elementwise import ask, params_of, zero_points
from quant_conformance.generate.families.quantize_float import float_kinds
from quant_conformance.generate.families.quantize_rounding import integer_kinds
from quant_conformance.generate.floats import DTYPES, around, cast, f32
from quant_conformance.generate.layouts import make_spec
from quant_conformance.generate.policies import unclamped
from quant_conformance.generate.streams import reals
from quant_reference import PerChannel, QParams, QuantizationSpec

Array = NDArray[Any]

_INF, _NAN = float("inf"), float("nan")


def build(builder: Builder) -> None:
    """Add the targeted part of the family."""
    for index, kind in enumerate([*integer_kinds(), *float_kinds()]):
        _edges(builder, kind, index)
        _special_gradients(builder, kind, index)
        _not_finite(builder, kind, index)
        _zero_sign(builder, kind, index)
    for kind in ("int8-sym-zp", "uint8-asym-zp", "int4-asym-minval", "float8_e4m3fn-scale32"):
        _shapes(builder, kind)


def _params(spec: QuantizationSpec, index: int, scale: float = 0.25, rank: int = 1) -> QParams:
    points = zero_points(spec) if spec.format.is_integer else [0]
    return params_of(spec, scale, points[index % len(points)], rank)


def inside(x: Array, spec: QuantizationSpec, params: QParams) -> NDArray[np.bool_]:
    """Tell where the gradient passes."""
    inputs = {"x": x, "scale": params.scale}
    if params.zero_point is not None and params.minval is not None:
        inputs |= {"zero_point": params.zero_point, "minval": params.minval}
    code = unclamped(inputs, spec)
    within: NDArray[np.bool_] = (code >= spec.quant_min) & (code <= spec.quant_max)
    return within


def _edge_values(spec: QuantizationSpec, params: QParams, dtype: str) -> Array:
    """Numbers on, just inside and just outside both ends of the range."""
    if spec.format.is_integer:
        low, high = spec.quant_min, spec.quant_max
        codes = np.array(
            [
                low - 1,
                low - 0.5,
                low,
                low + 0.5,
                0,
                high - 0.5,
                high,
                high + 0.5,
                high + 1,
                low - 0.75,
                low - 0.25,
                high + 0.25,
                high + 0.75,
                high + 300,
                low - 300,
            ]
        )
        exact = at_codes(codes, spec, params)
    else:
        top = spec.quant_max
        ends = np.array([0.0, 0.5 * top, top, 1.01 * top, 1.04 * top, 1.25 * top, 10 * top])
        exact = np.concatenate([ends, -ends]) * float(params.scale.ravel()[0])
    return around(cast(exact, dtype)).ravel()


def _edges(builder: Builder, kind: str, index: int) -> None:
    spec = make_spec(kind)
    for dtype in dict.fromkeys(("float32", DTYPES[index % 3])):
        for scale in (0.25, 0.3) if spec.scale_dtype is None else (0.25,):
            params = _params(spec, index, scale)
            x = _edge_values(spec, params, dtype)
            grad = np.abs(reals(f"gradient/edges/{kind}/{dtype}/{scale}", x.shape, dtype))
            # Inside, every other gradient is negative.
            flip = inside(x, spec, params) & (np.arange(x.size) % 2 == 1)
            ask(
                builder,
                f"edges/{kind}-{dtype}-{scale:g}",
                "gradient",
                spec,
                params,
                x,
                "ClippedGradient",
                "both ends of the range and their neighbours",
                grad=np.where(flip, -grad, grad),
            )


def _special_gradients(builder: Builder, kind: str, index: int) -> None:
    spec, dtype = make_spec(kind), DTYPES[index % 3]
    params = _params(spec, index)
    outside = cast(at_ends(spec, params), dtype)
    within = cast(at_middle(spec, params), dtype)
    stopped = np.array([_INF, _NAN, 0.0, 1e38, 2.0**-140, 3.0])
    passed = np.array(
        [_INF, -_INF, _NAN, -0.0, 0.0, -1e38, 2.0**-140, -(2.0**-140), 1 / 3, -65504.0, 2.0**-24]
    )
    x = np.concatenate([np.resize(outside, stopped.size), np.resize(within, passed.size)])
    grad = cast(np.concatenate([stopped, passed]), dtype)
    ask(
        builder,
        f"special/{kind}-{dtype}",
        "gradient",
        spec,
        params,
        x,
        "GradientMask ScaledGradient NegativeZero",
        "infinities, NaN, zeros and subnormals: passed bit for bit inside, +0 outside",
        grad=grad,
        clauses="GRAD-4",
    )


def at_ends(spec: QuantizationSpec, params: QParams) -> Array:
    """Return numbers far outside the range on both sides."""
    if spec.format.is_integer:
        return at_codes(np.array([spec.quant_min - 5.0, spec.quant_max + 5.0]), spec, params)
    return np.array([-2.0, 2.0]) * spec.quant_max * float(params.scale.ravel()[0])


def at_middle(spec: QuantizationSpec, params: QParams) -> Array:
    """Return numbers inside the range."""
    if spec.format.is_integer:
        middle = (spec.quant_min + spec.quant_max) / 2
        return at_codes(np.array([middle, middle + 0.7, middle - 0.3]), spec, params)
    return np.array([0.5, -0.3, 0.01]) * spec.quant_max * float(params.scale.ravel()[0])


def _not_finite(builder: Builder, kind: str, index: int) -> None:
    spec, dtype = make_spec(kind), DTYPES[(index + 1) % 3]
    params = _params(spec, index)
    within = at_middle(spec, params)
    x = cast(np.array([_NAN, within[0], _INF, within[1], -_INF, 1e38, -1e38, within[2]]), dtype)
    grad = cast(np.array([1.0, -2.0, 3.0, -4.0, 5.0, 6.0, _INF, 8.0]), dtype)
    ask(
        builder,
        f"not-finite/{kind}-{dtype}",
        "gradient",
        spec,
        params,
        x,
        "ClippedGradient NaNInRange Infinity",
        "NaN and infinities in x are outside the range",
        grad=grad,
        clauses="GRAD-4",
    )
    rows = make_spec(kind, PerChannel(0))
    wild = [0.5, np.nan, 2.0] if spec.scale_dtype else [0.5, np.nan, _INF]
    chosen = params_of(rows, wild, None, 2, [-1.0, -1.0, -2.0])
    x = f32(0.0, 0.4, 1.0, 0.0, 0.4, 1.0, 0.0, 0.4, 1.0).reshape(3, 3)
    ask(
        builder,
        f"scale-not-finite/{kind}",
        "gradient",
        rows,
        chosen,
        x,
        "ClippedGradient NaNInRange",
        "a NaN scale passes nothing; over an infinite one everything is zero, and inside",
        grad=np.arange(1, 10, dtype=np.float32).reshape(3, 3),
        clauses="GRAD-4 Q-8",
        target="weight",
    )


def _zero_sign(builder: Builder, kind: str, index: int) -> None:
    """Negative gradients outside: +0, or -0 as a product with a mask gives."""
    spec, dtype = make_spec(kind), DTYPES[(index + 2) % 3]
    params = _params(spec, index)
    x = cast(
        np.concatenate([at_ends(spec, params), at_middle(spec, params)[:2], at_ends(spec, params)]),
        dtype,
    )
    grad = cast(np.array([-1.0, 2.0, -3.0, 4.0, -0.0, -5.0]), dtype)
    ask(
        builder,
        f"zero-sign/{kind}-{dtype}",
        "gradient",
        spec,
        params,
        x,
        "GradientMask NegativeZero",
        "negative gradients outside the range",
        grad=grad,
        policy="zero_gradient_sign",
    )


def _shapes(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    for name, shape in {
        "scalar": (),
        "single": (1,),
        "ones": (1, 1, 1),
        "tall": (4, 1),
        "empty": (0, 2),
    }.items():
        x = np.abs(reals(f"gradient/shape/{kind}/{name}", shape, exponents=(-3, -2)))
        grad = reals(f"gradient/shape/{kind}/{name}/grad", shape)
        ask(
            builder,
            f"shape/{kind}-{name}",
            "gradient",
            spec,
            params_of(spec, 0.25, None, len(shape)),
            x,
            "EmptyAndScalar",
            f"a tensor of shape {shape}",
            grad=grad,
        )
