"""The tricks that make the reference fast change no bit: each operation with and without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quant_reference import (
    FORMATS,
    QParams,
    QuantizationSpec,
    _fast,
    compute_qparams,
    decode,
    dequantize,
    encode,
    fake_quantize,
    fake_quantize_gradient,
    observe,
    quantize,
    value_range,
)

Array = np.ndarray[Any, Any]
DTYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
CODES = ("float8_e4m3fn", "float8_e5m2", "float4_e2m1fn")


def assert_same_both_ways(operation: Callable[[], Any]) -> None:
    assert _fast.enabled()
    fast = operation()
    with _fast.plain():
        plain = operation()
    assert _fast.enabled()
    pairs = zip(fast, plain, strict=True) if isinstance(fast, tuple) else [(fast, plain)]
    for one, other in pairs:
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


@st.composite
def specs(draw: st.DrawFn) -> QuantizationSpec:
    dtype = draw(st.sampled_from(["int2", "int4", "int8", "uint2", "uint4", "uint8", *CODES]))
    schemes = ("symmetric", "symmetric_with_clipping", "asymmetric")
    more: dict[str, Any] = (
        {"scale_dtype": draw(st.sampled_from([None, "float8_e8m0fnu"]))}
        if dtype in CODES
        else {
            "qscheme": draw(st.sampled_from(schemes)),
            "qformulation": draw(st.sampled_from(["zp", "minval"])),
        }
    )
    granularity = draw(
        st.sampled_from(
            [
                {"type": "per_tensor"},
                {"type": "per_channel", "axis": 0},
                {"type": "per_channel", "axis": -1},
                {"type": "per_block", "axis": 1, "block_size": 2},
                {"type": "per_block", "axis": None, "block_size": [2, -1]},
            ]
        )
    )
    return QuantizationSpec.from_dict({"dtype": dtype, "granularity": granularity, **more})


@st.composite
def tensors(draw: st.DrawFn, dtype: np.dtype[Any] | None = None) -> Array:
    dtype = dtype or draw(st.sampled_from(DTYPES))
    bits = np.dtype(f"u{dtype.itemsize}")
    # Any bit pattern, and numbers of an ordinary size among which ties are frequent.
    of_bits = arrays.arrays(bits, (4, 4)).map(lambda a: a.view(dtype))
    quarters = arrays.arrays(np.int16, (4, 4)).map(lambda a: (a / np.float32(4)).astype(dtype))
    return draw(st.one_of(of_bits, quarters))


def fields(qparams: QParams) -> tuple[Array, ...]:
    found = (qparams.scale, qparams.zero_point, qparams.minval)
    return tuple(field for field in found if field is not None)


@given(specs(), tensors(), st.data())
def test_any_tensor(spec: QuantizationSpec, x: Array, data: st.DataObject) -> None:
    other = data.draw(tensors(x.dtype), label="other")
    with np.errstate(all="ignore"):
        qparams = compute_qparams(*value_range(x, spec, "weight"), spec)
        codes = quantize(other, spec, qparams)
        numbers = np.nan_to_num(other.astype(np.float32))
    assert_same_both_ways(lambda: fields(observe([x, other], spec, "activation", "global_minmax")))
    assert_same_both_ways(lambda: quantize(other, spec, qparams))
    assert_same_both_ways(lambda: fake_quantize(other, spec, qparams))
    assert_same_both_ways(lambda: fake_quantize_gradient(other, x, spec, qparams))
    assert_same_both_ways(lambda: dequantize(codes, spec, qparams))
    assert_same_both_ways(lambda: encode(numbers, spec.dtype))


@pytest.mark.parametrize("name", FORMATS)
def test_every_code(name: str) -> None:
    form = FORMATS[name]
    codes = np.arange(2**form.bits).astype(np.uint8).view(form.code_dtype)
    if form.kind == "int":
        codes = np.arange(form.quant_min, form.quant_max + 1).astype(form.code_dtype)
    assert_same_both_ways(lambda: decode(codes, name))


@pytest.mark.parametrize("name", CODES)
def test_every_value_and_midpoint_and_their_neighbours(name: str) -> None:
    codes = np.arange(2 ** FORMATS[name].bits, dtype=np.uint8)
    values = np.unique(decode(codes, name)[np.isfinite(decode(codes, name))])
    points = np.concatenate([values, (values[1:] + values[:-1]) / np.float32(2)])
    inf = np.float32(np.inf)
    near = [points, np.nextafter(points, inf), np.nextafter(points, -inf), -points]
    special = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45])
    assert_same_both_ways(lambda: encode(np.concatenate([*near, special]), name))


@pytest.mark.parametrize("blocks", [(1, 1, 1), (6, 1, 1), (1, 4, 1), (3, 2, 5), (6, 4, 10)])
@pytest.mark.parametrize("dtype", ["int4", "uint8", *CODES])
def test_chunks_in_an_order_that_is_not_the_memory_s(
    monkeypatch: pytest.MonkeyPatch, dtype: str, blocks: tuple[int, ...]
) -> None:
    monkeypatch.setattr(_fast, "CHUNK_ELEMENTS", 7)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((10, 4, 6)).astype(np.float32).T * 4
    scale = np.ldexp(np.float32(1), rng.integers(-2, 2, blocks)).astype(np.float32)
    spec = QuantizationSpec(dtype)
    zero = rng.integers(0, 7, blocks, dtype=np.int32) if spec.format.is_integer else None
    qparams = QParams(scale, zero)
    assert_same_both_ways(lambda: quantize(x, spec, qparams))
    assert_same_both_ways(lambda: fake_quantize(x, spec, qparams))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1)])
def test_few_elements(shape: tuple[int, ...]) -> None:
    x, spec = np.full(shape, 0.75, np.float32), QuantizationSpec("uint8", "asymmetric")
    one = (1,) * len(shape)
    qparams = QParams(np.full(one, 0.5, np.float32), np.full(one, 3, np.int32))
    assert_same_both_ways(lambda: quantize(x, spec, qparams))
    assert_same_both_ways(lambda: fake_quantize(x, spec, qparams))
    assert_same_both_ways(lambda: fake_quantize_gradient(x, x, spec, qparams))
    assert_same_both_ways(lambda: dequantize(quantize(x, spec, qparams), spec, qparams))


@pytest.mark.parametrize("name", ["int8", "uint2", "float8_e4m3fn", "float4_e2m1fn"])
def test_memory_is_used_again_only_if_it_is_the_reference_s_own(name: str) -> None:
    x = np.linspace(-300, 300, 64, dtype=np.float32)
    x.flags.writeable = False  # writing to it raises
    spec = QuantizationSpec(name)
    zero = np.zeros(1, np.int32) if spec.format.is_integer else None
    qparams = QParams(np.ones(1, np.float32), zero)
    codes = quantize(x, spec, qparams)
    codes.flags.writeable = False
    for result in (encode(x, name), fake_quantize(x, spec, qparams), decode(codes, name)):
        assert not np.shares_memory(x, result)
        assert not np.shares_memory(codes, result)
    assert not np.shares_memory(codes, dequantize(codes, spec, qparams))
