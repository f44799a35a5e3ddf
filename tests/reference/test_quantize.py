"""Q-1 to Q-8 and FQ-1 to FQ-4: every boundary of every integer code, every special value."""

from functools import cache
from itertools import pairwise
from typing import Any

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
    block_qparams,
    elementwise,
    label,
    numbers,
    qparams,
    scales,
    specs,
    to_array,
    with_neighbours,
)

from quant_reference import (
    FORMATS,
    QParams,
    QuantizationSpec,
    dequantize,
    fake_quantize,
    oracle,
    quantize,
)
from quant_reference.oracle import number

ALL = specs()
INTEGER = [spec for spec in ALL if spec.format.is_integer]
FLOAT = [spec for spec in ALL if not spec.format.is_integer]
# No power of two but the least subnormal; a subnormal; one whose 256 steps barely fit.
AWKWARD_SCALES = (0.1, 0.0137, 2.0**-149, 1.7e-40, 1.3e36)


def assert_like_the_oracle(x: Array, spec: QuantizationSpec, params: QParams) -> None:
    """quantize, dequantize of its codes, and fake_quantize."""
    elements = numbers(x)
    codes = quantize(x, spec, params)
    values = dequantize(codes, spec, params)
    faked = fake_quantize(x, spec, params)

    def quantized(element: Any, q: Any) -> Any:
        return oracle.quantize(element, spec, q)

    @cache
    def dequantized(code: int, q: Any) -> Any:
        return oracle.dequantize(code, spec, q)

    def fake_quantized(element: Any, q: Any) -> Any:
        return oracle.fake_quantize(element, spec, q, x.dtype.name)

    expected = elementwise(quantized, params, x.shape, elements)
    assert_same(codes, expected, spec.format.code_dtype, x)
    expected = elementwise(dequantized, params, x.shape, expected)
    assert_same(values, expected, np.float32, x)
    expected = elementwise(fake_quantized, params, x.shape, elements)
    assert_same(faked, expected, x.dtype, x)


def params_for(spec: QuantizationSpec, scale: float, turn: int) -> QParams:
    """Qparams of one block; the turn picks among zero points, or among minvals."""
    if not spec.format.is_integer:
        return qparams(scale)
    if spec.qformulation == "minval":
        steps = (0.0, spec.quant_min - spec.quant_max, -0.3, -100.7)[turn % 4]
        with np.errstate(over="ignore"):
            return qparams(scale, minval=np.float32(steps) * np.float32(scale))
    zero = 0 if spec.format.kind == "int" else 2 ** (spec.format.bits - 1)
    asymmetric = (int(spec.quant_min), int(spec.quant_max), zero + 1, zero)
    return qparams(scale, asymmetric[turn % 4] if spec.qscheme == "asymmetric" else zero)


def ties(spec: QuantizationSpec, params: QParams) -> Array:
    """What lies halfway between neighbouring codes, in float32, and one ulp to either side."""
    scale = number(float(params.scale[0])).exact
    if spec.qformulation == "minval":
        offset, start = int(spec.quant_min), number(float(params.minval[0])).exact  # type: ignore[index]
    else:
        offset, start = int(params.zero_point[0]), 0 * scale  # type: ignore[index]
    halves = [
        oracle.round_to(number((code - offset) * scale + scale / 2 + start), oracle.FLOAT32)
        for code in range(int(spec.quant_min) - 2, int(spec.quant_max) + 2)
    ]
    return with_neighbours(to_array(halves))


@pytest.mark.parametrize("turn", range(len(AWKWARD_SCALES)))
@pytest.mark.parametrize("spec", INTEGER, ids=label)
def test_every_midpoint_and_its_neighbours(spec: QuantizationSpec, turn: int) -> None:
    params = params_for(spec, AWKWARD_SCALES[turn], turn)
    assert_like_the_oracle(ties(spec, params), spec, params)


@pytest.mark.parametrize("spec", FLOAT, ids=label)
@pytest.mark.parametrize("scale", [2.0**-126, 2.0**-23, 0.125, 2.0**20, 2.0**118])
def test_every_midpoint_of_the_float_formats(spec: QuantizationSpec, scale: float) -> None:
    values = [oracle.decode(code, spec.dtype) for code in range(2 ** (spec.format.bits - 1))]
    finite = sorted(value.exact for value in values if value.kind == "finite")
    middle = [(a + b) / 2 for a, b in pairwise(finite)]
    if spec.scale_dtype is None:
        scale *= 1.1
    size = number(float(np.float32(scale)))
    points = [oracle.round_to(number(m * size.exact), oracle.FLOAT32) for m in [*finite, *middle]]
    x = with_neighbours(to_array(p for p in points if p.kind == "finite"))
    assert_like_the_oracle(np.concatenate([x, -x]), spec, qparams(np.float32(scale)))


SPECIAL = np.array(
    [0.0, 1e-45, 6e-8, 2.0**-127, 2.0**-126, 0.5, 1.5, 2.5, 65504.0, 3e9, 3.4e38, np.inf, np.nan],
    np.float32,
)
SPECIAL = np.concatenate([SPECIAL, -SPECIAL])  # NaN too


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", ALL, ids=label)
def test_special_values_over_special_scales(spec: QuantizationSpec, dtype: str) -> None:
    with np.errstate(over="ignore"):
        x = SPECIAL.astype(DTYPES[dtype])
    special = [1.0, 2.0**-126, 2.0**127, np.nan]
    if spec.scale_dtype is None:
        special += [0.1, 1e-45, 3.4e38, np.inf]
    for turn, scale in enumerate(special):
        params = params_for(spec, scale if np.isfinite(scale) else 1.0, turn)
        held = QParams(np.array([scale], np.float32), params.zero_point, params.minval)
        assert_like_the_oracle(x, spec, held)
        if spec.qformulation == "minval" and scale in (0.1, 3.4e38):
            for minval in (-np.inf, np.nan, -0.0, -3.4e38):
                assert_like_the_oracle(x, spec, qparams(scale, minval=minval))


def specs_of(dtype: str) -> st.SearchStrategy[QuantizationSpec]:
    return st.sampled_from([spec for spec in ALL if spec.dtype == dtype])


@pytest.mark.parametrize("format_name", [*INTEGERS, *FLOATS])
@given(data=st.data(), dtype=st.sampled_from(list(DTYPES)))
def test_any_bits(format_name: str, dtype: str, data: st.DataObject) -> None:
    spec = data.draw(specs_of(format_name))
    x = data.draw(bit_arrays(dtype, max_size=8))
    scale = data.draw(scales())
    if spec.scale_dtype is not None:
        scale = 2.0 ** data.draw(st.integers(-126, 127))
    params = params_for(spec, scale, data.draw(st.integers(0, 3)))
    assert_like_the_oracle(x, spec, params)


@pytest.mark.parametrize("format_name", [*INTEGERS, *FLOATS])
@given(data=st.data(), dtype=st.sampled_from(list(DTYPES)))
def test_values_near_the_codes(format_name: str, dtype: str, data: st.DataObject) -> None:
    """Multiples of half a step, in every dtype, in two blocks of their own scales."""
    spec = data.draw(specs_of(format_name))
    two = [2.0 ** data.draw(st.integers(-10, 3)) for _ in range(2)]
    factor = 1 if spec.scale_dtype else data.draw(st.sampled_from([1.0, 0.7, 1.9]))
    halves = data.draw(st.lists(st.integers(-600, 600), min_size=6, max_size=6))
    scale = (np.array([two], np.float32) * np.float32(factor)).reshape(2, 1)
    x = (np.array(halves, np.float32).reshape(2, 3) * scale / 2).astype(DTYPES[dtype])
    one = params_for(spec, 1.0, data.draw(st.integers(0, 3)))
    zero_point = None if one.zero_point is None else np.repeat(one.zero_point, 2).reshape(2, 1)
    minval = None if one.minval is None else one.minval * scale
    assert_like_the_oracle(x, spec, QParams(scale, zero_point, minval))


@pytest.mark.parametrize("scale", [*AWKWARD_SCALES, 3.4e38, np.inf, np.nan])
@pytest.mark.parametrize("spec", ALL, ids=label)
def test_dq_4_every_code(spec: QuantizationSpec, scale: float) -> None:
    """The code that clipping drops included."""
    fmt = FORMATS[spec.dtype]
    first = int(fmt.quant_min) if fmt.is_integer else 0
    codes = np.arange(first, first + 2**fmt.bits).astype(fmt.code_dtype)
    if spec.scale_dtype is not None:
        scale = float(np.ldexp(1.0, int(np.log2(scale)))) if 2**-126 < scale < 2**127 else 1.0
    params = params_for(spec, scale, 2)
    [block] = block_qparams(params)
    expected = [oracle.dequantize(code, spec, block) for code in codes.tolist()]
    assert_same(dequantize(codes, spec, params), expected, np.float32, codes)


def test_by_hand() -> None:
    """Rows of the known-bug table, each with the wrong answer beside it."""
    int8 = QuantizationSpec()

    def codes(values: list[float], spec: QuantizationSpec, params: QParams) -> list[int]:
        return quantize(np.array(values, np.float32), spec, params).tolist()

    # Q-2, not [1, 2, 3, -1, -2, -3]
    halves = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5]
    assert codes(halves, int8, qparams(1, 0)) == [0, 2, 2, 0, -2, -2]
    # rounded before the zero point is added, not [2, 2]
    assert codes([0.5, 1.5], int8, qparams(1, 1)) == [1, 3]
    # clamped before the cast, not [0, 0]
    assert codes([3e9, -3e9, np.inf, -np.inf], int8, qparams(1, 0)) == [127, -128, 127, -128]
    #
    assert codes([np.nan], int8, qparams(1, 5)) == [5]
    assert codes([np.nan], QuantizationSpec(qformulation="minval"), qparams(1, minval=0)) == [-128]
    # ties of the division that a multiplication by the reciprocal misses, not [1, 3, 13]
    scale = np.float32(0.0137)
    ties_of_division = (np.array([1.5, 3.5, 13.5], np.float32) * scale).tolist()
    assert codes(ties_of_division, int8, qparams(scale, 0)) == [2, 4, 14]
    # Q-5, ENC-3
    fp8 = QuantizationSpec("float8_e4m3fn")
    assert codes([-0.0, -1e-30, 1e9, -np.inf], fp8, qparams(1)) == [0x80, 0x80, 0x7E, 0xFE]


def test_fq_2_nan_stays_nan_in_every_format() -> None:
    for spec in ALL:
        x = np.array([np.nan, 1.0], np.float32)
        assert np.isnan(fake_quantize(x, spec, params_for(spec, 1.0, 0))).tolist() == [True, False]


def test_fq_3_beyond_float16() -> None:
    x = np.array([65504.0, -65504.0, 60000.0], np.float16)
    faked = fake_quantize(x, QuantizationSpec(), qparams(700.0, 0))
    assert faked.tolist() == [np.inf, -np.inf, 60192.0]


def test_fq_4_zero_of_an_integer_format() -> None:
    x = np.array([-0.0, -0.2, 0.2, 0.0], np.float32)
    for spec in INTEGER:
        if spec.qformulation == "zp":
            faked = fake_quantize(x, spec, params_for(spec, 1.0, 3))
            assert not np.signbit(faked).any()
            assert (faked == 0).all()
    for dtype in FLOATS:
        faked = fake_quantize(x, QuantizationSpec(dtype), qparams(2.0**9))
        assert np.signbit(faked).tolist() == [True, True, False, False]


@pytest.mark.parametrize("spec", ALL, ids=label)
@pytest.mark.parametrize("scale", [np.nan, np.inf])
def test_qp_8_a_block_without_a_finite_scale_is_nan(spec: QuantizationSpec, scale: float) -> None:
    if spec.scale_dtype is not None:
        scale = np.nan
    x = np.array([0.0, 1.0, -1.0, 3e38, np.inf, -np.inf, np.nan], np.float32)
    params = params_for(spec, 1.0, 3)
    block = QParams(np.array([scale], np.float32), params.zero_point, params.minval)
    assert np.isnan(fake_quantize(x, spec, block)).all()
