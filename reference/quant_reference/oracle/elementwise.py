"""One element through quantize, dequantize and back (Q-1 to Q-7, DQ, FQ and GRAD clauses)."""

from __future__ import annotations

from typing import Literal

from quant_reference.oracle.arithmetic import (
    add,
    clamp,
    divide,
    inside,
    multiply,
    subtract,
)
from quant_reference.oracle.codes import NanInE2M1, decode, encode
from quant_reference.oracle.number import DTYPES, FLOAT32, NAN, ZERO, Number, number, rint, round_to
from quant_reference.oracle.qparams import BlockQParams
from quant_reference.spec import QuantizationSpec

NanToInteger = Literal["zero_point", "integer_zero", "quant_min", "quant_max"]


def quotient(x: Number, spec: QuantizationSpec, qparams: BlockQParams) -> Number:
    """What is rounded to a code: x/scale, or (x - minval)/scale, in float32 (Q-1, Q-4)."""
    if spec.qformulation == "minval":
        x = subtract(x, _minval(qparams), FLOAT32)
    return divide(x, qparams.scale, FLOAT32)


def unclamped_code(x: Number, spec: QuantizationSpec, qparams: BlockQParams) -> Number:
    """The integer before the clamp of Q-3 or Q-4; NaN for a NaN quotient."""
    return add(rint(quotient(x, spec, qparams)), number(_offset(spec, qparams)), FLOAT32)


def quantize(
    x: Number,
    spec: QuantizationSpec,
    qparams: BlockQParams,
    *,
    nan_to_integer: NanToInteger | None = None,
    nan_in_e2m1: NanInE2M1 = "positive_zero",
) -> int:
    """Code of one element (Q-1 to Q-7).

    Args:
        x: The element, of any of the three dtypes: widening is exact.
        spec: Decides format and formulation.
        qparams: Of the element's block.
        nan_to_integer: Policy of Q-6; None is the reference's, `zero_point` under zp and
            `quant_min` under minval.
        nan_in_e2m1: Policy of ENC-4.
    """
    lowest, highest = number(spec.quant_min), number(spec.quant_max)
    if spec.format.kind == "float":
        clamped = clamp(quotient(x, spec, qparams), lowest, highest)
        if clamped.is_nan:  # the sign of a quotient by a positive scale is the sign of x
            clamped = Number(x.negative, clamped.magnitude, "nan")
        return encode(clamped, spec.format, nan_in_e2m1=nan_in_e2m1)
    code = unclamped_code(x, spec, qparams)
    if code.is_nan:
        code = number(_nan_code(spec, qparams, nan_to_integer))
    return int(clamp(code, lowest, highest).exact)


def _nan_code(
    spec: QuantizationSpec, qparams: BlockQParams, policy: NanToInteger | None
) -> int | float:
    """Q-6, for an integer format."""
    if policy == "integer_zero":
        return 0
    if policy == "quant_max":
        return spec.quant_max
    if policy == "quant_min":
        return spec.quant_min
    return _offset(spec, qparams)


def dequantize(code: int, spec: QuantizationSpec, qparams: BlockQParams) -> Number:
    """Float32 value of one code (DQ-1 to DQ-4)."""
    if spec.format.kind == "float":
        return multiply(decode(code, spec.format), qparams.scale, FLOAT32)
    steps = number(code - int(_offset(spec, qparams)))
    product = multiply(steps, qparams.scale, FLOAT32)
    if spec.qformulation == "minval":
        return add(product, _minval(qparams), FLOAT32)
    return product


def fake_quantize(x: Number, spec: QuantizationSpec, qparams: BlockQParams, dtype: str) -> Number:
    """One element there and back, in its dtype (FQ-1 to FQ-4).

    Args:
        x: The element.
        spec: Decides format and formulation.
        qparams: Of the element's block.
        dtype: Name of the dtype of the element's tensor (FQ-3).
    """
    if quotient(x, spec, qparams).is_nan:
        return NAN
    return round_to(dequantize(quantize(x, spec, qparams), spec, qparams), DTYPES[dtype])


def fake_quantize_gradient(
    x: Number,
    grad: Number,
    spec: QuantizationSpec,
    qparams: BlockQParams,
    *,
    zero_gradient_sign: Literal["positive_zero", "negative_zero"] = "positive_zero",
) -> Number:
    """Gradient of one element, straight through (GRAD-1 to GRAD-4).

    Args:
        x: The element.
        grad: The incoming gradient.
        spec: Decides format and formulation.
        qparams: Of the element's block.
        zero_gradient_sign: Policy of GRAD-2.
    """
    if spec.format.kind == "float":
        tested = quotient(x, spec, qparams)
    else:
        tested = unclamped_code(x, spec, qparams)
    if inside(tested, number(spec.quant_min), number(spec.quant_max)):
        return grad
    return -ZERO if zero_gradient_sign == "negative_zero" and grad.negative else ZERO


def _offset(spec: QuantizationSpec, qparams: BlockQParams) -> int | float:
    """The code of a quotient of zero: zero_point, or quant_min under minval."""
    if spec.qformulation == "minval":
        return spec.quant_min
    if qparams.zero_point is None:
        raise ArithmeticError("the zp formulation of an integer format wants a zero_point")
    return qparams.zero_point


def _minval(qparams: BlockQParams) -> Number:
    if qparams.minval is None:
        raise ArithmeticError("the minval formulation wants a minval")
    return qparams.minval
