"""GRAD-1 to GRAD-4: the straight-through gradient, against the oracle and by hand."""

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
    InputError,
    QParams,
    QuantizationSpec,
    fake_quantize_gradient,
    oracle,
)
from quant_reference.oracle import number

ALL = specs()
INCOMING = np.array([1.5, -1.5, 0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45], np.float32)


def assert_like_the_oracle(x: Array, grad: Array, spec: QuantizationSpec, params: QParams) -> None:
    gradient = fake_quantize_gradient(x, grad, spec, params)

    def formula(element: Any, incoming: Any, q: Any) -> Any:
        return oracle.fake_quantize_gradient(element, incoming, spec, q)

    expected = elementwise(formula, params, x.shape, numbers(x), numbers(grad))
    assert_same(gradient, expected, x.dtype, x, grad)


def params_for(spec: QuantizationSpec, scale: float) -> QParams:
    if not spec.format.is_integer:
        return qparams(scale)
    if spec.qformulation == "minval":
        return qparams(scale, minval=-3 * scale)
    return qparams(scale, int(spec.quant_max) - 1)


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.0137, 1e-42])
@pytest.mark.parametrize("spec", ALL, ids=label)
def test_both_ends_of_the_range(spec: QuantizationSpec, scale: float) -> None:
    """The last x that rounds to a code in use, the first that does not, and their neighbours."""
    if spec.scale_dtype is not None:
        scale = 2.0 ** round(np.log2(max(scale, 2.0**-126)))
    params = params_for(spec, scale)
    step = number(float(params.scale[0])).exact
    ends = [spec.quant_min, spec.quant_max]
    if spec.format.is_integer:
        start = spec.quant_min + 3 if spec.qformulation == "minval" else int(spec.quant_max) - 1
        ends = [end + half - start for end in ends for half in (-1, -0.5, 0, 0.5, 1)]
    exact = [oracle.round_to(number(number(end).exact * step), oracle.FLOAT32) for end in ends]
    x = np.repeat(with_neighbours(to_array(exact)), INCOMING.size)
    assert_like_the_oracle(x, np.tile(INCOMING, x.size // INCOMING.size), spec, params)


@pytest.mark.parametrize("format_name", [*INTEGERS, *FLOATS])
@given(data=st.data(), dtype=st.sampled_from(list(DTYPES)))
def test_any_bits(format_name: str, dtype: str, data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from([spec for spec in ALL if spec.dtype == format_name]))
    x, grad = (data.draw(bit_arrays(dtype, 6, 6)) for _ in range(2))
    scale = 2.0 ** data.draw(st.integers(-126, 127)) if spec.scale_dtype else data.draw(scales())
    with np.errstate(over="ignore"):
        params = params_for(spec, scale)
    assert_like_the_oracle(x, grad, spec, params)
    with np.errstate(over="ignore"):
        ordinary = (np.arange(-3, 3) * np.float32(min(scale, 2.0**100))).astype(DTYPES[dtype])
    assert_like_the_oracle(ordinary, grad, spec, params)


def test_by_hand() -> None:
    x = np.array([127.0, 127.5, 127.499, -128.5, -128.501, 1e9, np.inf, np.nan], np.float32)
    grad = np.full(8, -2.0, np.float32)
    got = fake_quantize_gradient(x, grad, QuantizationSpec(), qparams(1, 0))
    # 127.5 rounds to 128, -128.5 to -128
    assert got.tolist() == [-2, 0, -2, -2, 0, 0, 0, 0]
    assert np.signbit(got).tolist() == [True, False, True, True, False, False, False, False]
    fp8 = QuantizationSpec("float8_e4m3fn")
    x = np.array([448.0, 448.00003, -448.0, -449.0], np.float32)
    assert fake_quantize_gradient(x, x, fp8, qparams(1)).tolist() == [448, 0, -448, 0]  # GRAD-3


@pytest.mark.parametrize("dtype", DTYPES)
def test_grad_1_bit_for_bit(dtype: str) -> None:
    """NaN payloads pass too (GRAD-4)."""
    unsigned = np.dtype(f"uint{DTYPES[dtype].itemsize * 8}")
    rng = np.random.default_rng(1)
    bits = rng.integers(0, np.iinfo(unsigned).max, 4096, endpoint=True).astype(unsigned)
    x = np.zeros(4096, DTYPES[dtype])
    gradient = fake_quantize_gradient(
        x, bits.view(DTYPES[dtype]), QuantizationSpec(), qparams(1, 0)
    )
    np.testing.assert_array_equal(gradient.view(unsigned), bits)


def test_grad_2_the_other_policy_has_an_oracle() -> None:
    block = oracle.BlockQParams(number(1), 0)
    for grad, negative in ((-1.5, True), (1.5, False), (float("-inf"), True)):
        got = oracle.fake_quantize_gradient(
            number(1e9),
            number(grad),
            QuantizationSpec(),
            block,
            zero_gradient_sign="negative_zero",
        )
        assert float(got) == 0
        assert got.negative == negative


@pytest.mark.parametrize(
    ("grad", "given"),
    [
        (np.zeros((2, 1), np.float32), "(2, 1)"),
        (np.zeros(3, np.float32), "(3,)"),
        (np.zeros(2, np.float16), "float16"),
        (np.zeros(2, np.int32), "int32"),
        (np.zeros(2, np.float64), "float64"),
    ],
)
def test_grad_1_another_shape_or_dtype_is_refused(grad: Array, given: str) -> None:
    with pytest.raises(InputError, match="GRAD-1") as refusal:
        fake_quantize_gradient(np.zeros(2, np.float32), grad, QuantizationSpec(), qparams(1, 0))
    assert given in refusal.value.given
