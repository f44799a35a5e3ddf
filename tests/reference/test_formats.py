"""FMT-1 to FMT-8: the format table against the tables of the OCP papers, typed out here."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest

from quant_reference import ALIASES, FORMATS, SPEC_FORMATS, FormatError, decode, encode, get_format

# OCP Microscaling v1.0, FP4 (E2M1), in code order.
E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]
# OCP FP8 v1.0 / arXiv 2209.05433, table 2, and a few rows between: code -> value.
E4M3 = {
    0x00: 0.0,
    0x01: 2.0**-9,
    0x07: 0.875 * 2.0**-6,
    0x08: 2.0**-6,
    0x38: 1.0,
    0x39: 1.125,
    0x40: 2.0,
    0x77: 240.0,
    0x78: 256.0,
    0x7D: 416.0,
    0x7E: 448.0,
    0x7F: np.nan,
}
E5M2 = {
    0x00: 0.0,
    0x01: 2.0**-16,
    0x03: 0.75 * 2.0**-14,
    0x04: 2.0**-14,
    0x3C: 1.0,
    0x3D: 1.25,
    0x40: 2.0,
    0x7A: 49152.0,
    0x7B: 57344.0,
    0x7C: np.inf,
    0x7D: np.nan,
    0x7E: np.nan,
    0x7F: np.nan,
}
E8M0 = {0: 2.0**-127, 1: 2.0**-126, 126: 0.5, 127: 1.0, 128: 2.0, 254: 2.0**127, 255: np.nan}
INTEGERS = {
    "int2": (-2, 1),
    "int4": (-8, 7),
    "int8": (-128, 127),
    "uint2": (0, 3),
    "uint4": (0, 15),
    "uint8": (0, 255),
}


def same(actual: np.ndarray, expected: list[float]) -> None:
    wanted = np.array(expected, np.float32)
    np.testing.assert_array_equal(actual, wanted)
    real = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(actual[real]), np.signbit(wanted[real]))


def test_the_formats_are_these() -> None:
    floats = ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "float8_e8m0fnu"]
    small = [
        "float8_e3m4", "float8_e4m3ieee", "float8_e4m3fnuz", "float8_e4m3b11fnuz",
        "float8_e5m2fnuz", "float6_e2m3fn", "float6_e3m2fn", "mxint8", "float8_ue4m3", "nf4",
    ]  # fmt: skip
    assert list(FORMATS) == [*INTEGERS, *floats, *small]
    assert list(SPEC_FORMATS) == [*INTEGERS, *floats]


@pytest.mark.parametrize("name", INTEGERS)
def test_fmt_1_integer_ranges(name: str) -> None:
    low, high = INTEGERS[name]
    fmt = FORMATS[name]
    assert (fmt.quant_min, fmt.quant_max) == (low, high)
    assert high - low + 1 == 2**fmt.bits
    assert fmt.code_dtype == ("int8" if name.startswith("int") else "uint8")
    codes = np.arange(low, high + 1).astype(fmt.code_dtype)
    same(decode(codes, name), list(range(low, high + 1)))


def test_fmt_2_every_value_of_e2m1() -> None:
    same(decode(np.arange(16, dtype=np.uint8), "float4_e2m1fn"), E2M1)
    codes = encode(np.array(E2M1, np.float32), "float4_e2m1fn")
    np.testing.assert_array_equal(codes, np.arange(16))


@pytest.mark.parametrize(("name", "table"), [("float8_e4m3fn", E4M3), ("float8_e5m2", E5M2)])
def test_fmt_2_fp8_values(name: str, table: dict[int, float]) -> None:
    codes = np.array([*table, *(code | 0x80 for code in table)], np.uint8)
    same(decode(codes, name), [*table.values(), *(-value for value in table.values())])


def test_fmt_3_scale_values() -> None:
    codes = np.array(list(E8M0), np.uint8)
    same(decode(codes, "float8_e8m0fnu"), list(E8M0.values()))
    np.testing.assert_array_equal(
        encode(np.array(list(E8M0.values()), np.float32), "float8_e8m0fnu"), codes
    )


@pytest.mark.parametrize(
    ("name", "exponent", "mantissa", "bias", "largest", "nan", "inf"),
    [
        ("float8_e4m3fn", 4, 3, 7, 448.0, True, False),
        ("float8_e5m2", 5, 2, 15, 57344.0, True, True),
        ("float4_e2m1fn", 2, 1, 1, 6.0, False, False),
    ],
)
def test_fmt_2_the_table(
    name: str, exponent: int, mantissa: int, bias: int, largest: float, nan: bool, inf: bool
) -> None:
    fmt = FORMATS[name]
    assert fmt.bits == 1 + exponent + mantissa
    assert (fmt.exponent_bits, fmt.mantissa_bits, fmt.bias) == (exponent, mantissa, bias)
    assert (fmt.quant_min, fmt.quant_max) == (-largest, largest)
    assert (fmt.has_nan, fmt.has_inf) == (nan, inf)
    assert 2.0**fmt.max_pow2 <= largest < 2.0 ** (fmt.max_pow2 + 1)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"])
def test_limits_are_those_ml_dtypes_states(name: str) -> None:
    info = ml_dtypes.finfo(getattr(ml_dtypes, name))
    fmt = FORMATS[name]
    assert fmt.quant_max == float(info.max)
    least_subnormal = decode(np.array([1], np.uint8), name)[0]
    least_normal = decode(np.array([1 << fmt.mantissa_bits], np.uint8), name)[0]
    assert least_subnormal == float(info.smallest_subnormal)
    assert least_normal == float(info.smallest_normal)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("float4_e2m1fn_x2", "float4_e2m1fn"),
        ("float4_e2m1", "float4_e2m1fn"),
        ("float8_e4m3", "float8_e4m3fn"),
        ("float8_e8m0", "float8_e8m0fnu"),
    ],
)
def test_fmt_4_aliases(alias: str, name: str) -> None:
    assert get_format(alias) is FORMATS[name]
    assert ALIASES[alias] == name


def test_fmt_4_a_format_names_itself() -> None:
    for name, fmt in FORMATS.items():
        assert get_format(name) is fmt
        assert get_format(fmt) is fmt
    assert len(ALIASES) == 4


@pytest.mark.parametrize("name", ["int3", "float8", "INT8", "", "float8_e8m0fnuz", None, 8])
def test_fmt_4_other_names_are_refused(name: object) -> None:
    with pytest.raises(FormatError, match="FMT-4"):
        get_format(name)


def test_the_tables_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        FORMATS["int3"] = FORMATS["int4"]  # type: ignore[index]
    with pytest.raises(TypeError):
        ALIASES["int3"] = "int4"  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        FORMATS["int4"].bits = 5  # type: ignore[misc]
