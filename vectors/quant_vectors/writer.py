"""SetWriter: the one way in which a vector set's files come to be."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from quant_vectors.errors import SchemaError
from quant_vectors.loader import FLAGS_NAME, MANIFEST_NAME
from quant_vectors.model import (
    CASES_SCHEMA,
    FLAGS_SCHEMA,
    MANIFEST_SCHEMA,
    Array,
    Case,
)
from quant_vectors.tensors import SpooledTensors, Tensors, TensorsInMemory


class SetWriter:
    """Collects cases and writes them in canonical form: the same cases give the same bytes.

    Keys are sorted, a case takes one line, tensors with the same contents are stored once per
    family, and the manifest is written last.

    Args:
        version: Version that the manifest states.
        generator: Version of what builds the set.
        seed: What the set's random bits were drawn from.
        flags: Flag -> ``{"bug", "effect", "link"}``.
        spool: Folder to which tensors go as they are added, for sets that are larger than memory;
            the caller removes it once the set is written. None keeps them in memory.
    """

    def __init__(
        self,
        version: str,
        generator: str,
        seed: str,
        flags: Mapping[str, Mapping[str, str]],
        spool: Path | None = None,
    ) -> None:
        self._head = {"version": version, "generator": generator, "seed": seed}
        self._flags = flags
        self._cases: dict[str, list[Case]] = {}
        self._tensors: dict[str, Tensors] = {}
        self._spool = spool
        self._left_out: dict[str, str] = {}
        self._ids: set[str] = set()

    def add(
        self,
        case_id: str,
        operation: str,
        *,
        inputs: Mapping[str, Array],
        expected: Mapping[str, Array],
        alternatives: Mapping[str, Mapping[str, Array]] | None = None,
        **members: Any,
    ) -> Case:
        """Add one case.

        Args:
            case_id: ``family/…``; says which file the case goes to.
            operation: What the case asks for.
            inputs: Argument name -> tensor.
            expected: Output name -> tensor.
            alternatives: Name of a further legal behaviour -> output name -> tensor.
            **members: The remaining members of :class:`quant_vectors.Case`.

        Returns:
            The case, which names its tensors.

        Raises:
            SchemaError: The id is taken.
            TensorError: A tensor of a dtype that sets do not hold.
        """
        if case_id in self._ids:
            raise SchemaError(f"two cases have the id {case_id!r}")
        self._ids.add(case_id)
        family = case_id.split("/", 1)[0]
        if family not in self._tensors:
            self._tensors[family] = self._new_tensors(family)
        tensors = self._tensors[family]
        case = Case(
            id=case_id,
            family=family,
            operation=operation,
            inputs=tensors.names(inputs),
            expected=tensors.names(expected),
            alternatives={k: tensors.names(v) for k, v in (alternatives or {}).items()},
            **members,
        )
        self._cases.setdefault(family, []).append(case)
        return case

    def leave_out(self, name: str, reason: str) -> None:
        """Say in the manifest what the set does not ask, and why.

        Args:
            name: What is left out.
            reason: One line for a person.
        """
        self._left_out[name] = reason

    def files(self) -> dict[str, bytes]:
        """Return the set's files by name, the manifest last."""
        contents: dict[str, bytes] = {}
        listed = {}
        for name, chunks in self._parts():
            contents[name] = b"".join(chunks)
            listed[name] = _entry(hashlib.sha256(contents[name]), len(contents[name]))
        contents[MANIFEST_NAME] = self._manifest(listed)
        return contents

    def write(self, out: Path) -> None:
        """Write the set into a folder, each file under a temporary name that is then renamed.

        Files of an earlier set in that folder that this set does not have are removed.
        """
        out.mkdir(parents=True, exist_ok=True)
        listed = {name: _write(out / name, chunks) for name, chunks in self._parts()}
        _write(out / MANIFEST_NAME, [self._manifest(listed)])
        for pattern in ("*.cases.json", "*.safetensors"):
            for stale in out.glob(pattern):
                if stale.name not in listed:
                    stale.unlink()

    def _new_tensors(self, family: str) -> Tensors:
        return TensorsInMemory() if self._spool is None else SpooledTensors(self._spool / family)

    def _parts(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        yield FLAGS_NAME, [_object({"schema": FLAGS_SCHEMA, "flags": _Lines(self._flags)})]
        for family, cases in self._cases.items():
            members = {
                "schema": CASES_SCHEMA,
                "family": family,
                "cases": _Lines([case.to_dict() for case in cases]),
                "tensors": _Lines(self._tensors[family].table),
            }
            yield f"{family}.cases.json", [_object(members)]
            yield f"{family}.safetensors", self._tensors[family].chunks()

    def _manifest(self, listed: Mapping[str, Mapping[str, Any]]) -> bytes:
        families = {
            family: {"cases": len(cases), "tensors": len(self._tensors[family].table)}
            for family, cases in self._cases.items()
        }
        members = {
            "schema": MANIFEST_SCHEMA,
            **self._head,
            "cases": sum(entry["cases"] for entry in families.values()),
            "families": _Lines(families),
            "files": _Lines(listed),
        }
        if self._left_out:
            members["left_out"] = _Lines(self._left_out)
        return _object(members)


def _write(path: Path, chunks: Iterable[bytes]) -> dict[str, Any]:
    """Write one file under a temporary name, rename it, and return its entry in the manifest."""
    digest, size = hashlib.sha256(), 0
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                size += file.write(chunk)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return _entry(digest, size)


def _entry(digest: Any, size: int) -> dict[str, Any]:
    return {"sha256": digest.hexdigest(), "bytes": size}


class _Lines:
    """A list or mapping that takes one line per entry."""

    def __init__(self, entries: Iterable[Any]) -> None:
        self.entries = entries


def _object(members: Mapping[str, Any]) -> bytes:
    parts = [f"{_compact(key)}:{_member(members[key])}" for key in sorted(members)]
    return ("{" + ",\n".join(parts) + "}\n").encode("ascii")


def _member(value: Any) -> str:
    if not isinstance(value, _Lines):
        return _compact(value)
    if isinstance(value.entries, Mapping):
        lines = [f"{_compact(k)}:{_compact(v)}" for k, v in sorted(value.entries.items())]
        return "{\n" + ",\n".join(lines) + "\n}"
    return "[\n" + ",\n".join(_compact(entry) for entry in value.entries) + "\n]"


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
