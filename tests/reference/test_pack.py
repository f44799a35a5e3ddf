"""PACK-1 to PACK-3: codes in bytes, by hand, against the oracle, and against ml_dtypes and onnx."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from quant_reference import CONTAINER_ORDER, FORMATS, SPEC_FORMATS, InputError, oracle, pack, unpack

ORDERS = ("low_first", "high_first")
NARROW = ("int2", "int4", "uint2", "uint4", "float4_e2m1fn")


@pytest.mark.parametrize(
    ("name", "codes", "low_first", "high_first"),
    [
        ("uint4", [1, 2, 3], [0x21, 0x03], [0x12, 0x30]),
        ("int4", [-8, 7, -1], [0x78, 0x0F], [0x87, 0xF0]),
        ("uint2", [0, 1, 2, 3, 2], [0b11100100, 0b10], [0b00011011, 0b10000000]),
        ("int2", [-2, 1, -1, 0], [0b00110110], [0b10011100]),
        ("float4_e2m1fn", [0x8, 0x7], [0x78], [0x87]),
        ("int8", [-128, -1, 5], [0x80, 0xFF, 5], [0x80, 0xFF, 5]),
        ("uint8", [255, 0], [255, 0], [255, 0]),
        ("uint4", [], [], []),
    ],
)
def test_bytes_worked_out_by_hand(
    name: str, codes: list[int], low_first: list[int], high_first: list[int]
) -> None:
    array = np.array(codes, FORMATS[name].code_dtype)
    for order, expected in (("low_first", low_first), ("high_first", high_first)):
        packed = pack(array, name, order)
        assert packed.dtype == np.uint8
        assert packed.tolist() == expected
        np.testing.assert_array_equal(unpack(packed, name, order, len(codes)), array)
        assert oracle.pack(codes, name, order) == expected


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", SPEC_FORMATS)
@given(data=st.data())
def test_pack_and_unpack_are_the_oracle_s(name: str, order: str, data: st.DataObject) -> None:
    fmt = FORMATS[name]
    first = int(fmt.quant_min) if fmt.is_integer else 0
    codes = data.draw(st.lists(st.integers(first, first + 2**fmt.bits - 1), max_size=19))
    array = np.array(codes, fmt.code_dtype)
    packed = pack(array, name, order)
    assert packed.tolist() == oracle.pack(codes, name, order)
    unpacked = unpack(packed, name, order, len(codes))
    assert unpacked.dtype == fmt.code_dtype
    assert unpacked.tolist() == codes == oracle.unpack(packed.tolist(), name, order, len(codes))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", SPEC_FORMATS)
def test_pack_2_every_byte(name: str, order: str) -> None:
    """Every byte is legal to read, whatever was written behind the last code (PACK-3)."""
    fmt = FORMATS[name]
    every = np.arange(256, dtype=np.uint8)
    count = 256 * 8 // fmt.bits
    expected = oracle.unpack(every.tolist(), name, order, count)
    assert unpack(every, name, order, count).tolist() == expected
    if fmt.bits < 8:
        assert unpack(every, name, order, count - 1).tolist() == expected[:-1]


def test_pack_1_rows_run_on() -> None:
    """A row of odd length does not end its byte: C order of the whole tensor."""
    codes = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    assert pack(codes, "uint4", "low_first").tolist() == [0x21, 0x43, 0x65]
    assert pack(codes.T, "uint4", "low_first").tolist() == [0x41, 0x52, 0x63]
    assert pack(np.array(3, np.uint8), "uint4", "high_first").tolist() == [0x30]


@pytest.mark.parametrize(
    ("name", "onnx_type"),
    [
        ("int4", TensorProto.INT4),
        ("uint4", TensorProto.UINT4),
        ("float4_e2m1fn", TensorProto.FLOAT4E2M1),
    ],
)
def test_pack_1_onnx_reads_what_is_packed_for_it(name: str, onnx_type: int) -> None:
    fmt = FORMATS[name]
    first = int(fmt.quant_min) if fmt.is_integer else 0
    codes = np.arange(first, first + 15).astype(fmt.code_dtype)
    packed = pack(codes, name, CONTAINER_ORDER["onnx"])
    tensor = helper.make_tensor("codes", onnx_type, codes.shape, packed.tobytes(), raw=True)
    read = numpy_helper.to_array(tensor)
    bits = read.view(np.uint8) & 0xF if fmt.kind == "float" else read.astype(fmt.code_dtype)
    np.testing.assert_array_equal(bits, codes)


def test_pack_1_the_containers() -> None:
    assert dict(CONTAINER_ORDER) == {
        "numpy": None,
        "torch": "low_first",
        "onnx": "low_first",
        "coreai": "low_first",
        "coreml": "low_first",
    }
    with pytest.raises(TypeError):
        CONTAINER_ORDER["numpy"] = "low_first"  # type: ignore[index]


@pytest.mark.parametrize("name", NARROW)
def test_pack_3_more_codes_than_bytes_are_refused(name: str) -> None:
    packed = np.zeros(2, np.uint8)
    most = 16 // FORMATS[name].bits
    assert unpack(packed, name, "low_first", most).size == most
    for count in (most + 1, 10**9):
        with pytest.raises(InputError, match="PACK-3") as refusal:
            unpack(packed, name, "low_first", count)
        assert str(most) in refusal.value.allowed


@pytest.mark.parametrize("count", [-1, 1.0, True, "1", None])
def test_pack_3_count_is_an_int(count: object) -> None:
    with pytest.raises(InputError, match="PACK-3"):
        unpack(np.zeros(1, np.uint8), "int4", "low_first", count)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ["little", "", None, "LOW_FIRST", 0])
def test_pack_1_other_orders_are_refused(order: object) -> None:
    with pytest.raises(InputError, match="PACK-1") as refusal:
        pack(np.zeros(1, np.uint8), "uint8", order)  # type: ignore[arg-type]
    assert refusal.value.allowed == "low_first or high_first"
    with pytest.raises(InputError, match="PACK-1"):
        unpack(np.zeros(1, np.uint8), "uint4", order, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "packed", [np.zeros(2, np.int8), np.zeros((1, 2), np.uint8), np.zeros(2, np.float32), [1, 2]]
)
def test_pack_1_packed_data_is_bytes(packed: object) -> None:
    with pytest.raises(InputError, match="PACK-1") as refusal:
        unpack(packed, "int4", "low_first", 1)  # type: ignore[arg-type]
    assert "uint8" in refusal.value.allowed


@pytest.mark.parametrize("name", NARROW)
def test_pack_1_a_code_too_wide_is_refused(name: str) -> None:
    fmt = FORMATS[name]
    beyond = int(fmt.quant_max) + 1 if fmt.is_integer else 16
    with pytest.raises(InputError, match="PACK-1"):
        pack(np.array([beyond], fmt.code_dtype), name, "low_first")
