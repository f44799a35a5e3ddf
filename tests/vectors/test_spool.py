"""Sets that are spooled to disk: the same bytes as from memory, and no more than a tensor in it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tests.vectors.sets import FLAGS

from quant_vectors import SetWriter, TensorError, load
from quant_vectors.tensors import SpooledTensors

ABOUT: dict[str, Any] = {"clauses": ("ENC-1",), "flags": (), "comment": "made for a test"}

# Every dtype, narrow ones before wide ones, so that the layout is not the order of coming.
ARRAYS = (
    np.array([1, 2, 3], np.uint8),
    np.array([-1], np.int8),
    np.arange(6, dtype=np.float32).astype(ml_dtypes.bfloat16).reshape(2, 3).T,
    np.array([np.nan, -0.0], np.float16),
    np.array(2.5, np.float32),
    np.zeros((0, 3), np.int8),
    np.array([-1, 2**31 - 1], np.int32),
    np.array([-1, 2**15 - 1], np.int16),
    np.array([[-(2**47)], [2**47 - 1]], np.int64),
    np.arange(4, dtype=np.dtype(np.float32).newbyteorder(">")),
    np.array([1, 2, 3], np.uint8),  # once more
)


def writer_of(arrays: tuple[Any, ...], spool: Path | None) -> SetWriter:
    writer = SetWriter("v9", "1", "seed", FLAGS, spool)
    for index, array in enumerate(arrays):
        codes = {"codes": np.array([index], np.uint8)}
        writer.add(f"encode/{index}", "encode", inputs={"x": array}, expected=codes, **ABOUT)
    writer.add("decode/none", "decode", inputs={}, expected={}, result=0, **ABOUT)
    return writer


def test_the_bytes_are_those_of_a_set_in_memory(tmp_path: Path) -> None:
    in_memory = writer_of(ARRAYS, None).files()
    spooled = writer_of(ARRAYS, tmp_path)
    assert spooled.files() == in_memory
    spooled.write(tmp_path / "set")
    assert {f.name: f.read_bytes() for f in (tmp_path / "set").iterdir()} == in_memory


def test_spooled_tensors_come_back(tmp_path: Path) -> None:
    writer_of(ARRAYS, tmp_path).write(tmp_path / "set")
    vectors = load(path=tmp_path / "set")
    for index, array in enumerate(ARRAYS):
        back = vectors.inputs(vectors.case(f"encode/{index}"))["x"]
        native = array.astype(array.dtype.newbyteorder("="))
        assert (back.dtype, back.shape) == (native.dtype, native.shape)
        assert back.tobytes() == np.ascontiguousarray(native).tobytes()


def test_other_dtypes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TensorError, match="a set holds"):
        SpooledTensors(tmp_path / "encode").names({"x": np.zeros(1, np.uint64)})


def test_what_is_left_out_stands_in_the_manifest(tmp_path: Path) -> None:
    writer = writer_of(ARRAYS[:1], None)
    writer.leave_out("conv/output", "no bound is known for fft")
    writer.write(tmp_path)
    assert load(path=tmp_path).manifest["left_out"] == {"conv/output": "no bound is known for fft"}


def test_a_file_that_cannot_be_finished_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: SpooledTensors) -> Any:
        yield b"half of it"
        raise OSError("no space left")

    monkeypatch.setattr(SpooledTensors, "chunks", broken)
    spool, out = tmp_path / "spool", tmp_path / "set"
    spool.mkdir()
    with pytest.raises(OSError, match="no space"):
        writer_of(ARRAYS, spool).write(out)
    names = {file.name for file in out.iterdir()}
    assert "manifest.json" not in names
    assert not [name for name in names if name.endswith((".safetensors", ".tmp"))]


def test_no_more_than_a_tensor_is_in_memory(tmp_path: Path) -> None:
    size = 4 << 20  # bytes of a tensor, of which there are sixteen
    writer = SetWriter("v9", "1", "seed", FLAGS, tmp_path)
    tracemalloc.start()
    try:
        for index in range(16):
            # Transposed, so that the writer has to make a copy of its own.
            x = np.full((size // 4096, 1024), index, np.float32).T
            writer.add(f"encode/{index}", "encode", inputs={"x": x}, expected={"codes": x}, **ABOUT)
        writer.write(tmp_path / "set")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The tensor here and the writer's copy in C order; the rest is a chunk and the cases.
    assert peak < 2 * size + (2 << 20)
