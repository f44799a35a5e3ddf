"""SetWriter: the one way in which a vector set's files come to be."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_safetensors

from quant_vectors.errors import SchemaError, TensorError
from quant_vectors.loader import FLAGS_NAME, MANIFEST_NAME
from quant_vectors.model import (
    CASES_SCHEMA,
    FLAGS_SCHEMA,
    LOGICAL_DTYPES,
    MANIFEST_SCHEMA,
    STORED_DTYPES,
    Array,
    Case,
)


class SetWriter:
    """Collects cases and writes them in canonical form: the same cases give the same bytes.

    Keys are sorted, a case takes one line, tensors with the same contents are stored once per
    family, and the manifest is written last.

    Args:
        version: Version that the manifest states.
        generator: Version of what builds the set.
        seed: What the set's random bits were drawn from.
        flags: Flag -> ``{"bug", "effect", "link"}``.
    """

    def __init__(
        self, version: str, generator: str, seed: str, flags: Mapping[str, Mapping[str, str]]
    ) -> None:
        self._head = {"version": version, "generator": generator, "seed": seed}
        self._flags = flags
        self._cases: dict[str, list[Case]] = {}
        self._tensors: dict[str, _Tensors] = {}
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
        tensors = self._tensors.setdefault(family, _Tensors())
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

    def files(self) -> dict[str, bytes]:
        """Return the set's files by name, the manifest last."""
        contents = {FLAGS_NAME: _object({"schema": FLAGS_SCHEMA, "flags": _Lines(self._flags)})}
        families = {}
        for family, cases in self._cases.items():
            tensors = self._tensors[family]
            contents[f"{family}.cases.json"] = _object(
                {
                    "schema": CASES_SCHEMA,
                    "family": family,
                    "cases": _Lines([case.to_dict() for case in cases]),
                    "tensors": _Lines(tensors.table),
                }
            )
            contents[f"{family}.safetensors"] = save_safetensors(tensors.stored)
            families[family] = {"cases": len(cases), "tensors": len(tensors.table)}
        listed = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in contents.items()
        }
        contents[MANIFEST_NAME] = _object(
            {
                "schema": MANIFEST_SCHEMA,
                **self._head,
                "cases": sum(entry["cases"] for entry in families.values()),
                "families": _Lines(families),
                "files": _Lines(listed),
            }
        )
        return contents

    def write(self, out: Path) -> None:
        """Write the set into a folder, each file under a temporary name that is then renamed.

        Files of an earlier set in that folder that this set does not have are removed.
        """
        out.mkdir(parents=True, exist_ok=True)
        contents = self.files()
        for name, content in contents.items():
            temporary = out / f".{name}.{os.getpid()}.tmp"
            temporary.write_bytes(content)
            temporary.replace(out / name)
        for pattern in ("*.cases.json", "*.safetensors"):
            for stale in out.glob(pattern):
                if stale.name not in contents:
                    stale.unlink()


class _Tensors:
    """The tensors of one family, stored once per contents, named in order of first use."""

    def __init__(self) -> None:
        self.table: dict[str, dict[str, Any]] = {}
        self.stored: dict[str, Array] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def names(self, arrays: Mapping[str, Array]) -> dict[str, str]:
        return {role: self._name(array) for role, array in arrays.items()}

    def _name(self, array: Array) -> str:
        dtype = array.dtype.name
        if dtype not in LOGICAL_DTYPES:
            raise TensorError(f"a tensor of {dtype}; a set holds {', '.join(LOGICAL_DTYPES)}")
        # safetensors writes the buffer, so it must be in C order; ascontiguousarray makes 0-d 1-d.
        plain = np.ascontiguousarray(array).reshape(array.shape)
        plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        key = (dtype, plain.shape, plain.tobytes())
        name = self._known.setdefault(key, f"t{len(self._known) + 1:04d}")
        if name not in self.table:
            self.table[name] = {"dtype": dtype, "shape": list(plain.shape)}
            self.stored[name] = plain.view(STORED_DTYPES[dtype])
        return name


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
