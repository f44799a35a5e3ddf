"""load: read a vector set, checking everything that it says about itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import safetensors
from safetensors.numpy import load as load_safetensors

from quant_vectors.errors import (
    ChecksumError,
    MissingFileError,
    MissingTensorError,
    SchemaError,
    TensorError,
    TruncatedError,
    UnknownVersionError,
    UnsafePathError,
)
from quant_vectors.model import (
    BLOCK_FAMILIES,
    CASES_SCHEMA,
    FAMILIES,
    FLAGS_SCHEMA,
    INTEGER_FAMILIES,
    LOGICAL_DTYPES,
    MANIFEST_SCHEMA,
    STORED_DTYPES,
    Array,
    Case,
    VectorSet,
    joined,
)
from quant_vectors.parsing import (
    check_cases_file,
    check_flags,
    check_manifest,
    check_tensors,
    parse_case,
    read_json,
)

MANIFEST_NAME = "manifest.json"
FLAGS_NAME = "flags.json"

FROZEN = ("v1", "integer_v1", "block_v1")
"""The frozen sets of this release, in the order in which they are run."""

RELEASED: Mapping[str, str] = {
    "v1": "3b2eceb4f8907f9ab3edb0fcdd36b2681c94064e7603bd2096970ad0ff1e0f38",  # 0.2.0
}
"""The digest of each set that has been released, which no later release may change.

The digest is the sha256 of the manifest, which has that of every other file. A frozen set that is
not in here may still be corrected, with a line in the changelog.
"""

_VERSION = re.compile(r"([a-z]+_)?v[0-9]+")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def load(version: str = "v1", path: str | Path | None = None) -> VectorSet:
    """Load and check a vector set.

    Args:
        version: Which frozen set of this release; not used when ``path`` is given.
        path: Folder of a set of one's own (``manifest.json`` and the files that it names).

    Returns:
        The set; every file's size and sha256, every case and every tensor has been checked.

    Raises:
        VectorError: One of its kinds, saying what was found and what is right.
    """
    root = _frozen(version) if path is None else _folder(Path(path))
    manifest_bytes = _read(root, MANIFEST_NAME)
    manifest = read_json(manifest_bytes, MANIFEST_NAME, MANIFEST_SCHEMA)
    check_manifest(manifest, MANIFEST_NAME)
    if path is None and manifest["version"] != version:
        raise SchemaError(f"the folder of {version} holds a manifest of {manifest['version']!r}")

    digest = hashlib.sha256(manifest_bytes).hexdigest()
    if path is None and digest != RELEASED.get(version, digest):
        raise ChecksumError(
            f"{MANIFEST_NAME} of {version} has the digest {digest}; the set was released with "
            f"{RELEASED[version]} and does not change. Install quant-conformance again"
        )

    contents = {name: _verified(root, name, entry) for name, entry in manifest["files"].items()}
    flags = _flags(contents)
    cases: list[Case] = []
    tensors: dict[str, Mapping[str, Array]] = {}
    for family in sorted(manifest["families"], key=_family_order):
        found, tensors[family] = _family(family, contents, flags)
        _check_counts(manifest["families"][family], family, len(found), len(tensors[family]))
        cases += found
    _check_unique(cases)
    return VectorSet(
        cases=tuple(cases),
        manifest=manifest,
        flags=flags,
        digest=digest,
        _tensors=tensors,
    )


def load_frozen() -> VectorSet:
    """Load every frozen set of this release, as one: what ``quant-conformance run`` asks.

    Returns:
        A set whose version names them all and whose digest is of their digests; its manifest has
        the version and the digest of each in ``sets``.

    Raises:
        VectorError: As for :func:`load`.
    """
    return joined([load(version) for version in FROZEN])


def _frozen(version: str) -> Traversable:
    package = files("quant_vectors")
    have = sorted(
        entry.name
        for entry in package.iterdir()
        if _VERSION.fullmatch(entry.name) and entry.joinpath(MANIFEST_NAME).is_file()
    )
    # Compared with what is there, so that no version can name a path.
    if version not in have:
        raise UnknownVersionError(
            f"no frozen vectors {version!r}; this release has {', '.join(have) or 'none'}"
        )
    return package.joinpath(version)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise MissingFileError(f"{path} is not a folder; a vector set is a folder with a manifest")
    return path


def _read(root: Traversable, name: str) -> bytes:
    file = root.joinpath(name)
    # A plain name may still be a link that leads elsewhere.
    if isinstance(file, Path) and not file.resolve().is_relative_to(Path(str(root)).resolve()):
        raise UnsafePathError(f"{name} is a link out of {root}")
    if not file.is_file():
        raise MissingFileError(f"{root} has no file {name}")
    return file.read_bytes()


def _verified(root: Traversable, name: str, entry: Mapping[str, Any]) -> bytes:
    if _PLAIN_NAME.fullmatch(name) is None:
        raise UnsafePathError(
            f"{MANIFEST_NAME} names {name!r}; a set's files are plain names in its own folder"
        )
    content = _read(root, name)
    if len(content) < entry["bytes"]:
        raise TruncatedError(
            f"{name} is truncated: {len(content)} bytes, {MANIFEST_NAME} says {entry['bytes']}"
        )
    found = hashlib.sha256(content).hexdigest()
    if found != entry["sha256"]:
        raise ChecksumError(
            f"{name} is not the file that {MANIFEST_NAME} was written for: sha256 {found}, "
            f"should be {entry['sha256']}"
        )
    return content


def _flags(contents: Mapping[str, bytes]) -> Mapping[str, Mapping[str, str]]:
    if FLAGS_NAME not in contents:
        return {}
    value = read_json(contents[FLAGS_NAME], FLAGS_NAME, FLAGS_SCHEMA)
    check_flags(value, FLAGS_NAME)
    flags: Mapping[str, Mapping[str, str]] = value["flags"]
    return flags


def _family(
    family: str, contents: Mapping[str, bytes], flags: Mapping[str, Any]
) -> tuple[list[Case], dict[str, Array]]:
    cases_name, tensors_name = f"{family}.cases.json", f"{family}.safetensors"
    missing = [name for name in (cases_name, tensors_name) if name not in contents]
    if missing:
        raise MissingFileError(f"{MANIFEST_NAME} lists family {family!r} but not its {missing}")
    value = read_json(contents[cases_name], cases_name, CASES_SCHEMA)
    check_cases_file(value, cases_name, family)
    check_tensors(value, cases_name)
    table = value["tensors"]
    tensors = _tensors(contents[tensors_name], tensors_name, table)
    return [
        parse_case(entry, cases_name, family, table, flags) for entry in value["cases"]
    ], tensors


def _tensors(content: bytes, name: str, table: Mapping[str, Any]) -> dict[str, Array]:
    try:
        stored = load_safetensors(content)
    except safetensors.SafetensorError as error:
        raise TensorError(f"{name} is not a safetensors file: {error}") from error
    except KeyError as error:  # safetensors' numpy form knows no dtype of that name
        raise TensorError(f"{name} holds a tensor of dtype {error}, which no set uses") from error
    if missing := sorted(table.keys() - stored.keys()):
        raise MissingTensorError(f"{name} lacks tensors {missing[:5]}")
    if extra := sorted(stored.keys() - table.keys()):
        raise TensorError(f"{name} holds tensors {extra[:5]} that the cases file does not list")
    tensors: dict[str, Array] = {}
    for key, entry in table.items():
        array, dtype = stored[key], entry["dtype"]
        if array.dtype != STORED_DTYPES[dtype] or list(array.shape) != entry["shape"]:
            raise TensorError(
                f"{name}: {key} is stored as {array.dtype}{list(array.shape)}; {dtype}"
                f"{entry['shape']} is stored as {STORED_DTYPES[dtype]}{entry['shape']}"
            )
        tensors[key] = array.view(LOGICAL_DTYPES[dtype])
    return tensors


def _check_counts(entry: Mapping[str, int], family: str, cases: int, tensors: int) -> None:
    if (entry["cases"], entry["tensors"]) != (cases, tensors):
        raise SchemaError(
            f"family {family!r} holds {cases} cases and {tensors} tensors, {MANIFEST_NAME} says "
            f"{entry['cases']} and {entry['tensors']}"
        )


def _check_unique(cases: list[Case]) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise SchemaError(f"two cases have the id {case.id!r}")
        seen.add(case.id)


def _family_order(family: str) -> tuple[int, str]:
    known = (*FAMILIES, *INTEGER_FAMILIES, *BLOCK_FAMILIES)
    return (known.index(family) if family in known else len(known), family)
