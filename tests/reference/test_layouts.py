"""Arrays of every layout give the values' answers, and no operation changes what it is given."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.reference.support import DTYPES, Array, label, qparams, specs

from quant_reference import (
    PerBlock,
    PerChannel,
    QParams,
    QuantizationSpec,
    _fast,
    compute_qparams,
    decode,
    dequantize,
    encode,
    fake_quantize,
    fake_quantize_gradient,
    make_observer,
    pack,
    quantize,
    unpack,
    value_range,
)

SPEC = QuantizationSpec("int4", "asymmetric", granularity=PerChannel(0))
FP8 = QuantizationSpec("float8_e4m3fn", granularity=PerChannel(0))
PARAMS = QParams(np.full((4, 1), 0.3, np.float32), np.full((4, 1), -3, np.int32))

# Every operation as a function of one float tensor of shape (4, 6).
OPERATIONS: dict[str, Callable[[Array], Any]] = {
    "encode": lambda x: encode(x, "float8_e5m2"),
    "encode integer": lambda x: encode(x, "int8"),
    "value_range": lambda x: value_range(x, SPEC, "weight"),
    "compute_qparams": lambda x: _fields(compute_qparams(-abs(x), abs(x), SPEC)),
    "quantize": lambda x: quantize(x, SPEC, PARAMS),
    "quantize to FP8": lambda x: quantize(x, FP8, PARAMS),
    "fake_quantize": lambda x: fake_quantize(x, SPEC, PARAMS),
    "gradient": lambda x: fake_quantize_gradient(x, x, SPEC, PARAMS),
    "observe": lambda x: _fields(
        make_observer("moving_average", SPEC, "weight").update(x).update(x).qparams()
    ),
}
# And as a function of int4 codes.
CODE_OPERATIONS: dict[str, Callable[[Array], Any]] = {
    "decode": lambda codes: decode(codes, "int4"),
    "dequantize": lambda codes: dequantize(codes, SPEC, PARAMS),
    "pack": lambda codes: pack(codes, "int4", "low_first"),
}


def _fields(params: QParams) -> tuple[Any, ...]:
    return params.scale, params.zero_point, params.minval


def layouts(x: Array) -> dict[str, Array]:
    """The same values, laid out otherwise."""
    padded = np.zeros((x.shape[0] * 2, x.shape[1] * 3), x.dtype)
    padded[::2, ::3] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    unaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    return {
        "fortran": np.asfortranarray(x),
        "strided": padded[::2, ::3],
        "reversed": x[::-1, ::-1].copy()[::-1, ::-1],
        "big-endian": x.astype(x.dtype.newbyteorder(">")),
        "read-only": read_only,
        "unaligned": unaligned,
    }


def assert_identical(got: Any, expected: Any) -> None:
    got, expected = (value if isinstance(value, tuple) else (value,) for value in (got, expected))
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.dtype.isnative
        assert one.tobytes() == other.tobytes()


LAYOUTS = ("fortran", "strided", "reversed", "big-endian", "read-only", "unaligned")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_values_count_and_not_the_layout(operation: str, dtype: str, layout: str) -> None:
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6).astype(DTYPES[dtype])
    given = layouts(x)[layout]
    bits = given.tobytes()
    assert_identical(OPERATIONS[operation](given), OPERATIONS[operation](x))
    assert given.tobytes() == bits, "the input was changed"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", CODE_OPERATIONS)
def test_codes_of_every_layout(operation: str, layout: str) -> None:
    codes = (np.arange(24) % 16 - 8).astype(np.int8).reshape(4, 6)
    given = layouts(codes)[layout]
    assert_identical(CODE_OPERATIONS[operation](given), CODE_OPERATIONS[operation](codes))
    np.testing.assert_array_equal(given, codes)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_qparams_of_every_layout(layout: str) -> None:
    scale = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    zero_point = np.array([[1, 2], [3, 4]], np.int32)
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6)
    spec = QuantizationSpec("int4", granularity=PerBlock(None, (2, 3)))
    plain = QParams(scale, zero_point, -scale)
    given = QParams(*(layouts(array)[layout] for array in (scale, zero_point, -scale)))
    kept = [array.tobytes() for array in _fields(given)]
    for operation in (quantize, fake_quantize):
        assert_identical(operation(x, spec, given), operation(x, spec, plain))
    codes = quantize(x, spec, plain)
    assert_identical(dequantize(codes, spec, given), dequantize(codes, spec, plain))
    minval = QuantizationSpec("int4", qformulation="minval")
    assert_identical(fake_quantize(x, minval, given), fake_quantize(x, minval, plain))
    assert [array.tobytes() for array in _fields(given)] == kept


@pytest.mark.parametrize("spec", specs(), ids=label)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_of_rank_0(spec: QuantizationSpec, dtype: str) -> None:
    x = np.array(1.25, np.float32).astype(DTYPES[dtype])
    observer = make_observer("moving_average", spec, "weight").update(x).update(x)
    params = observer.qparams()
    assert params.scale.shape == ()
    codes = quantize(x, spec, params)
    assert isinstance(codes, np.ndarray)
    assert codes.shape == ()
    for result in (
        decode(codes, spec.dtype),
        encode(x, spec.dtype),
        dequantize(codes, spec, params),
        fake_quantize(x, spec, params),
        fake_quantize_gradient(x, x, spec, params),
        *value_range(x, spec, "weight"),
    ):
        assert isinstance(result, np.ndarray)
        assert result.shape == ()
    row = quantize(x.reshape(1), spec, QParams(*(_row(field) for field in _fields(params))))
    assert row.tolist() == [codes.item()]


def _row(field: Array | None) -> Any:
    return None if field is None else field.reshape(1)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (2, 0, 3)])
@pytest.mark.parametrize("spec", specs(), ids=label)
def test_an_empty_tensor_gives_an_empty_result(
    spec: QuantizationSpec, shape: tuple[int, ...]
) -> None:
    x = np.empty(shape, np.float32)
    codes = np.empty(shape, spec.format.code_dtype)
    assert (encode(x, spec.dtype).shape, decode(codes, spec.dtype).shape) == (shape, shape)
    none = tuple(min(n, 1) for n in shape)  # as many blocks as a granularity would ask for
    for blocks in ((1,) * len(shape), none):
        zero_point = np.zeros(blocks, np.int32)
        params = QParams(np.ones(blocks, np.float32), zero_point, zero_point.astype(np.float32))
        for result, dtype in (
            (quantize(x, spec, params), spec.format.code_dtype),
            (dequantize(codes, spec, params), np.float32),
            (fake_quantize(x, spec, params), np.float32),
            (fake_quantize_gradient(x, x, spec, params), np.float32),
        ):
            assert (result.shape, result.dtype) == (shape, np.dtype(dtype))


def test_no_codes_no_bytes() -> None:
    none = np.empty(0, np.uint8)
    assert pack(none, "uint4", "low_first").shape == (0,)
    assert unpack(none, "uint4", "low_first", 0).shape == (0,)


@pytest.mark.parametrize("chunk", [1, 5, 7, 64])
@pytest.mark.parametrize("blocks", [(1, 1, 1), (6, 1, 1), (1, 4, 1), (3, 2, 5), (6, 4, 10)])
def test_q_2_every_element_alike_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, blocks: tuple[int, ...], chunk: int
) -> None:
    """Cutting a tensor into chunks changes nothing, and all elements follow one rule."""
    spec = QuantizationSpec("int4", "asymmetric")
    rng = np.random.default_rng(3)
    x = rng.integers(-9, 9, (6, 4, 10)).astype(np.float32) / 2
    scale = np.ldexp(np.float32(1), rng.integers(-2, 2, blocks))
    params = QParams(scale.astype(np.float32), rng.integers(-8, 8, blocks, dtype=np.int32))
    whole = quantize(x, spec, params), fake_quantize(x, spec, params)
    monkeypatch.setattr(_fast, "CHUNK_ELEMENTS", chunk)
    assert_identical((quantize(x, spec, params), fake_quantize(x, spec, params)), whole)
    for place in ((0, 0, 0), (5, 3, 9), (2, 1, 4)):
        block = tuple(i * b // n for i, b, n in zip(place, blocks, x.shape, strict=True))
        alone = qparams(params.scale[block], params.zero_point[block])  # type: ignore[index]
        assert quantize(x[place].reshape(1), spec, alone)[0] == whole[0][place]


def test_results_are_new_arrays() -> None:
    x = np.arange(4, dtype=np.float32)
    codes = np.arange(4, dtype=np.uint8)
    params = qparams(1, 0)
    shared = [
        np.shares_memory(x, fake_quantize(x, QuantizationSpec("uint8"), params)),
        np.shares_memory(x, fake_quantize_gradient(x, x, QuantizationSpec("uint8"), params)),
        np.shares_memory(codes, pack(codes, "uint8", "low_first")),
        np.shares_memory(codes, unpack(codes, "uint8", "low_first", 4)),
        any(
            np.shares_memory(x, bound) for bound in value_range(x[:1], QuantizationSpec(), "weight")
        ),
    ]
    assert not any(shared)
