"""Mutants of whole layers: their operands, sums, formulas and codes (SPEC.md, 15)."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from quant_conformance.mutants.exchanged import Mutated
from quant_conformance.mutants.model import known
from quant_conformance.mutants.wrong import F32
from quant_conformance.protocol import Array
from quant_reference import QParams
from quant_reference.admissible import Layer, QuantizedTensor

FAMILY = ("layer",)


def _narrow(p: Mutated, array: Array, values: np.dtype[Any]) -> Array:
    """Operands with the seven fraction bits of bfloat16."""
    return array.astype(np.float32).astype(ml_dtypes.bfloat16).astype(values)


def _toward_zero(p: Mutated, a: Array, b: Array) -> Array:
    """Sums of which each addition drops what does not fit."""
    products = a[..., :, :, None].astype(np.float64) * b[..., None, :, :].astype(np.float64)
    total = np.zeros(products[..., 0, :].shape, F32)
    for index in range(products.shape[-2]):
        exact = total + products[..., index, :]
        nearest = exact.astype(F32)
        over = np.abs(nearest.astype(np.float64)) > np.abs(exact)
        total = np.where(over, np.nextafter(nearest, F32(0)), nearest)
    return total


def _without_last(p: Mutated, a: Array, b: Array) -> Array:
    return p.right.contracted(a[..., :-1], b[..., :-1, :])


def _in_float16(p: Mutated, a: Array, b: Array) -> Array:
    with np.errstate(over="ignore"):
        return (a.astype(np.float16) @ b.astype(np.float16)).astype(p.sums)


def _without_zero_point(p: Mutated, operand: QuantizedTensor) -> Array:
    given = operand.qparams
    zero = None if given.zero_point is None else np.zeros_like(given.zero_point)
    least = int(operand.spec.quant_min)
    if zero is not None:
        zero = np.maximum(zero, least).astype(np.int32)
    qparams = QParams(given.scale, zero, given.minval)
    return p.right.dequantized(QuantizedTensor(operand.codes, operand.spec, qparams))


def _first_scale(p: Mutated, operand: QuantizedTensor) -> Array:
    given = operand.qparams
    first = np.broadcast_to(given.scale.flat[0], given.scale.shape).astype(F32)
    qparams = QParams(first, given.zero_point, given.minval)
    return p.right.dequantized(QuantizedTensor(operand.codes, operand.spec, qparams))


def _flushed(p: Mutated, result: Array, values: np.dtype[Any]) -> Array:
    stored = p.right.stored(result, values)
    return np.where(np.abs(stored) < np.finfo(values).smallest_normal, 0, stored).astype(values)


def _finite(p: Mutated, array: Array, values: np.dtype[Any]) -> Array:
    return np.nan_to_num(array, posinf=0, neginf=0).astype(values)


def _away(p: Mutated, x: Array, layer: Layer) -> Array:
    scale, offset = layer.output_qparams.scale, layer.output_qparams.zero_point
    if offset is None:
        return p.right.layer_codes(x, layer)
    real = np.trunc(x / scale + np.copysign(F32(0.5), x)) + offset
    least, greatest = layer.output_spec.quant_min, layer.output_spec.quant_max
    codes = np.clip(real, least, greatest)
    return np.asarray(codes, layer.output_spec.format.code_dtype)


def _last_code_up(p: Mutated, x: Array, layer: Layer) -> Array:
    codes = p.right.layer_codes(x, layer)
    if layer.output_spec.format.is_integer:
        last = codes.reshape(-1)[-1:]
        last[:] = np.where(last < layer.output_spec.quant_max, last + 1, last - 1)
    return codes


ARITHMETIC = (
    known(
        "layer-operands-bfloat16",
        "rounds operands to bfloat16 where float32 is declared",
        "ADM-1",
        FAMILY,
        held=_narrow,
    ),
    known(
        "layer-last-product-lost",
        "leaves the last product out of every sum",
        "ADM-2",
        FAMILY,
        contracted=_without_last,
    ),
    known(
        "layer-sums-in-float16",
        "accumulates products in float16 where float32 is declared",
        "ADM-2",
        FAMILY,
        contracted=_in_float16,
    ),
    known(
        "layer-bias-left-out",
        "leaves out the bias",
        "ADM-2",
        FAMILY,
        with_bias=lambda p, total, bias, shape: total,
    ),
    known(
        "layer-padding-not-counted",
        "averages over taps in the input only, whatever count_include_pad says",
        "ADM-2",
        FAMILY,
        avg_pool=lambda p, x, axes, **given: p.right.avg_pool(
            x, axes, **{**given, "count_include_pad": False}
        ),
    ),
    known(
        "layer-sums-toward-zero",
        "truncates partial sums instead of rounding them",
        "ADM-3",
        FAMILY,
        contracted=_toward_zero,
    ),
    known(
        "layer-subnormals-flushed",
        "flushes subnormal results to zero",
        "ADM-4",
        FAMILY,
        pitfall="subnormals",
        stored=_flushed,
    ),
    known(
        "layer-alpha-ignored",
        "adds the second operand without its factor",
        "ADM-4",
        FAMILY,
        scaled=lambda p, b, alpha: b,
    ),
    known(
        "layer-pool-pads-with-zero",
        "pads max pools with zero instead of minus infinity",
        "ADM-5",
        FAMILY,
        pool_padding=lambda p: 0.0,
    ),
    known(
        "layer-infinities-lost",
        "reads infinities in an operand as zero",
        "ADM-6",
        FAMILY,
        held=_finite,
    ),
    known(
        "layer-gelu-always-tanh",
        "computes gelu by tanh where erf is asked",
        "ADM-7",
        FAMILY,
        gelu=lambda p, x, approximate="none": p.right.gelu(x, "tanh"),
    ),
    known(
        "layer-elu-alpha-ignored",
        "computes elu and celu with alpha 1",
        "ADM-7",
        FAMILY,
        elu=lambda p, x, alpha=1.0: p.right.elu(x, 1.0),
        celu=lambda p, x, alpha=1.0: p.right.celu(x, 1.0),
    ),
    known(
        "layer-silu-by-hard-sigmoid",
        "computes silu as hardswish",
        "ADM-7",
        FAMILY,
        silu=lambda p, x: p.hardswish(x),
    ),
    known(
        "layer-unbiased-variance",
        "divides a variance by n − 1",
        "ADM-8",
        FAMILY,
        freedom=lambda p, count: count - 1,
    ),
    known(
        "layer-eps-left-out",
        "leaves the constant out of a variance",
        "ADM-8",
        FAMILY,
        with_eps=lambda p, variance, eps: variance,
    ),
    known(
        "layer-attention-unscaled",
        "does not divide attention scores by the root of their depth",
        "ADM-9",
        FAMILY,
        attention_scale=lambda p, depth: 1.0,
    ),
    known(
        "layer-softmax-other-axis",
        "takes softmax along the last axis always",
        "ADM-9",
        FAMILY,
        softmax=lambda p, x, dim=-1: p.right.softmax(x, -1),
    ),
    known(
        "layer-nearest-rounds",
        "takes the nearest center instead of the element below",
        "ADM-10",
        FAMILY,
        nearest=lambda p, n, m: np.minimum((2 * np.arange(m) + 1) * n // (2 * m), n - 1),
    ),
    known(
        "layer-corners-aligned",
        "aligns corners in an interpolation that does not ask for it",
        "ADM-10",
        FAMILY,
        places=lambda p, n, m, step, align_corners: p.right.places(n, m, step, True),
    ),
    known(
        "layer-codes-away",
        "requantizes with ties away from zero",
        "ADM-11",
        FAMILY,
        pitfall="ties",
        layer_codes=_away,
    ),
    known(
        "layer-last-code-off",
        "stores the last code of a layer one step off",
        "ADM-12",
        FAMILY,
        layer_codes=_last_code_up,
    ),
    known(
        "layer-zero-points-ignored",
        "dequantizes operands as if their zero point were zero",
        "ADM-13",
        FAMILY,
        dequantized=_without_zero_point,
    ),
    known(
        "layer-first-scale-for-all",
        "dequantizes all blocks of an operand with the first block's scale",
        "ADM-13",
        FAMILY,
        dequantized=_first_scale,
    ),
)
