"""The loader says clearly what is wrong with a set that is not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.vectors.sets import reseal, rewrite, small_set

from quant_vectors import (
    ChecksumError,
    MissingFileError,
    MissingTensorError,
    SchemaError,
    TensorError,
    TruncatedError,
    UnknownCaseError,
    UnknownVersionError,
    UnsafePathError,
    VectorError,
    load,
)
from quant_vectors.model import SETS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_set(tmp_path / "set")


def test_a_whole_set_loads(folder: Path) -> None:
    vectors = load(path=folder)
    assert [case.id for case in vectors] == [
        "encode/first",
        "encode/second",
        "range/first",
        "default_axis/first",
    ]
    assert vectors.families == ("encode", "range", "default_axis")
    assert vectors.version == "v9"
    assert vectors.flags["TiesToEven"]["bug"] == "Ties go up."
    first = vectors.inputs(vectors.case("encode/first"))["x"]
    assert first.dtype == ml_dtypes.bfloat16
    assert first.tolist() == [1.5, -2.5]
    lo = vectors.expected(vectors.case("range/first"))["lo"]
    assert (lo.dtype, lo.shape, lo.tolist()) == (np.float16, (1, 1), [[-2.5]])
    other = vectors.alternatives(vectors.case("encode/second"))
    assert other["any_nan"]["codes"].tolist() == [0xFF]
    assert vectors.case("default_axis/first").result == 0


def test_tensors_are_copies(folder: Path) -> None:
    vectors = load(path=str(folder))
    case = vectors.case("encode/first")
    vectors.inputs(case)["x"][0] = 99
    assert vectors.inputs(case)["x"].tolist() == [1.5, -2.5]


def test_the_digest_follows_the_contents(folder: Path) -> None:
    before = load(path=folder).digest
    rewrite(folder, "flags.json", lambda f: f)  # the same flags, written another way
    assert load(path=folder).digest != before


def test_an_unknown_case_is_named_with_the_closest(folder: Path) -> None:
    with pytest.raises(UnknownCaseError, match=r"no case 'encode/frist'.*did you mean"):
        load(path=folder).case("encode/frist")


@pytest.mark.parametrize("version", ["v0", "v999", "", "../v1", "v1/../v1", "schemas", "."])
def test_unknown_versions(version: str) -> None:
    with pytest.raises(UnknownVersionError, match="this release has"):
        load(version)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="not a folder"):
        load(path=tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match=r"no file manifest\.json"):
        load(path=tmp_path)


@pytest.mark.parametrize("name", ["encode.cases.json", "encode.safetensors", "flags.json"])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingFileError, match=name):
        load(path=folder)


@pytest.mark.parametrize("name", ["encode.cases.json", "encode.safetensors"])
def test_a_truncated_file(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-7])
    with pytest.raises(TruncatedError, match=rf"{name} is truncated: {len(content) - 7} bytes"):
        load(path=folder)


@pytest.mark.parametrize("name", ["encode.cases.json", "encode.safetensors", "flags.json"])
def test_a_tampered_file(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-3] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(ChecksumError, match=name):
        load(path=folder)


def test_a_manifest_that_was_changed_with_its_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checksums of a manifest that agree with its files do not make it the released set."""
    monkeypatch.setattr("quant_vectors.loader._frozen", lambda version: folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["version"] = "v1"
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ChecksumError, match="was released with 3b2eceb4"):
        load()


def test_a_lengthened_file(folder: Path) -> None:
    with (folder / "encode.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ChecksumError, match=r"encode\.safetensors"):
        load(path=folder)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json",
        "sub/file.json",
        "/etc/hostname",
        "..",
        "C:\\x.json",
        "a\\b",
        ".hidden",
        "",
    ],
)
def test_names_that_leave_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "outside.json").write_text("{}")
    entry = {"sha256": "0" * 64, "bytes": 0}
    rewrite(folder, "manifest.json", lambda m: {**m, "files": {name: entry, **m["files"]}})
    with pytest.raises(UnsafePathError, match="plain names"):
        load(path=folder)


def test_a_link_that_leaves_the_folder(folder: Path) -> None:
    outside = folder.parent / "outside.json"
    outside.write_bytes((folder / "flags.json").read_bytes())
    (folder / "flags.json").unlink()
    (folder / "flags.json").symlink_to(outside)
    with pytest.raises(UnsafePathError, match="link"):
        load(path=folder)


def _manifest(**change: Any) -> Any:
    return "manifest.json", lambda m: {**m, **change}


def _case(index: int, **change: Any) -> Any:
    def changed(cases: Any) -> Any:
        entry = {**cases["cases"][index], **change}
        cases["cases"][index] = {k: v for k, v in entry.items() if v is not None}
        return cases

    return "encode.cases.json", changed


BROKEN = {
    "another schema": _manifest(schema="quant-vectors/manifest/2"),
    "a version that is no text": _manifest(version=1),
    "a count that is no count": _manifest(cases=-1),
    "a count that is a bool": _manifest(cases=True),
    "a total that is not the sum": _manifest(cases=5),
    "an unknown member": _manifest(extra=1),
    "files as a list": _manifest(files=[]),
    "a checksum that is none": _manifest(files={"x.json": {"sha256": "12", "bytes": 1}}),
    "a case without an id": _case(0, id=None),
    "a case of another family": _case(0, id="decode/first"),
    "an id with a space": _case(0, id="encode/a b"),
    "two cases of one id": _case(0, id="encode/second"),
    "an unknown operation": _case(0, operation="divide"),
    "no clauses": _case(0, clauses=[]),
    "a flag that nobody explains": _case(0, flags=["Mystery"]),
    "a comment of two lines": _case(0, comment="a\nb"),
    "an unknown rule": _case(0, rule="roughly"),
    "a policy rule without a policy": _case(1, policy=None),
    "an exact rule with a policy": _case(1, rule="exact"),
    "an admissible rule without its sets": _case(0, rule="admissible"),
    "sets without their rule": _case(
        0, operation="layer", expected=dict.fromkeys(SETS, "t0001"), inputs={}
    ),
    "half of the sets": _case(
        0, operation="layer", rule="admissible", expected={"low": "t0001", "high": "t0001"}
    ),
    "an information with a policy": _case(1, rule="information"),
    "an output that encode has not": _case(0, expected={"values": "t0001"}),
    "neither tensors nor a result": _case(0, expected=None),
    "tensors and a result": _case(0, result="refused"),
    "an unknown member of a case": _case(0, tolerance=0.1),
    "a target that is none": _case(0, target="bias"),
    "a spec without a dtype": _case(0, spec={"qscheme": "asymmetric"}),
    "a spec that is a list": _case(0, spec=["int8"]),
}


@pytest.mark.parametrize("what", BROKEN)
def test_json_that_breaks_the_schema(folder: Path, what: str) -> None:
    rewrite(folder, *BROKEN[what])
    with pytest.raises(SchemaError):
        load(path=folder)


def test_counts_must_hold(folder: Path) -> None:
    def shifted(manifest: Any) -> Any:
        manifest["families"]["encode"]["cases"] = 1
        manifest["families"]["range"]["cases"] = 2
        return manifest

    rewrite(folder, "manifest.json", shifted)
    with pytest.raises(SchemaError, match=r"'encode' holds 2 cases .* says 1"):
        load(path=folder)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{", b'{"schema": NaN}', b'{"schema": "a", "schema": "b"}', b"\xff\xfe", b"null"],
)
def test_text_that_is_not_json(folder: Path, text: bytes) -> None:
    (folder / "encode.cases.json").write_bytes(text)
    reseal(folder, "encode.cases.json")
    with pytest.raises(SchemaError, match=r"encode\.cases\.json"):
        load(path=folder)


def test_a_case_that_names_no_tensor_of_the_set(folder: Path) -> None:
    rewrite(folder, *_case(0, inputs={"x": "t9999"}))
    with pytest.raises(MissingTensorError, match=r"encode/first' names tensors \['t9999'\]"):
        load(path=folder)


def test_a_table_that_lists_a_tensor_too_many(folder: Path) -> None:
    def added(cases: Any) -> Any:
        cases["tensors"]["t0099"] = {"dtype": "int8", "shape": []}
        return cases

    rewrite(folder, "encode.cases.json", added)
    with pytest.raises(MissingTensorError, match=r"lacks tensors \['t0099'\]"):
        load(path=folder)


def test_a_tensor_that_no_table_lists(folder: Path) -> None:
    def removed(cases: Any) -> Any:
        del cases["tensors"]["t0001"]
        return cases

    rewrite(folder, "encode.cases.json", removed)
    with pytest.raises(TensorError, match=r"holds tensors \['t0001'\]"):
        load(path=folder)


@pytest.mark.parametrize("entry", [{"dtype": "float16"}, {"shape": [1]}, {"shape": [2, 1]}])
def test_a_tensor_of_another_shape_or_dtype(folder: Path, entry: dict[str, Any]) -> None:
    def changed(cases: Any) -> Any:
        cases["tensors"]["t0002"].update(entry)
        return cases

    rewrite(folder, "encode.cases.json", changed)
    with pytest.raises(TensorError, match="t0002 is stored as"):
        load(path=folder)


def test_a_dtype_that_sets_do_not_hold(folder: Path) -> None:
    def changed(cases: Any) -> Any:
        cases["tensors"]["t0002"]["dtype"] = "float64"
        return cases

    rewrite(folder, "encode.cases.json", changed)
    with pytest.raises(SchemaError, match="dtype cannot be 'float64'"):
        load(path=folder)


def test_a_file_that_is_not_safetensors(folder: Path) -> None:
    (folder / "encode.safetensors").write_bytes(b"no tensors at all, but long enough for a header")
    reseal(folder, "encode.safetensors")
    with pytest.raises(TensorError, match="not a safetensors file"):
        load(path=folder)


def test_stored_bits_are_checked_against_the_table(folder: Path) -> None:
    names = json.loads((folder / "encode.cases.json").read_text())["tensors"]
    save_file({name: np.zeros(1, np.float64) for name in names}, folder / "encode.safetensors")
    reseal(folder, "encode.safetensors")
    with pytest.raises(TensorError):
        load(path=folder)


def test_a_family_without_its_files(folder: Path) -> None:
    def removed(manifest: Any) -> Any:
        del manifest["files"]["range.safetensors"]
        return manifest

    rewrite(folder, "manifest.json", removed)
    with pytest.raises(MissingFileError, match=r"'range'.*range\.safetensors"):
        load(path=folder)


def test_a_set_may_do_without_flags(folder: Path) -> None:
    def removed(manifest: Any) -> Any:
        del manifest["files"]["flags.json"]
        return manifest

    rewrite(folder, "manifest.json", removed)
    with pytest.raises(SchemaError, match="not explained"):
        load(path=folder)  # this one's cases have flags

    def without_flags(cases: Any) -> Any:
        return {**cases, "cases": [{**case, "flags": []} for case in cases["cases"]]}

    for family in ("encode", "range", "default_axis"):
        rewrite(folder, f"{family}.cases.json", without_flags)
    assert load(path=folder).flags == {}


def test_every_error_is_a_vector_error_and_a_value_error() -> None:
    for kind in (ChecksumError, MissingFileError, SchemaError, TensorError, UnsafePathError):
        assert issubclass(kind, VectorError)
    assert issubclass(VectorError, ValueError)
    assert "message" in str(UnknownCaseError("message"))
