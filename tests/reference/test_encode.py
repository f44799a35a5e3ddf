"""ENC-1 to ENC-7 and DEC-1: every code, every midpoint and its neighbours, against the oracle."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.support import (
    DTYPES,
    FLOATS,
    INTEGERS,
    Array,
    assert_same,
    bit_arrays,
    numbers,
    with_neighbours,
)

from quant_reference import FORMATS, FormatError, InputError, decode, encode, oracle


def all_codes(name: str) -> Array:
    fmt = FORMATS[name]
    first = int(fmt.quant_min) if fmt.is_integer else -128 if fmt.kind == "fixed" else 0
    return np.arange(first, first + 2**fmt.bits).astype(fmt.code_dtype)


def boundaries(name: str) -> Array:
    """Every finite value of the format, every midpoint, the next ones beyond; ±1 float32 ulp."""
    values = [oracle.decode(code, name) for code in all_codes(name).tolist()]
    finite = sorted({value.exact for value in values if value.kind == "finite"})
    step = finite[-1] - finite[-2]
    finite = [finite[0] - step, *finite, finite[-1] + step]
    middle = [(a + b) / 2 for a, b in itertools.pairwise(finite)]
    exact = np.array([float(value) for value in [*finite, *middle]], np.float64)
    assert np.array_equal(exact, exact.astype(np.float32)), "a midpoint needs more than float32"
    zeros = np.array([0.0, -0.0], np.float32)
    return np.concatenate([with_neighbours(exact), zeros])


def assert_encodes_like_the_oracle(values: Array, name: str) -> None:
    expected = [oracle.encode(value, name) for value in numbers(values)]
    assert_same(encode(values, name), expected, FORMATS[name].code_dtype, values)


@pytest.mark.parametrize("name", [*INTEGERS, *FLOATS])
def test_enc_1_every_code_midpoint_and_neighbour(name: str) -> None:
    assert_encodes_like_the_oracle(boundaries(name), name)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_enc_1_every_half_precision_value(name: str, dtype: str) -> None:
    bits = np.arange(2**15, dtype=np.uint16)
    values, negative = bits.view(DTYPES[dtype]), (bits | 0x8000).view(DTYPES[dtype])
    assert_encodes_like_the_oracle(values, name)
    # A sign is a sign: what holds for half of the values holds for their negatives.
    sign = np.uint8(1 << (FORMATS[name].bits - 1))
    number = slice(None) if FORMATS[name].has_nan else ~np.isnan(values.astype(np.float32))
    np.testing.assert_array_equal(
        encode(negative, name)[number], (encode(values, name) | sign)[number]
    )


@pytest.mark.parametrize("name", FLOATS)
@given(values=bit_arrays("float32"))
def test_enc_1_any_bits(name: str, values: Array) -> None:
    assert_encodes_like_the_oracle(values, name)


@pytest.mark.parametrize("name", FLOATS)
@given(values=st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=32))
def test_enc_1_ordinary_values(name: str, values: list[float]) -> None:
    assert_encodes_like_the_oracle(np.array(values, np.float32), name)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        # E2M1 ties, each to the even code: 0.25 0.75 1.25 1.75 2.5 3.5 5.0
        ("float4_e2m1fn", 0.25, 0),
        ("float4_e2m1fn", 0.75, 2),
        ("float4_e2m1fn", 1.25, 2),
        ("float4_e2m1fn", 1.75, 4),
        ("float4_e2m1fn", 2.5, 4),
        ("float4_e2m1fn", 3.5, 6),
        ("float4_e2m1fn", 5.0, 6),
        ("float4_e2m1fn", 1e9, 7),
        ("float8_e4m3fn", 2.0**-10, 0x00),  # ENC-2: the tie of zero and the least subnormal
        ("float8_e4m3fn", -(2.0**-10), 0x80),  # ENC-3: its sign survives
        ("float8_e4m3fn", 1.0625, 0x38),
        ("float8_e4m3fn", 464.0, 0x7E),
        ("float8_e4m3fn", 465.0, 0x7E),
        ("float8_e5m2", 61439.0, 0x7B),
        ("float8_e5m2", 61440.0, 0x7B),
        ("float8_e5m2", 2.0**-17, 0x00),
        ("float8_e5m2", -1e-40, 0x80),
    ],
)
def test_values_worked_out_by_hand(name: str, value: float, code: int) -> None:
    assert encode(np.array([value], np.float32), name).tolist() == [code]
    assert oracle.encode(oracle.number(float(np.float32(value))), name) == code


@pytest.mark.parametrize(
    ("value", "code"),
    [(432 - 2.0**-15, 0x7D), (1.0625 + 2.0**-20, 0x39), (1.1875 - 2.0**-20, 0x39)],
)
def test_enc_1_rounds_once(value: float, code: int) -> None:
    """A first rounding to float16 or bfloat16 would make each a tie, which goes the other way."""
    for dtype in (np.float16, DTYPES["bfloat16"]):
        twice = encode(np.array([value], np.float32).astype(dtype), "float8_e4m3fn")
        assert twice.tolist() != [code]
    assert encode(np.array([value, -value], np.float32), "float8_e4m3fn").tolist() == [
        code,
        code | 0x80,
    ]


@pytest.mark.parametrize(
    ("name", "codes"),
    [("float8_e4m3fn", [0x7F, 0xFF]), ("float8_e5m2", [0x7E, 0xFE]), ("float4_e2m1fn", [0, 0])],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_enc_4_nan_with_its_sign(name: str, codes: list[int], dtype: str) -> None:
    quiet = np.array([0x7FC00000, 0xFFC00000], np.uint32).view(np.float32)
    payload = np.array([0x7FABCDEF, 0xFFABCDEF], np.uint32).view(np.float32)
    assert encode(quiet.astype(DTYPES[dtype]), name).tolist() == codes
    assert encode(payload, name).tolist() == codes


@pytest.mark.parametrize("name", FLOATS)
def test_enc_5_overflow_saturates(name: str) -> None:
    largest = encode(np.array([FORMATS[name].quant_max], np.float32), name)[0]
    values = np.array([np.inf, 3e38, FORMATS[name].quant_max * 1.5], np.float32)
    sign = np.uint8(1 << (FORMATS[name].bits - 1))
    assert encode(values, name).tolist() == [largest] * 3
    assert encode(-values, name).tolist() == [largest | sign] * 3


def test_enc_6_exact_powers_of_two() -> None:
    exponents = np.arange(-127, 128)
    powers = np.ldexp(np.float32(1), exponents)
    assert_encodes_like_the_oracle(powers, "float8_e8m0fnu")
    assert encode(np.array([np.nan, -np.nan], np.float32), "float8_e8m0fnu").tolist() == [255, 255]


@pytest.mark.parametrize(
    "value", [0.0, -0.0, -1.0, np.inf, -np.inf, 3.0, 0.75, 2.0**-128, 1.0 + 2.0**-23]
)
def test_enc_6_anything_else_is_refused(value: float) -> None:
    with pytest.raises(FormatError, match="ENC-6") as refusal:
        encode(np.array([1.0, value], np.float32), "float8_e8m0fnu")
    assert refusal.value.given == repr(value)
    with pytest.raises(ArithmeticError, match="ENC-6"):
        oracle.encode(oracle.number(float(np.float32(value))), "float8_e8m0fnu")


@pytest.mark.parametrize("name", INTEGERS)
def test_enc_7_integers(name: str) -> None:
    values = np.array([np.inf, -np.inf, 3e9, -3e9, 0.5, 1.5, 2.5, -0.5, -1.5, -0.0], np.float32)
    assert_encodes_like_the_oracle(values, name)
    with pytest.raises(InputError, match="ENC-7"):
        encode(np.array([0.0, np.nan], np.float32), name)
    with pytest.raises(ArithmeticError, match="ENC-7"):
        oracle.encode(oracle.NAN, name)


@pytest.mark.parametrize("name", FORMATS)
def test_dec_1_every_code(name: str) -> None:
    codes = all_codes(name)
    expected = [oracle.decode(code, name) for code in codes.tolist()]
    assert_same(decode(codes, name), expected, np.float32, codes)


@pytest.mark.parametrize("name", FORMATS)
def test_every_code_survives_the_round_trip(name: str) -> None:
    codes = all_codes(name)
    values = decode(codes, name)
    finite = np.isfinite(values)
    np.testing.assert_array_equal(encode(values[finite], name), codes[finite])
    assert finite.all() or FORMATS[name].has_nan


@pytest.mark.parametrize("name", ["int2", "int4", "uint2", "uint4", "float4_e2m1fn"])
def test_dec_1_a_code_too_wide_is_refused(name: str) -> None:
    fmt = FORMATS[name]
    beyond = int(fmt.quant_max) + 1 if fmt.is_integer else 16
    for bad in (beyond, int(fmt.quant_min) - 1) if fmt.kind == "int" else (beyond, 255):
        with pytest.raises(InputError, match="DEC-1") as refusal:
            decode(np.array([0, bad], fmt.code_dtype), name)
        assert refusal.value.given == str(bad)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.float32, bool])
def test_dec_1_codes_of_another_dtype_are_refused(name: str, dtype: type) -> None:
    with pytest.raises(InputError, match="DEC-1") as refusal:
        decode(np.zeros(2, dtype), name)
    assert refusal.value.allowed == FORMATS[name].code_dtype
    other = np.uint8 if FORMATS[name].code_dtype == "int8" else np.int8
    with pytest.raises(InputError, match="DEC-1"):
        decode(np.zeros(2, other), name)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 1, 2)])
def test_every_shape_stays_as_it_is(name: str, shape: tuple[int, ...]) -> None:
    ones = np.ones(shape, np.float32)  # of which every format has one
    codes = encode(ones, name)
    assert (codes.shape, decode(codes, name).shape) == (shape, shape)
    layouts = np.asfortranarray(codes), np.repeat(codes, 2, axis=0)[::2] if shape else codes
    for layout in layouts:
        np.testing.assert_array_equal(decode(layout, name), ones)
