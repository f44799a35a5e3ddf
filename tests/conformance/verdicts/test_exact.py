"""The comparison rules: CMP of SPEC.md, and how a difference is told."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.conformance.sets import f32

from quant_conformance.verdicts.bits import show
from quant_conformance.verdicts.exact import Rules, compare, rules_for

NAN = float("nan")
PLAIN = Rules()


def differs(want: Any, got: Any, name: str = "values", rules: Rules = PLAIN) -> bool:
    return compare({name: want}, {name: got}, rules) is not None


@given(hnp.arrays(np.uint32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)), st.data())
def test_any_other_bit_of_a_float_differs_and_the_same_bits_do_not(bits: Any, data: Any) -> None:
    want = bits.view(np.float32) if bits.ndim else np.asarray(bits).view(np.float32)
    assert not differs(want, want.copy())
    if want.size == 0:
        return
    at = data.draw(st.integers(0, want.size - 1))
    other = bits.copy().reshape(-1)
    other[at] ^= np.uint32(1 << data.draw(st.integers(0, 31)))
    got = other.view(np.float32).reshape(want.shape)
    both_nan = np.isnan(want.reshape(-1)[at]) and np.isnan(got.reshape(-1)[at])
    assert differs(want, got) is not bool(both_nan)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_every_nan_equals_every_nan_and_zeros_have_signs(dtype: Any) -> None:
    size = np.dtype(dtype).itemsize
    nans = np.array([-1, -2], f"i{size}").view(dtype)
    assert np.isnan(nans.astype(np.float32)).all()
    assert not differs(nans[:1], nans[1:])
    zeros = np.array([0.0, -0.0]).astype(dtype)
    assert differs(zeros[:1], zeros[1:])
    assert differs(nans[:1], zeros[:1])


@pytest.mark.parametrize("name", ["lo", "hi", "minval"])
def test_the_sign_of_a_zero_that_nothing_shows_is_not_compared(name: str) -> None:
    assert not differs(f32(0.0), f32(-0.0), name)
    assert differs(f32(0.0), f32(2**-149), name)


def test_shape_and_dtype_come_first() -> None:
    found = compare({"scale": f32(1)}, {"scale": np.array(1, np.float32)}, PLAIN)
    assert found is not None
    assert found.what == "scale has shape (), expected (1,)"
    found = compare({"scale": f32(1)}, {"scale": np.array([1.0])}, PLAIN)
    assert found is not None
    assert found.what == "scale has dtype float64, expected float32"
    assert differs(np.zeros((0, 3), np.int8), np.zeros((3, 0), np.int8))
    assert not differs(np.zeros((0, 3), np.int8), np.zeros((0, 3), np.int8))


def test_nan_codes_are_compared_by_class_only_against_alternatives() -> None:
    rules = rules_for("quantize", {}, {"dtype": "float8_e5m2"})
    loose = Rules(rules.code_format, nan_codes_equal=True)
    nan, other_nan, inf = (np.array([c], np.uint8) for c in (0x7E, 0xFD, 0x7C))
    assert differs(nan, other_nan, "codes", rules)
    assert not differs(nan, other_nan, "codes", loose)
    assert differs(nan, inf, "codes", loose)


def test_int_codes_have_no_nan() -> None:
    rules = rules_for("quantize", {}, {"dtype": "uint8"})
    assert rules.code_format is None
    codes = np.array([0x7F], np.uint8), np.array([0xFF], np.uint8)
    assert differs(*codes, "codes", Rules(rules.code_format, nan_codes_equal=True))


@pytest.mark.parametrize(
    ("formulation", "given_fields", "judged"),
    [
        ("zp", ["scale"], "no zero_point was given"),
        ("zp", ["scale", "zero_point"], None),
        ("minval", ["scale", "zero_point"], "no minval was given"),
        ("minval", ["scale", "minval"], None),
        ("zp", ["zero_point"], "no scale was given"),
    ],
)
def test_only_the_fields_of_the_formulation_are_required(
    formulation: str, given_fields: list[str], judged: str | None
) -> None:
    want = {"scale": f32(1), "zero_point": np.zeros(1, np.int32), "minval": f32(-1)}
    rules = rules_for("qparams", {}, {"dtype": "int8", "qformulation": formulation})
    found = compare(want, {name: want[name] for name in given_fields}, rules)
    assert (found and found.what) == judged


def test_a_further_field_is_judged_if_it_is_given() -> None:
    want = {"scale": f32(1), "zero_point": np.zeros(1, np.int32), "minval": f32(-1)}
    rules = rules_for("qparams", {}, {"dtype": "int8", "qformulation": "zp"})
    assert compare(want, {**want, "minval": f32(-2)}, rules) is not None


def test_the_element_with_the_smallest_input_is_shown() -> None:
    x = f32(-np.inf, 5, NAN, -0.75, 3)
    want = np.array([1, 2, 3, 4, 5], np.int8)
    got = np.array([0, 0, 0, 0, 5], np.int8)
    found = compare({"codes": want}, {"codes": got}, PLAIN, {"x": x})
    assert found is not None
    assert (found.index, found.count) == ((3,), 4)
    assert found.what == (
        "codes[3]: expected 4 (bits 0x04), got 0 (bits 0x00), "
        "for x = -0.75 (-0x1.8p-1, bits 0xbf400000); 4 of 5 elements differ"
    )


def test_without_an_elementwise_input_the_first_element_is_shown() -> None:
    found = compare({"scale": f32(1, 2, 3)}, {"scale": f32(1, 0, 0)}, PLAIN, {"x": f32(1)})
    assert found is not None
    assert found.index == (1,)


def test_a_scale_is_told_before_what_follows_from_it() -> None:
    want = {"minval": f32(-1), "scale": f32(1)}
    found = compare(want, {"minval": f32(-2), "scale": f32(2)}, PLAIN)
    assert found is not None
    assert found.output == "scale"


@pytest.mark.parametrize(
    ("element", "fmt", "text"),
    [
        (np.float32(0.1), None, "0.1 (0x1.99999ap-4, bits 0x3dcccccd)"),
        (np.float32(-0.0), None, "-0.0 (-0x0p+0, bits 0x80000000)"),
        (np.float32(1), None, "1.0 (0x1p+0, bits 0x3f800000)"),
        (np.float32(NAN), None, "nan (nan, bits 0x7fc00000)"),
        (np.float16(1.5), None, "1.5 (0x1.8p+0, bits 0x3e00)"),
        (ml_dtypes.bfloat16(3), None, "3 (0x1.8p+1, bits 0x4040)"),
        (np.int8(-3), None, "-3 (bits 0xfd)"),
        (np.int32(-1), None, "-1 (bits 0xffffffff)"),
        (np.uint8(0x38), "float8_e4m3fn", "code 0x38 = 1 (0x1p+0)"),
        (np.uint8(0x7F), "float8_e4m3fn", "code 0x7f = nan (nan)"),
        (np.uint8(0x0F), "float4_e2m1fn", "code 0x0f = -6 (-0x1.8p+2)"),
    ],
)
def test_elements_are_shown_in_decimal_hex_and_bits(element: Any, fmt: Any, text: str) -> None:
    assert show(np.array([element]), (0,), fmt) == text
