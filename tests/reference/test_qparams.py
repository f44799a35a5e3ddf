"""QP-1 to QP-9: from a range to qparams, in every dtype, against the oracle and by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.support import (
    DTYPES,
    FLOATS,
    INTEGERS,
    SCHEMES,
    Array,
    bit_arrays,
    label,
    numbers,
    specs,
    to_array,
)

from quant_reference import InputError, QParams, QuantizationSpec, compute_qparams, oracle
from quant_reference.oracle import BlockRange

ALL = [spec for spec in specs() if spec.qformulation == "zp"]  # the formulation plays no part


def bounds_from(raw: Array) -> tuple[Array, Array]:
    """Pairs of any values as ranges: lo from the first half, hi from the second."""
    half = raw.size // 2
    zero = np.zeros((), raw.dtype)
    with np.errstate(all="ignore"):
        return np.minimum(raw[:half], zero), np.maximum(raw[half : 2 * half], zero)


def assert_like_the_oracle(lo: Array, hi: Array, spec: QuantizationSpec) -> QParams:
    params = compute_qparams(lo, hi, spec)
    expected = [
        oracle.compute_qparams(BlockRange(low, high, lo.dtype.name), spec)
        for low, high in zip(numbers(lo), numbers(hi), strict=True)
    ]
    assert params.scale.dtype == np.float32
    assert params.scale.shape == lo.shape
    where = f"lo {lo}, hi {hi}"
    np.testing.assert_array_equal(params.scale, to_array(q.scale for q in expected), where)
    if not spec.format.is_integer:
        assert params.zero_point is None
        assert params.minval is None
        return params
    assert params.zero_point is not None
    assert params.minval is not None
    assert params.zero_point.dtype == np.int32
    assert params.minval.dtype == np.float32
    assert params.zero_point.shape == params.minval.shape == lo.shape
    np.testing.assert_array_equal(params.zero_point, [q.zero_point for q in expected], where)
    wanted = to_array(q.minval for q in expected if q.minval is not None)
    np.testing.assert_array_equal(params.minval, wanted, where)
    return params


def awkward(dtype: str) -> tuple[Array, Array]:
    """Every pair of bounds that are zero, tiny, tied, huge, infinite or NaN."""
    big = 3e38 if dtype != "float16" else 65504.0
    magnitudes = [0.0, 1e-45, 6e-8, 1e-5, 2.0**-126, 2.0**-23 * 127.5, 2.0**-16, 0.1, 1 / 3]
    magnitudes += [0.5, 1.0, 127.5, 255.0, 254.5, 6.0, 448.0, 449.0, 57344.0, 1000.5, big / 2, big]
    sides = np.array([*magnitudes, np.inf, np.nan], np.float32).astype(DTYPES[dtype])
    lo, hi = (side.ravel() for side in np.meshgrid(-sides, sides))
    return lo, hi


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", ALL, ids=label)
def test_awkward_ranges(spec: QuantizationSpec, dtype: str) -> None:
    assert_like_the_oracle(*awkward(dtype), spec)


@pytest.mark.parametrize("format_name", [*INTEGERS, *FLOATS])
@given(data=st.data(), dtype=st.sampled_from(list(DTYPES)))
def test_any_range(format_name: str, dtype: str, data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from([spec for spec in ALL if spec.dtype == format_name]))
    raw = data.draw(bit_arrays(dtype, 2, 8))
    ordinary = data.draw(st.lists(st.floats(-100, 100, width=16), min_size=4, max_size=12))
    for values in (raw, np.array(ordinary, np.float32).astype(DTYPES[dtype])):
        assert_like_the_oracle(*bounds_from(values), spec)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["int8", "uint4"])
def test_qp_9_half_precision_is_one_rounding_of_the_exact_result(name: str, dtype: str) -> None:
    """The remark in QP-9: float32 in between does no harm where the operands are half precision."""
    infinity = np.array([np.inf], DTYPES[dtype]).view(np.uint16)[0]
    hi = np.arange(1, infinity, 23, dtype=np.uint16).view(DTYPES[dtype])  # positive and finite
    params = compute_qparams(-hi, hi, QuantizationSpec(name))
    divisor = oracle.number((2 ** QuantizationSpec(name).format.bits - 1) / 2)
    eps = 2.0**-23
    for scale, bound in zip(params.scale.tolist(), numbers(hi), strict=True):
        exact = oracle.number(bound.exact / divisor.exact)
        assert scale == max(eps, float(oracle.round_to(exact, oracle.DTYPES[dtype])))


ONE = np.float32(1)


@pytest.mark.parametrize(
    ("dtype", "qscheme", "lo", "hi", "scale", "zero_point", "minval"),
    [
        ("int8", "symmetric", -1, 0.5, ONE / np.float32(127.5), 0, -1),
        ("int8", "symmetric_with_clipping", -1, 0.5, ONE / np.float32(127), 0, -1),
        ("int8", "asymmetric", -1, 0.5, np.float32(1.5) / np.float32(255), 42, -1),
        ("uint8", "symmetric", -0.5, 1, ONE / np.float32(127.5), 128, -1),
        ("uint8", "symmetric_with_clipping", -0.5, 1, ONE / np.float32(127.5), 128, -1),
        ("uint8", "asymmetric", 0, 255, 1, 0, 0),
        ("uint8", "asymmetric", -255, 0, 1, 255, -255),
        ("int4", "symmetric", -15, 1, 2, 0, -15),
        ("int4", "symmetric_with_clipping", -14, 1, 2, 0, -14),
        ("int4", "asymmetric", -5, 10, 1, -3, -5),
        ("uint4", "symmetric", -15, 1, 2, 8, -15),
        ("int2", "symmetric", 0, 3, 2, 0, -3),
        ("int2", "symmetric_with_clipping", 0, 3, 3, 0, -3),
        ("uint2", "symmetric", 0, 3, 2, 2, -3),
        ("uint2", "asymmetric", -1, 2, 1, 1, -1),
        ("uint2", "asymmetric", -0.5, 2.5, 1, 0, -0.5),  # QP-4: rint(-0.5) is 0
        ("uint2", "asymmetric", -1.5, 1.5, 1, 2, -1.5),  # and rint(-1.5) is -2
        ("int8", "symmetric", 0, 0, 2.0**-23, 0, 0),  # QP-1: all zeros
        ("int8", "asymmetric", 0, 0, 2.0**-23, -128, 0),
        ("uint8", "asymmetric", -1e-10, 0, 2.0**-23, 0, np.float32(-1e-10)),
        ("int8", "symmetric", -np.inf, 1, np.inf, 0, -np.inf),  # QP-8
        ("uint4", "asymmetric", -np.inf, 1, np.inf, 8, -np.inf),
        ("uint4", "asymmetric", -3e38, 3e38, np.inf, 8, np.float32(-3e38)),
        ("int8", "asymmetric", np.nan, np.nan, np.nan, 0, np.nan),
        ("uint8", "symmetric", np.nan, np.nan, np.nan, 128, np.nan),
        ("uint2", "asymmetric", np.nan, np.nan, np.nan, 2, np.nan),
    ],
)
def test_integer_qparams_by_hand(
    dtype: str, qscheme: Any, lo: float, hi: float, scale: float, zero_point: int, minval: float
) -> None:
    spec = QuantizationSpec(dtype, qscheme)
    params = assert_like_the_oracle(np.array([lo], np.float32), np.array([hi], np.float32), spec)
    assert params.zero_point is not None
    np.testing.assert_array_equal(params.scale, np.float32(scale))
    np.testing.assert_array_equal(params.zero_point, zero_point)
    np.testing.assert_array_equal(params.minval, np.float32(minval))


@pytest.mark.parametrize(
    ("dtype", "scale_dtype", "max_abs", "scale"),
    [
        ("float8_e4m3fn", None, 448, 1),  # QP-6
        ("float8_e4m3fn", None, 1, ONE / np.float32(448)),
        ("float8_e5m2", None, 57344, 1),
        ("float8_e5m2", None, 0, 2.0**-23),
        ("float8_e5m2", None, np.inf, np.inf),
        ("float4_e2m1fn", None, 6, 1),  # QP-7: floor(log2 6) = 2
        ("float4_e2m1fn", None, 4, 1),
        ("float4_e2m1fn", None, 7.99, 1),  # never rounded up
        ("float4_e2m1fn", None, 3.99, 0.5),
        ("float8_e4m3fn", "float8_e8m0fnu", 448, 1),
        ("float8_e4m3fn", "float8_e8m0fnu", 511, 1),
        ("float8_e4m3fn", "float8_e8m0fnu", 255, 0.5),
        ("float8_e5m2", "float8_e8m0fnu", 57344, 1),
        ("float8_e5m2", "float8_e8m0fnu", 1, 2.0**-15),
        ("float4_e2m1fn", None, 0, 2.0**-126),
        ("float4_e2m1fn", None, 1e-40, 2.0**-126),
        ("float4_e2m1fn", None, 2.0**-126, 2.0**-126),
        ("float4_e2m1fn", None, 2.0**-124, 2.0**-126),
        ("float4_e2m1fn", None, 2.0**-123, 2.0**-125),
        ("float4_e2m1fn", None, 3.4e38, 2.0**125),
        ("float4_e2m1fn", None, np.inf, np.nan),  # QP-8
        ("float8_e5m2", "float8_e8m0fnu", np.nan, np.nan),
    ],
)
def test_float_scales_by_hand(
    dtype: str, scale_dtype: str | None, max_abs: float, scale: float
) -> None:
    spec = QuantizationSpec(dtype, scale_dtype=scale_dtype)
    bound = np.array([max_abs], np.float32)
    for lo, hi in ((-bound, bound), (-bound, np.minimum(bound, 0)), (np.minimum(bound, 0), bound)):
        params = assert_like_the_oracle(lo, hi, spec)
        np.testing.assert_array_equal(params.scale, np.float32(scale))


@pytest.mark.parametrize(("dtype", "power"), [("float4_e2m1fn", 126), ("float8_e5m2", 113)])
def test_qp_8_the_other_policy_has_an_oracle(dtype: str, power: int) -> None:
    spec = QuantizationSpec(dtype, scale_dtype="float8_e8m0fnu")
    for bound in (oracle.INFINITY, oracle.NAN):
        bounds = BlockRange(-bound, bound, "float32")
        face_value = oracle.compute_qparams(bounds, spec, nonfinite_range="exponent_field")
        assert float(face_value.scale) == 2.0**power


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*INTEGERS, *FLOATS])
def test_qp_1_no_scale_is_less_than_eps(name: str, dtype: str) -> None:
    tiny = np.array([0.0, 6e-8], np.float32).astype(DTYPES[dtype])
    for scheme in SCHEMES if name in INTEGERS else SCHEMES[:1]:
        spec = QuantizationSpec(name, scheme)
        scale = compute_qparams(-tiny, tiny, spec).scale
        expected = 2.0**-23 if spec.scale_dtype is None else scale
        np.testing.assert_array_equal(scale, expected)
        assert (scale >= 2.0**-126).all()


def test_shapes_are_kept() -> None:
    for shape in ((), (1,), (2, 3), (1, 4, 1)):
        lo, hi = -np.ones(shape, np.float32), np.ones(shape, np.float32)
        params = compute_qparams(lo, hi, QuantizationSpec(qscheme="asymmetric"))
        assert params.zero_point is not None
        assert params.minval is not None
        assert params.scale.shape == params.zero_point.shape == params.minval.shape == shape
        assert compute_qparams(lo, hi, QuantizationSpec("float4_e2m1fn")).scale.shape == shape


@pytest.mark.parametrize(
    ("lo", "hi", "clause"),
    [
        (np.zeros(2, np.float32), np.zeros(2, np.float16), "QP-9"),
        (np.zeros(2, np.float32), np.zeros(1, np.float32), "QP-9"),
        (np.zeros(2, np.float64), np.zeros(2, np.float64), "QP-9"),
        (np.zeros(2, np.int32), np.zeros(2, np.int32), "QP-9"),
        (np.zeros(2, object), np.zeros(2, object), "QP-9"),
        (np.ones(2, np.float32), np.ones(2, np.float32), "RANGE-1"),
        (-np.ones(2, np.float32), -np.ones(2, np.float32), "RANGE-1"),
        (np.array([0, 1e-45], np.float32), np.ones(2, np.float32), "RANGE-1"),
    ],
)
def test_ranges_that_are_refused(lo: Array, hi: Array, clause: str) -> None:
    with pytest.raises(InputError, match=clause):
        compute_qparams(lo, hi, QuantizationSpec())
