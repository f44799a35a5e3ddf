"""Adversarial qparams and tensors: what tells a nearly right implementation from a right one.

``mixed`` puts ties, values one step beside ties, edges, clipped values, zeros and tiny values
into every block, so that each case of the broad coverage can catch most bugs by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.floats import cast, midpoints, step
from quant_conformance.generate.streams import Shape, integers, pick, reals, words
from quant_reference import QParams, QuantizationSpec
from quant_reference.blocks import spread
from quant_reference.qparams import zero_code

Array = NDArray[Any]
Float64 = NDArray[np.float64]

_EXPONENTS = {"float8_e5m2": (-9, -2), "float8_e4m3fn": (-7, 0)}
"""Exponents of scales; values must stay in float16's range."""


def levels(spec: QuantizationSpec) -> int:
    """Return the number of steps between the least and the greatest code in use."""
    return int(spec.quant_max - spec.quant_min)


def scales(label: str, blocks: Shape, spec: QuantizationSpec) -> Array:
    """Return scales whose exponents differ from each block to the next.

    Half of them have four significant bits, so that products with small codes are exact and ties
    are real; the others have full fractions, so that division and its imitations part.
    """
    count = prod(blocks)
    low, high = _EXPONENTS.get(spec.dtype, (-6, 1))
    span = high - low + 1
    start = int(words(f"{label}/scale", 1)[0]) % span
    # A stride of 3 visits every exponent of the span once before it comes back.
    exponents = low + (start + 3 * np.arange(count)) % span
    if spec.scale_dtype is not None:
        powers: Array = np.ldexp(np.float32(1), exponents)
        return powers.reshape(blocks)
    full = np.abs(reals(f"{label}/scale", (count,), exponents=(0, 0)))
    short = (8 + integers(f"{label}/short", (count,), 0, 7)).astype(np.float32) / np.float32(8)
    fraction = np.where(np.arange(count) % 2 == start % 2, full, short)
    found: Array = np.ldexp(fraction, exponents).astype(np.float32)
    return found.reshape(blocks)


def qparams(label: str, blocks: Shape, spec: QuantizationSpec) -> QParams:
    """Return qparams that are legal for the spec and differ from block to block."""
    scale = scales(label, blocks, spec)
    if not spec.format.is_integer:
        return QParams(scale)
    if spec.qscheme == "asymmetric":
        least, greatest = int(spec.quant_min), int(spec.quant_max)
        zero_point = integers(f"{label}/zero_point", blocks, least, greatest)
        share = integers(f"{label}/minval", blocks, 1, 1023) / 1024.0
        minval = -(scale.astype(np.float64) * levels(spec) * share)
    else:
        zero_point = np.full(blocks, zero_code(spec.format))
        minval = -(scale.astype(np.float64) * levels(spec) / 2)
    return QParams(scale, zero_point.astype(np.int32), minval.astype(np.float32))


def mixed(label: str, shape: Shape, spec: QuantizationSpec, params: QParams, dtype: str) -> Array:
    """Return a tensor of ties, near ties, edges, clipped values, whole steps, zeros and trifles."""
    make = _mixed_integer if spec.format.is_integer else _mixed_float
    return make(label, shape, spec, params, dtype)


def at_codes(codes: Array, spec: QuantizationSpec, params: QParams) -> Float64:
    """Return the real numbers that quantize to (fractional) integer codes.

    Args:
        codes: Real code per element, for example 3.5 for the tie between 3 and 4.
        spec: Gives the formulation.
        params: Qparams that tile ``codes``.
    """
    scale = spread(params.scale, codes.shape).astype(np.float64)
    if spec.qformulation == "minval":
        minval = spread(_given(params.minval), codes.shape).astype(np.float64)
        return (codes - spec.quant_min) * scale + minval
    zero_point = spread(_given(params.zero_point), codes.shape).astype(np.float64)
    return (codes - zero_point) * scale


def _given(value: Array | None) -> Array:
    if value is None:
        raise ValueError("the qparams lack the field of the formulation")
    return value


def _mixed_integer(
    label: str, shape: Shape, spec: QuantizationSpec, params: QParams, dtype: str
) -> Array:
    count = prod(shape)
    kind = pick(f"{label}/kind", count, 10).reshape(shape)
    draw = words(f"{label}/draw", count).reshape(shape)
    side = np.where(draw & 1, 1.0, -1.0)
    low, high = int(spec.quant_min), int(spec.quant_max)
    whole = integers(f"{label}/code", shape, low, high - 1).astype(np.float64)
    edge = np.where(side > 0, high, low).astype(np.float64)
    far = np.array([0.4, 1.0, 2.5, 300.0])[(draw >> 1) % 4]
    real = np.select(
        [kind <= 4, kind == 5, kind == 6, kind == 7],
        [whole + 0.5, whole + draw / 2.0**32, edge + side * 0.5, edge + side * far],
        whole,
    )
    return _finish(label, at_codes(real, spec, params), kind, draw, params, dtype)


def _mixed_float(
    label: str, shape: Shape, spec: QuantizationSpec, params: QParams, dtype: str
) -> Array:
    count = prod(shape)
    kind = pick(f"{label}/kind", count, 10).reshape(shape)
    draw = words(f"{label}/draw", count).reshape(shape)
    side = np.where(draw & 1, 1.0, -1.0)
    halves = midpoints(spec.dtype).astype(np.float64)
    tie = halves[integers(f"{label}/tie", shape, 0, len(halves) - 1)]
    biggest = spec.quant_max
    far = np.array([1.01, 1.035, 1.25, 20.0])[(draw >> 1) % 4]
    real = np.select(
        [kind <= 4, kind == 5, kind == 6, kind == 7],
        [tie, tie * (1 + draw / 2.0**32), np.full(shape, biggest), biggest * far],
        np.minimum(tie * (1 + draw / 2.0**33), biggest),
    )
    exact = side * real * spread(params.scale, shape).astype(np.float64)
    return _finish(label, exact, kind, draw, params, dtype)


def _finish(
    label: str,
    exact: Float64,
    kind: NDArray[np.int64],
    draw: NDArray[np.uint32],
    params: QParams,
    dtype: str,
) -> Array:
    """Round to the dtype, move kinds 3, 4 and 6 by one step, and put trifles into kind 8."""
    rounded = cast(exact, dtype)
    sixth = np.array([0, 1, -1])[(draw >> 3) % 3]
    moved = step(rounded, np.select([kind == 3, kind == 4, kind == 6], [1, -1, sixth], 0))
    scale = spread(params.scale, exact.shape).astype(np.float64)
    trifles: list[Callable[[Float64], Float64]] = [
        lambda s: s * 0.0,
        lambda s: s * -0.0,
        lambda s: s * 2.0**-20,
        lambda s: s * -(2.0**-20),
        lambda s: s * -0.25,
    ]
    trifle = np.select(
        [(draw >> 5) % 5 == i for i in range(len(trifles))], [make(scale) for make in trifles]
    )
    return np.where(kind == 8, cast(trifle, dtype), moved)


def gradients(label: str, shape: Shape, inside: NDArray[np.bool_], dtype: str) -> Array:
    """Return incoming gradients: any sign inside the range, +0, +inf, NaN and positive outside."""
    values = reals(f"{label}/grad", shape, dtype, exponents=(-6, 6))
    draw = words(f"{label}/special", prod(shape)).reshape(shape) % 8
    special = np.array([0.0, -0.0, np.nan, np.inf], np.float32).astype(values.dtype)
    passed = np.where(draw < 2, special[draw % 4], values)
    stopped = np.where(draw < 3, special[np.array([0, 2, 3, 0])[draw % 4]], np.abs(values))
    return np.where(inside, passed, stopped)
