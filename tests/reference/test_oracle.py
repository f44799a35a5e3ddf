"""The oracle itself, held to others: Python's floats, numpy, ml_dtypes, torch and gfloat."""

import itertools
import math
from fractions import Fraction

import gfloat
import gfloat.formats
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.support import BFLOAT16, FLOATS, assert_same, numbers, with_neighbours

from quant_reference import FORMATS, oracle
from quant_reference.oracle import arithmetic
from quant_reference.oracle.number import FLOAT64, floor_log2, rint, round_to

FLOAT32_BITS = st.integers(0, 2**32 - 1).map(lambda b: np.array(b, np.uint32).view(np.float32)[()])
OPERATIONS = {
    "add": (arithmetic.add, np.add),
    "subtract": (arithmetic.subtract, np.subtract),
    "multiply": (arithmetic.multiply, np.multiply),
    "divide": (arithmetic.divide, np.divide),
}
GFLOAT = {
    "float8_e4m3fn": gfloat.formats.format_info_ocp_e4m3,
    "float8_e5m2": gfloat.formats.format_info_ocp_e5m2,
    "float4_e2m1fn": gfloat.formats.format_info_ocp_e2m1,
}


@given(st.fractions())
def test_rounding_to_float64_is_python_s_own(value: Fraction) -> None:
    assert float(round_to(oracle.number(value), FLOAT64)) == value.numerator / value.denominator


@given(st.floats())
def test_a_float_and_its_number_are_one(value: float) -> None:
    back = float(oracle.number(value))
    assert back == value or (math.isnan(back) and math.isnan(value))
    assert math.copysign(1, back) == math.copysign(1, value)


@pytest.mark.parametrize(("name", "dtype"), [("float32", np.float32), ("float16", np.float16)])
@given(value=st.floats())
def test_rounding_to_a_narrow_dtype_is_numpy_s(name: str, dtype: type, value: float) -> None:
    rounded = round_to(oracle.number(value), oracle.DTYPES[name])
    with np.errstate(all="ignore"):
        assert_same(np.array([value]).astype(dtype), [rounded], dtype)


@given(bits=st.integers(0, 2**32 - 1))
def test_rounding_to_bfloat16_is_torch_s(bits: int) -> None:
    value = np.array([bits], np.uint32).view(np.float32)
    as_torch = torch.from_numpy(value).to(torch.bfloat16).float().numpy()
    assert_same(as_torch, [round_to(numbers(value)[0], oracle.DTYPES["bfloat16"])], np.float32)


@pytest.mark.parametrize("name", OPERATIONS)
@given(a=FLOAT32_BITS, b=FLOAT32_BITS)
def test_arithmetic_is_float32_arithmetic(name: str, a: np.float32, b: np.float32) -> None:
    of_oracle, of_numpy = OPERATIONS[name]
    with np.errstate(all="ignore"):
        expected = np.array([of_numpy(a, b)])
    left, right = numbers(np.array([a, b]))
    assert_same(expected, [of_oracle(left, right, oracle.FLOAT32)], np.float32)


@pytest.mark.parametrize("name", OPERATIONS)
def test_arithmetic_on_special_values(name: str) -> None:
    of_oracle, of_numpy = OPERATIONS[name]
    special = np.array([0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan, 3e38, 1e-45], np.float32)
    left, right = (grid.ravel() for grid in np.meshgrid(special, special))
    with np.errstate(all="ignore"):
        expected = of_numpy(left, right)
    pairs = zip(numbers(left), numbers(right), strict=True)
    assert_same(expected, [of_oracle(a, b, oracle.FLOAT32) for a, b in pairs], np.float32)


@given(value=FLOAT32_BITS)
def test_rint_is_numpy_s(value: np.float32) -> None:
    with np.errstate(all="ignore"):
        assert_same(np.rint(np.array([value])), [rint(numbers(value)[0])], np.float32)


@given(a=FLOAT32_BITS, b=FLOAT32_BITS)
def test_order_is_numpy_s(a: np.float32, b: np.float32) -> None:
    left, right = numbers(np.array([a, b]))
    assert arithmetic.less(left, right) == bool(a < b)
    low, high = arithmetic.least(left, right), arithmetic.greatest(left, right)
    for got, wanted in ((low, np.minimum(a, b)), (high, np.maximum(a, b))):
        assert float(got) == wanted or (got.is_nan and np.isnan(wanted))


@given(st.fractions(min_value=Fraction(1, 10**40)).filter(bool))
def test_floor_log2_brackets_its_argument(value: Fraction) -> None:
    exponent = floor_log2(value)
    assert Fraction(2) ** exponent <= value < Fraction(2) ** (exponent + 1)


@pytest.mark.parametrize("name", FLOATS)
def test_decode_is_gfloat_s(name: str) -> None:
    codes = range(1 << FORMATS[name].bits)
    table = np.array([gfloat.decode_float(GFLOAT[name], code).fval for code in codes])
    assert_same(table, [oracle.decode(code, name) for code in codes], np.float64)


def boundaries(name: str) -> np.ndarray:
    """Codes and midpoints of a float format with their neighbours, its overflow, its specials."""
    fmt = FORMATS[name]
    finite = sorted(
        {float(v) for c in range(1 << fmt.bits) if (v := oracle.decode(c, name)).kind == "finite"}
    )
    middle = [(a + b) / 2 for a, b in itertools.pairwise(finite)]
    beyond = [sign * factor * fmt.quant_max for sign in (1, -1) for factor in (1.0357142857, 1.2)]
    exact = {464.0, -464.0, 61440.0, -61440.0, 7.0, -7.0, 3e38, -3e38}
    special = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 2.0**-149, -(2.0**-149)], np.float32)
    return np.concatenate([with_neighbours(np.array([*finite, *middle, *beyond, *exact])), special])


@pytest.mark.parametrize("name", FLOATS)
def test_encode_is_gfloat_s_when_it_saturates(name: str) -> None:
    values = boundaries(name)
    if not FORMATS[name].has_nan:
        values = values[~np.isnan(values)]
    for value in values.tolist():
        code = oracle.encode(oracle.number(value), name)
        rounded = gfloat.round_float(GFLOAT[name], value, sat=True)
        assert_same(np.array([rounded]), [oracle.decode(code, name)], np.float64, [value])


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("float8_e4m3fn", ml_dtypes.float8_e4m3fn), ("float8_e5m2", ml_dtypes.float8_e5m2)],
)
def test_nonsaturating_overflow_is_that_of_ml_dtypes(name: str, dtype: type) -> None:
    values = boundaries(name)
    with np.errstate(all="ignore"):
        cast = values.astype(dtype).astype(np.float32)
    codes = [oracle.encode(v, name, overflow="nonsaturate") for v in numbers(values)]
    assert_same(cast, [oracle.decode(code, name) for code in codes], np.float32, values)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("float8_e4m3fn", torch.float8_e4m3fn), ("float8_e5m2", torch.float8_e5m2)],
)
def test_saturating_overflow_is_that_of_torch_where_torch_saturates(
    name: str, dtype: torch.dtype
) -> None:
    """Torch saturates in e4m3fn and overflows to infinity in e5m2."""
    values = boundaries(name)
    cast = torch.from_numpy(values).to(dtype).float().numpy()
    overflow = "nonsaturate" if FORMATS[name].has_inf else "saturate"
    codes = [oracle.encode(v, name, overflow=overflow) for v in numbers(values)]
    assert_same(cast, [oracle.decode(code, name) for code in codes], np.float32, values)


@pytest.mark.parametrize(
    ("name", "overflow", "finite", "infinite"),
    [
        ("float8_e4m3fn", "saturate", 0x7E, 0x7E),
        ("float8_e4m3fn", "saturate_finite", 0x7E, 0x7F),
        ("float8_e4m3fn", "nonsaturate", 0x7F, 0x7F),
        ("float8_e5m2", "saturate", 0x7B, 0x7B),
        ("float8_e5m2", "saturate_finite", 0x7B, 0x7C),
        ("float8_e5m2", "nonsaturate", 0x7C, 0x7C),
        ("float4_e2m1fn", "saturate_finite", 0x7, 0x7),
        ("float4_e2m1fn", "nonsaturate", 0x7, 0x7),
    ],
)
def test_policies_of_overflow(name: str, overflow: str, finite: int, infinite: int) -> None:
    sign = 1 << (FORMATS[name].bits - 1)
    for value, code in ((oracle.number(1e9), finite), (oracle.INFINITY, infinite)):
        assert oracle.encode(value, name, overflow=overflow) == code
        assert oracle.encode(-value, name, overflow=overflow) == code | sign


@pytest.mark.parametrize(
    ("policy", "code"), [("positive_zero", 0), ("negative_zero", 8), ("max", 7), ("min", 15)]
)
def test_policies_of_nan_in_e2m1(policy: str, code: int) -> None:
    assert oracle.encode(oracle.NAN, "float4_e2m1fn", nan_in_e2m1=policy) == code


def test_scales_decode_as_ml_dtypes_has_them() -> None:
    table = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e8m0fnu).astype(np.float64)
    decoded = [oracle.decode(code, "float8_e8m0fnu") for code in range(256)]
    assert_same(table, decoded, np.float64)


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    widened = (bits.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(bits.view(BFLOAT16).astype(np.float32), widened)
