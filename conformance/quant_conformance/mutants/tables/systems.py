"""Mutants made after what the systems get wrong that the suite judges (docs/findings.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, patched
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import (
    CODES,
    CODES_AND_GRADIENT,
    FAKE,
    GRADIENT,
    OBSERVE,
    QPARAMS,
    SCALES,
    VALUES,
)
from quant_conformance.mutants.tables.steps import folding
from quant_conformance.protocol import Array
from quant_reference import Format, PerChannel, PerTensor, QParams, QuantizationSpec

F32 = np.float32
LEAST_NORMAL = F32(2.0**-126)


def _greatest_for_nan(
    p: Mutated, x: Array, spec: QuantizationSpec, scale: Array, offset: Any
) -> Any:
    if not spec.format.is_integer or spec.qformulation == "minval":
        return p.right.unclamped_codes(x, spec, scale, offset)
    codes = p.round_code(wrong.fma(p.widen(x), F32(1) / scale, offset))
    return np.where(np.isnan(codes) & ~np.isnan(p.widen(x)), F32(p.codes_in_use(spec)[1]), codes)


def _least_for_nan(p: Mutated, x: Array, spec: QuantizationSpec, scale: Array, offset: Any) -> Any:
    if not spec.format.is_integer or spec.qformulation == "minval":
        return p.right.unclamped_codes(x, spec, scale, offset)
    codes = p.round_code(p.widen(x) * (F32(1) / scale)) + offset
    return np.where(np.isnan(codes) & ~np.isnan(p.widen(x)), F32(p.codes_in_use(spec)[0]), codes)


def _there_and_back(p: Mutated, x: Array, grad: Array, spec: QuantizationSpec, q: QParams) -> Array:
    with np.errstate(all="ignore"):
        found = p.checked_params(x.shape, spec, q, "Q-8")
        scale, offset = (p.spread(each, x.shape) for each in found)
        reciprocal = F32(1) / scale
        codes = p.round_code(p.widen(x) * reciprocal) + offset
        product = p.narrow(p.widen(grad) * scale, x.dtype)
        inside = p.inside(codes, spec)
        back = np.where(inside, product, F32(0)) * reciprocal
        return back.astype(x.dtype)


def _payload(p: Mutated, sign: Array, form: Format) -> Array:
    return sign | 3 if form.nan_code is None else sign | form.nan_code


def _offset_from_least(
    p: Mutated, codes: Array, spec: QuantizationSpec, scale: Array, offset: Any
) -> Array:
    if not spec.format.is_integer or spec.qformulation == "zp":
        return p.right.values_of(codes, spec, scale, offset)
    least = F32(spec.format.quant_min)
    moved = codes - (F32(spec.quant_min) - least)
    return np.asarray(moved * scale + (offset - least * scale))


def _in_float16(scale: Array) -> Array:
    return np.where((scale < F32(2.0**-24)) | (scale > F32(2.0**15)), F32(np.nan), scale)


def _misread(values: Array) -> Array:
    """A subnormal float16: its leading bit still in the fraction, the exponent far too low."""
    half = values.astype(np.float16)
    bits = half.view(np.uint16).astype(np.int32)
    fraction = bits & 0x3FF
    subnormal = ((bits & 0x7C00) == 0) & (fraction > 0)
    length = np.frexp(fraction.astype(np.float32))[1]
    exponent = 97 + 2 * ((length - 1) // 2)
    as_read = (exponent << 23) | ((fraction << np.clip(10 - length, 0, 9)) << 4)
    misread = np.copysign(as_read.astype(np.int32).view(np.float32), values)
    held = (half.astype(np.float32) == values).all()  # else the program widens x instead
    return np.where(subnormal & held, misread, values)


def _in_dtype_of_range(p: Mutated, max_abs: Array, width: float, dtype: Any) -> Any:
    held = p.narrow(np.asarray(F32(width)), dtype)
    if dtype == wrong.BFLOAT16:
        return p.narrow(p.narrow(max_abs * 2, dtype) / held, dtype)
    half = p.narrow(held / 2, dtype)
    return p.narrow(max_abs * p.narrow(1 / half, dtype), dtype)


def _zero_for_nan(p: Mutated, *arguments: Any) -> Array:
    code = p.right.zero_point(*arguments)
    return np.where(np.isnan(code), F32(0), code)  # 0/0


_RUNTIME_STATISTICS: dict[str, Any] = {
    "symmetric_scale": lambda p, max_abs, spec, dtype: _in_dtype_of_range(
        p, max_abs, p.levels(spec), dtype
    ),
    "float_scale": lambda p, max_abs, form, dtype: _in_dtype_of_range(
        p, max_abs, 2 * form.quant_max, dtype
    ),
    "least_scale": lambda p, scale: scale + F32(0),
    "zero_point": _zero_for_nan,
}
"""Scales as the statistics of the Core AI runtime find them: in the range's dtype."""


def _of_vector(p: Mutated, x: Array, spec: QuantizationSpec, target: str) -> QParams:
    if x.ndim != 1 or not isinstance(spec.granularity, PerChannel):
        return p.right.qparams(x, spec, target)
    runtime = patched(**_RUNTIME_STATISTICS)
    whole = runtime.qparams(x, replace(spec, granularity=PerTensor()), target)
    right = p.right.qparams(x, spec, target)
    first = np.arange(x.size) == 0
    return replace(right, scale=np.where(first, whole.scale, F32(np.inf)).astype(np.float32))


SYSTEMS = (
    known(
        "zero-point-fused-nan-as-greatest",
        "computes rint(fma(x, 1/scale, zero_point)) and stores the greatest code for 0 * inf",
        "Q-1 Q-3",
        CODES_AND_GRADIENT,
        unclamped_codes=_greatest_for_nan,
    ),
    known(
        "reciprocal-nan-as-least",
        "multiplies by 1/scale and takes the least code for 0 * inf",
        "Q-1 Q-2",
        CODES,
        unclamped_codes=_least_for_nan,
    ),
    known(
        "mask-by-reciprocal",
        "multiplies the gradient by a mask that is found with 1/scale",
        "GRAD-1 GRAD-2",
        GRADIENT,
        divide=lambda p, x, scale: x * (F32(1) / scale),
        masked=lambda p, grad, inside: (grad * inside.astype(grad.dtype)).astype(grad.dtype),
    ),
    known(
        "zero-point-of-nan-greatest",
        "gives quant_max for the zero point beside a NaN scale",
        "QP-8",
        QPARAMS,
        zero_code_nonfinite=lambda p, form: form.quant_max,
    ),
    known(
        "dynamic-incremental",
        "computes r + 1 * (new - r) in a dynamic observer",
        "OBS-4",
        OBSERVE,
        fold=folding(
            "dynamic",
            lambda p, old, new: tuple(o + (n - o) for o, n in zip(old, new, strict=True)),
        ),
    ),
    known(
        "gradient-there-and-back",
        "computes (grad * scale) * (1/scale)",
        "GRAD-1",
        GRADIENT,
        fake_quantize_gradient=_there_and_back,
    ),
    known(
        "float4-nan-as-number",
        "encodes NaN as the float4 number 1.5",
        "ENC-4",
        ("encode",),
        nan_code=_payload,
    ),
    known(
        "e8m0-infinity-at-face-value",
        "gives NaN for the e8m0 scale of NaN, but 2^(128 - max_pow2) for that of an infinity",
        "QP-8",
        QPARAMS,
        e8m0_nonfinite=lambda p, scale, max_abs: np.where(np.isnan(max_abs), F32(np.nan), scale),
    ),
    known(
        "least-e8m0-divided-as-normal",
        "divides by 2^-126 where the scale is 2^-127",
        "FQ-1",
        FAKE,
        quotient=lambda p, x, scale: p.divide(p.widen(x), np.maximum(scale, LEAST_NORMAL)),
    ),
    known(
        "statistics-in-dtype",
        "multiplies by the reciprocal of half the width, all in x's dtype, without a least scale",
        "QP-1 QP-2 QP-6 QP-9",
        SCALES,
        **_RUNTIME_STATISTICS,
    ),
    known(
        "vector-reduced-to-first",
        "takes the greatest element of a vector for its first channel, and infinity for the rest",
        "GRAN-2",
        QPARAMS,
        qparams=_of_vector,
    ),
    known(
        "clipping-not-clamped",
        "clamps to the whole format under symmetric_with_clipping",
        "Q-3 SPEC-6",
        CODES,
        # The codes that clipping leaves are symmetric, those of a whole format are not.
        clamp=lambda p, v, low, high: np.clip(v, F32(low - (low == -high)), F32(high)),
    ),
    known(
        "float16-subnormal-minval-misread",
        "misreads a minval that is subnormal in the float16 of x",
        "Q-4",
        CODES,
        above_minval=lambda p, x, minval: (
            p.widen(x) - (_misread(minval) if x.dtype == wrong.FLOAT16 else minval)
        ),
    ),
    known(
        "fake-nan-as-code-0",
        "dequantizes the integer 0 where x is NaN",
        "FQ-2",
        FAKE,
        values_of=lambda p, codes, spec, scale, offset: p.right.values_of(
            np.where(np.isnan(codes), F32(0), codes), spec, scale, offset
        ),
        with_nan=lambda p, values, clamped, form: values,
    ),
    known(
        "blockwise-offset-in-front",
        "computes q * scale + (minval - zero_point * scale)",
        "DQ-1 DQ-2",
        ("dequantize",),
        values_of=lambda p, codes, spec, scale, offset: (
            p.right.values_of(codes, spec, scale, offset)
            if not spec.format.is_integer
            else codes * scale + (F32(0) - offset * scale)
            if spec.qformulation == "zp"
            else codes * scale + (offset - F32(p.codes_in_use(spec)[0]) * scale)
        ),
    ),
    known(
        "blockwise-offset-from-least",
        "computes q * scale + (minval - least * scale), counting from the format's least code",
        "DQ-2 SPEC-6",
        ("dequantize",),
        values_of=_offset_from_least,
    ),
    known(
        "zero-added-to-product",
        "adds +0 to the product of a float code and its scale, which turns -0 into +0",
        "DQ-3",
        VALUES,
        pitfall="negative-zero",
        values_of=lambda p, codes, spec, scale, offset: (
            p.right.values_of(codes, spec, scale, offset)
            + (F32(-0.0) if spec.format.is_integer else F32(0))
        ),
    ),
    known(
        "e8m0-scale-through-float16",
        "reads e8m0 scales outside of float16 as NaN",
        "DQ-3",
        ("dequantize",),
        pitfall="e8m0",
        values_of=lambda p, codes, spec, scale, offset: p.right.values_of(
            codes, spec, _in_float16(scale) if spec.scale_dtype else scale, offset
        ),
    ),
)
