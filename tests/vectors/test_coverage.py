"""What the frozen set covers: combinations, codes, midpoints, exponents, lengths, subnormals."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from tests.vectors.sets import v1

from quant_conformance.backends.numpy_reference import NumpyReference
from quant_conformance.operations import OPERATIONS
from quant_reference import SPEC_FORMATS, QuantizationSpec, decode
from quant_vectors import Case


def of(operation: str) -> list[Case]:
    return [case for case in v1() if case.operation == operation]


def all_specs() -> list[QuantizationSpec]:
    integers = [n for n, f in SPEC_FORMATS.items() if f.is_integer]
    floats = [n for n, f in SPEC_FORMATS.items() if f.kind == "float"]
    schemes = ("symmetric", "symmetric_with_clipping", "asymmetric")
    found = [
        QuantizationSpec(d, s, f)  # type: ignore[arg-type]
        for d, s, f in product(integers, schemes, ("zp", "minval"))
    ]
    return found + [
        QuantizationSpec(d, scale_dtype=s) for d in floats for s in (None, "float8_e8m0")
    ]


def test_every_legal_combination_is_there_in_every_dtype() -> None:
    """dtype, scheme, formulation, scale dtype and granularity, times the dtype of the tensor."""
    wanted = {
        (s.dtype, s.qscheme, s.qformulation, s.scale_dtype, granularity, dtype)
        for s in all_specs()
        for granularity in ("per_tensor", "per_channel", "per_block")
        for dtype in ("float32", "float16", "bfloat16")
    }
    for operations in (("fake_quantize",), ("quantize", "qparams", "gradient", "fake_quantize")):
        seen = set()
        for case in v1():
            if case.operation in operations and case.spec is not None:
                s = case.spec
                x = v1()._tensors[case.family][case.inputs["x"]]
                kind = s["granularity"]["type"]
                key = (s["dtype"], s["qscheme"], s["qformulation"], s["scale_dtype"])
                seen.add((*key, kind, x.dtype.name))
        assert wanted - seen == set()


@pytest.mark.parametrize("operation", ["quantize", "dequantize", "gradient", "qparams", "observe"])
def test_every_legal_combination_is_there(operation: str) -> None:
    wanted = {(s.dtype, s.qscheme, s.qformulation, s.scale_dtype) for s in all_specs()}
    seen = {
        (s["dtype"], s["qscheme"], s["qformulation"], s["scale_dtype"])
        for case in of(operation)
        if (s := case.spec) is not None
    }
    assert seen == wanted


@pytest.mark.parametrize("name", SPEC_FORMATS)
def test_every_code_is_decoded(name: str) -> None:
    seen: set[int] = set()
    for case in of("decode"):
        if case.arguments["format"] == name and case.expected:
            seen |= set(v1().inputs(case)["codes"].ravel().tolist())
    fmt = SPEC_FORMATS[name]
    codes = (
        range(int(fmt.quant_min), int(fmt.quant_max) + 1) if fmt.is_integer else range(2**fmt.bits)
    )
    assert seen == set(codes)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"])
def test_every_finite_code_and_every_midpoint_is_encoded(name: str) -> None:
    asked = np.concatenate(
        [
            v1().inputs(case)["x"].ravel()
            for case in of("encode")
            if case.arguments["format"] == name and case.expected
        ]
    )
    every = decode(np.arange(2 ** SPEC_FORMATS[name].bits, dtype=np.uint8), name)
    values = np.unique(every[np.isfinite(every)])
    middles = ((values[1:].astype(np.float64) + values[:-1]) / 2).astype(np.float32)
    middles = middles[middles != 0]
    for wanted in (
        values,
        middles,
        np.nextafter(middles, np.float32(np.inf)),
        np.nextafter(middles, np.float32(-np.inf)),
    ):
        assert set(wanted.view(np.uint32).tolist()) <= set(asked.view(np.uint32).tolist())


def test_every_power_of_two_is_encoded_as_a_scale() -> None:
    seen: set[int] = set()
    for case in of("encode"):
        if case.arguments["format"] == "float8_e8m0fnu" and case.expected:
            seen |= set(v1().expected(case)["codes"].tolist())
    assert seen == set(range(256))


def test_e8m0_scales_cover_the_exponents() -> None:
    seen = set()
    for case in of("qparams"):
        if (
            case.spec is not None
            and case.spec["scale_dtype"]
            and case.rule == "exact"
            and case.expected
        ):
            seen |= set(np.frexp(v1().expected(case)["scale"])[1].ravel().tolist())
    # 2**-126 is the least; the greatest float32 over float4's 2**2 gives 2**125.
    assert seen == set(range(-125, 127))


def test_vectors_of_every_length_have_their_tails() -> None:
    for operation in ("encode", "quantize"):
        lengths = {
            v1().inputs(case)["x"].size for case in of(operation) if "TailElements" in case.flags
        }
        assert lengths >= set(range(1, 68))


@pytest.mark.parametrize("operation", ["quantize", "fake_quantize", "gradient"])
@pytest.mark.parametrize("formulation", ["zp", "minval"])
def test_flushed_float16_subnormals_show(operation: str, formulation: str) -> None:
    """Whoever reads the subnormals of x as zeros gets another answer, in each of these cases."""
    cases = [
        case
        for case in of(operation)
        if case.id.startswith(f"{operation}/float16-subnormal/")
        and case.spec is not None
        and case.spec["qformulation"] == formulation
    ]
    assert cases
    how, reference = OPERATIONS[operation], NumpyReference()
    for case in cases:
        inputs = v1().inputs(case)
        assert "Subnormals" in case.flags
        assert (np.abs(inputs["x"]) < np.finfo(np.float16).smallest_normal).all()
        inputs["x"] *= np.float16(0)
        outputs = how.outputs(getattr(reference, how.method)(*how.arguments(case, inputs)))
        (name,) = case.expected
        assert (outputs[name] != v1().expected(case)[name]).any(), case.id
