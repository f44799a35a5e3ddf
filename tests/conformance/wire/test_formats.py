"""Records through the three formats, whole and damaged."""

from __future__ import annotations

import io
import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quant_conformance.wire.folder import questions_by_family
from quant_conformance.wire.formats import FORMATS, read_file
from quant_conformance.wire.model import ASKABLE, NOT_ON_THE_WIRE, Record, question_of
from quant_vectors import OPERATION_OUTPUTS, load_frozen

VECTORS = load_frozen()
FAMILIES = questions_by_family(VECTORS, VECTORS.cases)


def plain(record: Record) -> object:
    tensors = {n: (t.dtype.name, t.shape, t.tobytes()) for n, t in record.tensors.items()}
    # Not only equal, but of one type: True is no 1.
    text = json.dumps(record.attributes, allow_nan=False)
    return record.id, record.status, record.text, text, tensors, record.fault


@pytest.mark.parametrize("name", FORMATS)
def test_every_question_of_the_frozen_sets_comes_back(name: str) -> None:
    for asked in FAMILIES.values():
        records = [record for _, record in asked]
        contents = FORMATS[name].read(FORMATS[name].write(records))
        assert contents.fault == ""
        assert [plain(r) for r in contents.records] == [plain(r) for r in records]


def test_a_question_follows_from_nothing_of_the_answer() -> None:
    for case in VECTORS.cases:
        if case.operation not in ASKABLE:
            continue
        inputs = VECTORS.inputs(case)
        bare = replace(
            case, id="x", family="x", clauses=(), flags=(), comment="", rule="exact",
            inputs={}, expected={}, result=None, policy=None, choice=None, alternatives={},
        )  # fmt: skip
        assert plain(question_of(1, case, inputs)) == plain(question_of(1, bare, inputs))


def test_every_operation_can_be_asked_or_has_a_reason() -> None:
    assert {*ASKABLE, *NOT_ON_THE_WIRE} == set(OPERATION_OUTPUTS)
    assert {case.operation for asked in FAMILIES.values() for case, _ in asked} <= set(ASKABLE)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_without_an_exception(name: str) -> None:
    records = [record for _, record in FAMILIES["layer"][:3]]
    whole = FORMATS[name].write([replace(r, status="answered") for r in records])
    chance = random.Random(7)
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        FORMATS[name].read(bytes(damaged))
    for size in range(0, len(whole) - 1, 7):
        contents = FORMATS[name].read(whole[:size])
        assert contents.fault or any(r.fault for r in contents.records)


def npy(header: str) -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_sizes_are_not_trusted() -> None:
    # A tensor of 2^60 elements in a few bytes, in each format.
    huge = {"id": 0, "status": "answered", "tensors": {"x": {"dtype": "int8", "shape": [2**60]}}}
    document = json.dumps({"schema": "quant-conformance/answers/1", "records": [huge]})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = io.BytesIO()
        np.save(member, np.frombuffer(document.encode(), np.uint8))
        archive.writestr("records.npy", member.getvalue())
        header = "{'descr': '|i1', 'fortran_order': False, 'shape': (1152921504606846976,), }"
        archive.writestr("0/x.npy", npy(header))
    (record,) = FORMATS["npz"].read(buffer.getvalue()).records
    assert "do not go together" in record.fault
    table = {
        "__metadata__": {"records": document},
        "0/x": {"dtype": "I8", "shape": [2**60], "data_offsets": [0, 2**60]},
    }
    text = json.dumps(table).encode()
    content = len(text).to_bytes(8, "little") + text + bytes(8)
    (record,) = FORMATS["safetensors"].read(content).records
    assert "offsets are not in the 8 bytes" in record.fault
    raw = bytearray(FORMATS["raw"].write([Record(0, "answered", "", {}, {"x": np.zeros(3, "i1")})]))
    at = raw.index(b"\x03\0\0\0" + bytes(4))  # the shape
    raw[at : at + 4] = b"\xff\xff\xff\xff"
    (record,) = FORMATS["raw"].read(bytes(raw)).records
    assert "takes 4294967295 bytes, 3 came" in record.fault


def test_an_archive_that_unfolds_to_more_than_the_limit_is_not_unfolded() -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("records.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(17):
            member.write(bytes(1 << 24))
    assert "unfolds to 285212672 bytes" in FORMATS["npz"].read(buffer.getvalue()).fault


def test_files_that_are_none(tmp_path: Path) -> None:
    raw = FORMATS["raw"]
    real = tmp_path / "real.raw"
    real.write_bytes(raw.write([]))
    (tmp_path / "link.raw").symlink_to(real)
    (tmp_path / "folder.raw").mkdir()
    assert read_file(tmp_path / "missing.raw", raw).fault == ""
    assert read_file(real, raw).fault == ""
    assert "symbolic link" in read_file(tmp_path / "link.raw", raw).fault
    assert "no regular file" in read_file(tmp_path / "folder.raw", raw).fault
    (tmp_path / "hard.raw").hardlink_to(real)
    assert "second name" in read_file(tmp_path / "hard.raw", raw).fault
    large = tmp_path / "large.raw"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    assert "more than" in read_file(large, raw).fault


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.raw")
    assert "no regular file" in read_file(tmp_path / "pipe.raw", FORMATS["raw"]).fault
