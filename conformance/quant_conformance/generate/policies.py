"""Where the spec names several legal answers: which policy an answer touches, and the others.

Each function looks at the inputs of one operation and gives, per policy that they touch, the
reference's choice and the answers of the other legal behaviours. A case may touch one policy at
most: a backend may follow any mixture of policies, and a case must tell which one it follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.operations import lifecycle_of
from quant_conformance.rule_questions import answers, output_of, policy_of
from quant_conformance.rule_questions.blocks import form_of
from quant_conformance.rule_questions.names import grouped
from quant_reference import Format, QuantizationSpec, get_format, make_observer, value_range
from quant_reference.blocks import spread
from quant_reference.lifecycle import run_lifecycle
from quant_reference.quantize import unclamped_codes
from quant_vectors import Case

Array = NDArray[Any]
Tensors = Mapping[str, Array]


def _infinity(fmt: Format) -> int:
    """Code of +infinity, or the NaN that takes its place."""
    if fmt.has_inf:
        return ((1 << fmt.exponent_bits) - 1) << fmt.mantissa_bits
    return int(fmt.nan_code or 0)


def _overflow(fmt: Format) -> float:
    """Greatest value that still rounds to max (ENC-5); a tie goes to the even code."""
    step = 2.0 ** (fmt.max_pow2 - fmt.mantissa_bits)
    middle = np.float32(fmt.quant_max + step / 2)
    odd = int(fmt.quant_max / step) % 2
    return float(np.nextafter(middle, np.float32(0)) if odd else middle)


@dataclass(frozen=True)
class Alternatives:
    """The other legal answers of one policy (CONV-7).

    Attributes:
        policy: Its name in SPEC.md.
        choice: What the reference does.
        answers: Name of another behaviour -> its outputs.
    """

    policy: str
    choice: str
    answers: Mapping[str, Mapping[str, Array]]


def touched(case: Case, inputs: Tensors, expected: Tensors) -> list[Alternatives]:
    """List the policies that a case touches, with the other answers of each."""
    find = _FINDERS.get(case.operation)
    return [] if find is None or not expected else find(case, inputs, expected)


def _encode(case: Case, inputs: Tensors, expected: Tensors) -> list[Alternatives]:
    fmt = get_format(case.arguments["format"])
    if fmt.kind == "fixed":
        return _least_code(expected["codes"])
    return _float_codes(fmt.name, inputs["x"], expected["codes"]) if fmt.kind == "float" else []


def _least_code(codes: Array) -> list[Alternatives]:
    """ENC-9: whether the code that has no negative is used."""
    if not (codes == -128).any():
        return []
    other = np.where(codes == -128, np.int8(-127), codes)
    return [Alternatives("mxint8_least", "used", {"unused": {"codes": other}})]


def _float_codes(name: str, values: Array, codes: Array) -> list[Alternatives]:
    fmt = get_format(name)
    found = _nan_codes(name, np.isnan(values), codes)
    if not fmt.has_nan:
        return found
    wide = values.astype(np.float32)
    infinite, beyond = np.isinf(wide), np.abs(wide) > _overflow(fmt)
    if beyond.any():
        signed = np.full(wide.shape, _infinity(fmt), np.uint8)
        if fmt.signed and fmt.negative_zero:
            signed |= np.signbit(wide).astype(np.uint8) << 7
        others = {
            "saturate_finite": {"codes": np.where(infinite, signed, codes)},
            "nonsaturate": {"codes": np.where(beyond, signed, codes)},
        }
        found.append(Alternatives("overflow", "saturate", others))
    return found


def _nan_codes(name: str, nan: Array, codes: Array) -> list[Alternatives]:
    fmt = get_format(name)
    if not nan.any():
        return []
    if fmt.has_nan:
        if not (fmt.negative_zero and fmt.signed):  # which have one NaN
            return []
        # The comparison with an alternative takes any NaN code for any other.
        return [Alternatives("nan_payload", "canonical", {"any_nan": {"codes": codes}})]
    top = 1 << (fmt.bits - 1)
    stored = {"negative_zero": top, "max": top - 1, "min": 2 * top - 1}
    others = {
        choice: {"codes": np.where(nan, np.uint8(code), codes)} for choice, code in stored.items()
    }
    policy = "nan_in_e2m1" if fmt.bits == 4 else "nan_in_fp6"
    return [Alternatives(policy, "positive_zero", others)]


def _quantize(case: Case, inputs: Tensors, expected: Tensors) -> list[Alternatives]:
    spec, codes = _spec(case), expected["codes"]
    quotient = unclamped(inputs, spec)
    nan = np.isnan(quotient)
    if not spec.format.is_integer:
        return _nan_codes(spec.dtype, nan, codes)
    if not nan.any():
        return []
    stored = {"integer_zero": 0, "quant_min": spec.quant_min, "quant_max": spec.quant_max}
    choice = "zero_point" if spec.qformulation == "zp" else "quant_min"
    others = {
        name: {"codes": np.where(nan, np.array(value).astype(codes.dtype), codes)}
        for name, value in stored.items()
        if name != choice
    }
    return [Alternatives("nan_to_integer", choice, others)]


def _gradient(case: Case, inputs: Tensors, expected: Tensors) -> list[Alternatives]:
    spec = _spec(case)
    with np.errstate(invalid="ignore"):
        code = unclamped(inputs, spec)
        inside = (code >= spec.quant_min) & (code <= spec.quant_max)
    grad = inputs["grad"]
    signed = ~inside & np.signbit(grad)
    if not signed.any():
        return []
    minus_zero = -np.zeros((), grad.dtype)
    others = {"negative_zero": {"gradient": np.where(signed, minus_zero, expected["gradient"])}}
    return [Alternatives("zero_gradient_sign", "positive_zero", others)]


def _qparams(case: Case, inputs: Tensors, expected: Tensors) -> list[Alternatives]:
    spec = _spec(case)
    lo, hi = value_range(inputs["x"], spec, case.target)  # type: ignore[arg-type]
    return _e8m0(spec, lo, hi, expected)


def _observe(case: Case, inputs: Tensors, expected: Tensors) -> list[Alternatives]:
    spec, arguments = _spec(case), case.arguments
    observer = make_observer(
        arguments["kind"],
        spec,
        case.target,  # type: ignore[arg-type]
        arguments.get("averaging_constant", 0.01),
    )
    for index in range(len(inputs)):
        observer = observer.update(inputs[f"batch_{index}"])
    if observer.lo is None or observer.hi is None:
        return []
    return _e8m0(spec, observer.lo, observer.hi, expected)


def _e8m0(spec: QuantizationSpec, lo: Array, hi: Array, expected: Tensors) -> list[Alternatives]:
    wild = ~(np.isfinite(lo) & np.isfinite(hi))
    if spec.scale_dtype is None or not wild.any():
        return []
    at_face_value = np.float32(2.0) ** np.float32(255 - 127 - spec.format.max_pow2)
    scale = np.where(wild, at_face_value, expected["scale"])
    return [Alternatives("e8m0_nonfinite_range", "nan_scale", {"exponent_field": {"scale": scale}})]


def _lifecycle(case: Case, inputs: Tensors, expected: Tensors) -> list[Alternatives]:
    trace = run_lifecycle(lifecycle_of(case, inputs), calibration_weights="quantized")
    other = {name: getattr(trace, name) for name in expected}
    if all(np.array_equal(other[name], array) for name, array in expected.items()):
        return []
    return [Alternatives("calibration_weights", "float", {"quantized": other})]


def _ruled(case: Case, inputs: Tensors, expected: Tensors) -> list[Alternatives]:
    """Every rule whose answer is another than the reference's."""
    if case.operation == "block_scale":
        special = _special_blocks(case, inputs, expected)
        if special:
            return special
    found, output = grouped(answers(case, inputs)), output_of(case)
    same = expected[output].tobytes()
    (choice,) = (names for names, answer in found.items() if answer.tobytes() == same)
    others = {names: {output: answer} for names, answer in found.items() if names != choice}
    return [Alternatives(policy_of(case), choice, others)] if others else []


def _special_blocks(case: Case, inputs: Tensors, expected: Tensors) -> list[Alternatives]:
    """BLK-3: blocks of zeros, and blocks that are not finite."""
    form, x = form_of(case.arguments["block"]), inputs["x"]
    if form.two_levels or not x.size:
        return []
    codes = expected["codes"]
    if not x.astype(np.float32).any():
        others = {"least_normal": np.full_like(codes, 1), "one": np.full_like(codes, 127)}
        told = {name: {"codes": other} for name, other in others.items()}
        return [Alternatives("zero_block_scale", "least", told)]
    if (codes == 255).all() and form.element.max_pow2:
        other = {"codes": np.full_like(codes, 255 - form.element.max_pow2)}
        return [Alternatives("e8m0_nonfinite_range", "nan_scale", {"exponent_field": other})]
    return []


def unclamped(inputs: Tensors, spec: QuantizationSpec) -> Array:
    """Return the rounded, unclamped code (integer formats) or x/scale (float formats)."""
    x, offset = inputs["x"], None
    if spec.format.is_integer:
        name = "minval" if spec.qformulation == "minval" else "zero_point"
        offset = spread(inputs[name], x.shape).astype(np.float32)
    with np.errstate(all="ignore"):
        return unclamped_codes(x, spec, spread(inputs["scale"], x.shape), offset)


def _spec(case: Case) -> QuantizationSpec:
    return QuantizationSpec.from_dict(dict(case.spec or {}))


_FINDERS: Mapping[str, Callable[[Case, Tensors, Tensors], list[Alternatives]]] = MappingProxyType(
    {
        "encode": _encode,
        "quantize": _quantize,
        "gradient": _gradient,
        "qparams": _qparams,
        "observe": _observe,
        "lifecycle": _lifecycle,
        "requantize": _ruled,
        "integer_layer": _ruled,
        "block_scale": _ruled,
        "block_quantize": _ruled,
        "block_dequantize": _ruled,
        "block_dot": _ruled,
    }
)
