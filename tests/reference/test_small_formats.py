"""FMT-5 to FMT-8, ENC-8 to ENC-11, PACK-4: every code and midpoint, against three others."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import gfloat
import gfloat.formats
import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from quant_reference import (
    FORMATS,
    SPEC_FORMATS,
    FormatError,
    InputError,
    QuantizationSpec,
    SpecError,
    decode,
    encode,
    oracle,
    pack,
    unpack,
)
from quant_reference._fast import plain
from quant_reference.oracle import number

Array = NDArray[Any]
F32 = np.float32
SMALL = [name for name in FORMATS if name not in SPEC_FORMATS]
ML_DTYPES = {
    "float8_e3m4": ml_dtypes.float8_e3m4,
    "float8_e4m3ieee": ml_dtypes.float8_e4m3,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "float8_e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz,
    "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "float6_e2m3fn": ml_dtypes.float6_e2m3fn,
    "float6_e3m2fn": ml_dtypes.float6_e3m2fn,
}
GFLOAT = {
    "float6_e2m3fn": gfloat.formats.format_info_ocp_e2m3,
    "float6_e3m2fn": gfloat.formats.format_info_ocp_e3m2,
    "mxint8": gfloat.formats.format_info_ocp_int8,
}


def every_code(name: str) -> Array:
    fmt = FORMATS[name]
    return np.arange(1 << fmt.bits).astype(np.uint8).view(fmt.code_dtype)


def boundaries(name: str) -> Array:
    """Every value, every midpoint, what lies beyond, and the float32 beside each."""
    exact = sorted({v.exact for c in every_code(name).tolist()
                    if (v := oracle.decode(c, name)).kind == "finite"})  # fmt: skip
    gap = exact[-1] - exact[-2]
    exact = [exact[0] - gap, *exact, exact[-1] + gap]
    points = [float(v) for v in [*exact, *((a + b) / 2 for a, b in pairwise(exact))]]
    near = np.array([*points, 0.0, -0.0, 1e30, -1e30, np.inf, -np.inf], np.float64).astype(F32)
    up, down = (np.nextafter(near, F32(to)) for to in (np.inf, -np.inf))
    found = np.concatenate([near, up, down])
    if FORMATS[name].kind == "float":
        found = np.append(found, np.array([np.nan, -np.nan], F32))
    return found if FORMATS[name].signed else found[~(found < 0)]


@pytest.mark.parametrize("name", SMALL)
def test_every_boundary_is_encoded_as_the_oracle_says(name: str) -> None:
    x = boundaries(name)
    wanted = [oracle.encode(number(float(v)), name) for v in x]
    assert encode(x, name).tolist() == wanted
    with plain():
        assert encode(x, name).tolist() == wanted
    assert encode(x.reshape(-1, 1), name).dtype == FORMATS[name].code_dtype


@pytest.mark.parametrize("name", SMALL)
def test_every_code_is_decoded_as_the_oracle_says(name: str) -> None:
    codes = every_code(name)
    wanted = [float(oracle.decode(c, name)) for c in codes.tolist()]
    for found in (decode(codes, name), _plainly(codes, name)):
        np.testing.assert_array_equal(found, np.array(wanted, F32))
        real = ~np.isnan(found)
        np.testing.assert_array_equal(np.signbit(found)[real], np.signbit(wanted)[real])


def _plainly(codes: Array, name: str) -> Array:
    with plain():
        return decode(codes, name)


@pytest.mark.parametrize("name", ML_DTYPES)
def test_ml_dtypes_agrees_at_every_code_and_boundary(name: str) -> None:
    codes, dtype = every_code(name), np.dtype(ML_DTYPES[name])
    np.testing.assert_array_equal(decode(codes, name), codes.view(dtype).astype(F32))
    x = boundaries(name)
    x = x[np.abs(x) <= FORMATS[name].quant_max]
    np.testing.assert_array_equal(encode(x, name), x.astype(dtype).view(np.uint8))


@pytest.mark.parametrize("name", ML_DTYPES)
def test_the_limits_are_those_that_ml_dtypes_states(name: str) -> None:
    info, fmt = ml_dtypes.finfo(ML_DTYPES[name]), FORMATS[name]
    assert (fmt.quant_min, fmt.quant_max) == (float(info.min), float(info.max))
    assert (fmt.exponent_bits, fmt.mantissa_bits) == (info.nexp, info.nmant)
    assert decode(np.array([1], np.uint8), name)[0] == float(info.smallest_subnormal)
    assert 2.0**fmt.max_pow2 <= fmt.quant_max < 2.0 ** (fmt.max_pow2 + 1)


@pytest.mark.parametrize("name", GFLOAT)
def test_gfloat_agrees_at_every_code_and_boundary(name: str) -> None:
    codes, info = every_code(name), GFLOAT[name]
    values = [gfloat.decode_float(info, int(c) & ((1 << info.k) - 1)).fval for c in codes]
    np.testing.assert_array_equal(decode(codes, name), np.array(values, F32))
    for x in boundaries(name).tolist():
        if x == x:
            rounded = gfloat.round_float(info, x, sat=True)
            found = decode(encode(np.array([x], F32), name), name)[0]
            # gfloat knows no -0 of fixed-point formats, and takes float64.
            assert found == rounded, x


def test_values_by_hand() -> None:
    """Of the tables of the OCP document and of the QLoRA paper."""
    assert decode(every_code("float6_e2m3fn")[[1, 7, 8, 31]], "float6_e2m3fn").tolist() == [
        0.125, 0.875, 1.0, 7.5
    ]  # fmt: skip
    assert decode(every_code("float6_e3m2fn")[[1, 3, 4, 31]], "float6_e3m2fn").tolist() == [
        0.0625, 0.1875, 0.25, 28.0
    ]  # fmt: skip
    assert FORMATS["nf4"].values[7] == 0
    assert FORMATS["nf4"].values == tuple(sorted(FORMATS["nf4"].values))
    assert all(float(F32(v)) == v for v in FORMATS["nf4"].values)
    half = F32(Fraction(FORMATS["nf4"].values[8]) / 2)  # type: ignore[arg-type]
    assert encode(np.array([half, np.nextafter(half, F32(1))]), "nf4").tolist() == [7, 8]


@pytest.mark.parametrize("name", ["mxint8", "nf4"])
def test_nan_is_refused_where_it_has_no_code(name: str) -> None:
    with pytest.raises(InputError, match="ENC-9" if name == "mxint8" else "ENC-11"):
        encode(np.array([0.5, np.nan], F32), name)


@pytest.mark.parametrize("value", [-0.5, -np.inf, -1e-45])
def test_unsigned_scales_refuse_negative_numbers(value: float) -> None:
    with pytest.raises(FormatError, match="ENC-10"):
        encode(np.array([1, value], F32), "float8_ue4m3")
    with pytest.raises(InputError, match="DEC-1"):
        decode(np.array([128], np.uint8), "float8_ue4m3")


@pytest.mark.parametrize("call", [
    lambda name: encode(np.ones(1, F32), name),
    lambda name: decode(np.ones(1, np.uint8), name),
    lambda name: pack(np.ones(1, np.uint8), name, "low_first"),
    lambda name: unpack(np.ones(1, np.uint8), name, "low_first", 1),
])  # fmt: skip
def test_a_name_of_two_formats_is_refused_by_codecs(call: Any) -> None:
    with pytest.raises(FormatError, match=r"float8_e4m3fn or float8_e4m3ieee.*FMT-4"):
        call("float8_e4m3")
    assert QuantizationSpec("float8_e4m3").dtype == "float8_e4m3fn"


@pytest.mark.parametrize("name", SMALL)
def test_a_spec_does_not_name_them(name: str) -> None:
    with pytest.raises(SpecError, match="SPEC-1"):
        QuantizationSpec(name)


@pytest.mark.parametrize("order", ["low_first", "high_first"])
@pytest.mark.parametrize("name", SMALL)
def test_codes_are_packed_as_the_oracle_says(name: str, order: Any) -> None:
    rng = np.random.default_rng(7)
    for count in range(14):
        codes = rng.permutation(every_code(name))[:count]
        packed = pack(codes, name, order)
        assert packed.tolist() == oracle.pack(codes.tolist(), name, order)
        assert unpack(packed, name, order, codes.size).tolist() == codes.tolist()
        assert oracle.unpack(packed.tolist(), name, order, codes.size) == codes.tolist()


def test_four_codes_of_six_bits_by_hand() -> None:
    codes = np.array([0b000001, 0b000010, 0b000011, 0b000100], np.uint8)
    low = pack(codes, "float6_e2m3fn", "low_first")
    assert low.tolist() == [0b10_000001, 0b0011_0000, 0b000100_00]
    assert pack(codes, "float6_e2m3fn", "high_first").tolist() == [
        0b000001_00, 0b0010_0000, 0b11_000100
    ]  # fmt: skip
    with pytest.raises(InputError, match="PACK-3"):
        unpack(low, "float6_e2m3fn", "low_first", 5)
