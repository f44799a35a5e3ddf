"""SetWriter: canonical files, and tensors that come back as they went in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tests.vectors.sets import FLAGS, small_set, small_writer

from quant_reference import QuantizationSpec
from quant_vectors import SchemaError, SetWriter, TensorError, load

ABOUT: dict[str, Any] = {"clauses": ("ENC-1",), "flags": (), "comment": "made for a test"}


def written(folder: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    writer = SetWriter("v9", "1", "seed", FLAGS)
    writer.add("encode/x", "encode", inputs={"x": x}, expected={"codes": x}, **ABOUT)
    writer.write(folder)
    vectors = load(path=folder)
    return vectors.inputs(vectors.case("encode/x"))["x"]


@pytest.mark.parametrize(
    "x",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4).T,
        np.arange(12, dtype=np.float16)[::-3],
        np.arange(6, dtype=np.float32).astype(ml_dtypes.bfloat16).reshape(2, 3).T,
        np.arange(4, dtype=np.dtype(np.float32).newbyteorder(">")),
        np.array(2.5, np.float32),
        np.zeros((0, 3), np.int8),
        np.array([np.nan, -0.0, np.inf], np.float16),
        np.array([-1, 2**31 - 1], np.int32),
        np.array([255], np.uint8),
    ],
    ids=[
        "transposed",
        "strided",
        "bfloat16",
        "big-endian",
        "scalar",
        "empty",
        "wild",
        "int32",
        "u8",
    ],
)
def test_arrays_come_back(tmp_path: Path, x: np.ndarray[Any, Any]) -> None:
    back = written(tmp_path, x)
    native = x.astype(x.dtype.newbyteorder("="))
    assert (back.dtype, back.shape) == (native.dtype, native.shape)
    assert back.tobytes() == np.ascontiguousarray(native).tobytes()


@pytest.mark.parametrize("dtype", [np.float64, np.uint32, np.bool_, np.complex64])
def test_other_dtypes_are_refused(dtype: Any) -> None:
    with pytest.raises(TensorError, match="a set holds"):
        small_writer().add(
            "encode/x", "encode", inputs={"x": np.zeros(1, dtype)}, expected={}, result=0, **ABOUT
        )


def test_an_id_is_taken_once() -> None:
    with pytest.raises(SchemaError, match="encode/first"):
        small_writer().add("encode/first", "encode", inputs={}, expected={}, result=0, **ABOUT)


def test_equal_tensors_are_stored_once() -> None:
    writer = SetWriter("v9", "1", "seed", FLAGS)
    x = np.ones(3, np.float32)
    cases = [
        writer.add(f"encode/{i}", "encode", inputs={"x": a}, expected={"codes": x}, **ABOUT)
        for i, a in enumerate((x, x.copy(), x.reshape(3, 1), -x, x.astype(np.float16)))
    ]
    names = [case.inputs["x"] for case in cases]
    assert names[0] == names[1] == cases[0].expected["codes"]
    assert len(set(names)) == 4
    assert json.loads(writer.files()["manifest.json"])["families"]["encode"]["tensors"] == 4


def test_zeros_of_both_signs_are_two_tensors() -> None:
    writer = SetWriter("v9", "1", "seed", FLAGS)
    zero = np.zeros(1, np.float32)
    case = writer.add("encode/x", "encode", inputs={"x": zero}, expected={"codes": -zero}, **ABOUT)
    assert case.inputs["x"] != case.expected["codes"]


def test_the_same_cases_give_the_same_bytes() -> None:
    assert small_writer().files() == small_writer().files()


def test_files_are_canonical() -> None:
    for name, content in small_writer().files().items():
        if name.endswith(".json"):
            assert content.endswith(b"}\n")
            assert not content.endswith(b"\n\n")
            value = json.loads(content)
            again = json.dumps(value, sort_keys=True, separators=(",", ":"))
            assert content.decode().replace("\n", "") == again
    cases = small_writer().files()["encode.cases.json"].decode().splitlines()
    assert sum('"id":' in line for line in cases) == 2  # one case a line


def test_a_spec_is_written_short_and_loaded_whole(tmp_path: Path) -> None:
    spec = QuantizationSpec("int4", "asymmetric", float_range=(None, 6.0)).to_dict()
    writer = SetWriter("v9", "1", "seed", FLAGS)
    about = {"clauses": ("SPEC-1",), "flags": (), "comment": "made for a test"}
    for case_id, members in (
        ("validate_spec/x", spec),
        ("validate_spec/y", {**spec, "dtype": "int8"}),
    ):
        writer.add(
            case_id,
            "validate_spec",
            inputs={},
            expected={},
            result="accepted",
            spec=members,
            **about,
        )
    writer.write(tmp_path)
    line = json.loads((tmp_path / "validate_spec.cases.json").read_text())["cases"][0]
    assert line["spec"] == {"dtype": "int4", "qscheme": "asymmetric", "float_range": [None, 6.0]}
    first, second = load(path=tmp_path).cases
    assert first.spec == spec
    # What one caller does to its spec shows in no other.
    assert first.spec is not None
    first.spec["granularity"]["type"] = "changed"
    assert second.spec == {**spec, "dtype": "int8"}


def test_files_of_an_earlier_set_go(tmp_path: Path) -> None:
    folder = small_set(tmp_path)
    (folder / "pack.cases.json").write_text("{}")
    (folder / "pack.safetensors").write_text("")
    (folder / "notes.txt").write_text("mine")
    small_set(folder)
    names = {file.name for file in folder.iterdir()}
    assert "pack.cases.json" not in names
    assert "pack.safetensors" not in names
    assert "notes.txt" in names
    assert not [name for name in names if name.endswith(".tmp")]
