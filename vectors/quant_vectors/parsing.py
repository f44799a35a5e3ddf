"""From the text of a set's JSON files to checked plain data (the rules of schemas/*.json).

The loader has no JSON Schema library to lean on: it runs where only numpy, ml_dtypes and
safetensors are installed. The schema files state the same rules for everybody else.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from quant_vectors.errors import MissingTensorError, SchemaError
from quant_vectors.model import LOGICAL_DTYPES, OPERATION_OUTPUTS, SETS, SPEC_DEFAULTS, Case

_ID = re.compile(r"[a-z0-9_]+(/[A-Za-z0-9_.,+=-]+)+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LINK = re.compile(r"([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+#[0-9]+|arXiv:[0-9]{4}\.[0-9]{4,5})?")

Check = Callable[[Any], bool]


def read_json(text: bytes, name: str, schema: str) -> dict[str, Any]:
    """Parse one file and check that it declares the schema that this loader reads.

    Raises:
        SchemaError: Not UTF-8, not JSON, a repeated key, NaN or Infinity, not an object, or
            another schema.
    """
    try:
        value = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unrepeated, parse_constant=_no_constant
        )
    except ValueError as error:  # covers UnicodeDecodeError and JSONDecodeError
        raise SchemaError(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise SchemaError(f"{name} holds {type(value).__name__}, not an object")
    if value.get("schema") != schema:
        raise SchemaError(
            f"{name} declares schema {value.get('schema')!r}; this loader reads {schema!r}"
        )
    return value


def check_manifest(value: Mapping[str, Any], name: str) -> None:
    """Check the manifest's members and, for each file, its checksum and size."""
    _members(value, name, _MANIFEST, {"left_out": _names})
    for file, entry in value["files"].items():
        _members(entry, f"{name}: files[{file!r}]", _FILE)
    for family, entry in value["families"].items():
        _members(entry, f"{name}: families[{family!r}]", _FAMILY)
    total = sum(entry["cases"] for entry in value["families"].values())
    if total != value["cases"]:
        raise SchemaError(f"{name}: {value['cases']} cases in all, but the families add to {total}")


def check_flags(value: Mapping[str, Any], name: str) -> None:
    """Check that every flag says which bug it catches, the bug's effect, and where it was seen."""
    _members(value, name, {"schema": _text, "flags": _mapping})
    for flag, entry in value["flags"].items():
        _members(entry, f"{name}: flags[{flag!r}]", {"bug": _line, "effect": _line, "link": _link})


def check_tensors(value: Mapping[str, Any], name: str) -> None:
    """Check the tensor table of a cases file."""
    for tensor, entry in value["tensors"].items():
        _members(entry, f"{name}: tensors[{tensor!r}]", {"dtype": _dtype, "shape": _shape})


def parse_case(
    value: Any, name: str, family: str, tensors: Mapping[str, Any], flags: Mapping[str, Any]
) -> Case:
    """Turn one entry of a cases file into a Case.

    Args:
        value: The entry.
        name: The cases file, for messages.
        family: The family that the file holds.
        tensors: The file's tensor table.
        flags: The set's flags.

    Raises:
        SchemaError: A member missing, unknown or of the wrong type; an id of another family; an
            unknown operation, output or flag; a rule that its other members contradict.
        MissingTensorError: A tensor that the table does not hold.
    """
    where = f"{name}: case {value.get('id') if isinstance(value, dict) else value!r}"
    _members(value, where, _CASE, _OPTIONAL)
    if not value["id"].startswith(f"{family}/"):
        raise SchemaError(f"{where}: the id does not start with {family + '/'!r}")
    unknown = [flag for flag in value["flags"] if flag not in flags]
    if unknown:
        raise SchemaError(f"{where}: flags {unknown} are not explained in the set's flags")
    _check_rule(value, where)
    for group in (
        value.get("inputs"),
        value.get("expected"),
        *value.get("alternatives", {}).values(),
    ):
        missing = [tensor for tensor in (group or {}).values() if tensor not in tensors]
        if missing:
            raise MissingTensorError(f"{where} names tensors {missing} that {name} does not list")
    members: dict[str, Any] = {
        "clauses": tuple(value["clauses"]),
        "flags": tuple(value["flags"]),
    }
    if isinstance(value.get("result"), list):
        members["result"] = tuple(value["result"])
    if "spec" in value:
        members["spec"] = _full_spec(value["spec"])
    return Case(**{**value, **members, "family": family})


def check_cases_file(value: Mapping[str, Any], name: str, family: str) -> None:
    """Check the top level of a cases file, which must hold the family that the manifest names."""
    _members(value, name, {"schema": _text, "family": _line, "tensors": _mapping, "cases": _list})
    if value["family"] != family:
        raise SchemaError(f"{name} holds family {value['family']!r}, the manifest says {family!r}")


def _full_spec(value: Mapping[str, Any]) -> dict[str, Any]:
    # Copied, since a caller may change what it was given.
    return dict(sorted({**copy.deepcopy(SPEC_DEFAULTS), **value}.items()))


def _check_rule(value: Mapping[str, Any], where: str) -> None:
    legal = OPERATION_OUTPUTS[value["operation"]]
    answers = {"expected": value.get("expected", {}), **value.get("alternatives", {})}
    for label, outputs in answers.items():
        extra = sorted(set(outputs) - set(legal))
        if extra:
            raise SchemaError(f"{where}: {value['operation']} has no outputs {extra} ({label})")
    if bool(answers["expected"]) == ("result" in value):
        raise SchemaError(f"{where}: needs either expected tensors or a result")
    rule = value["rule"]
    policy = [m for m in ("policy", "choice", "alternatives") if value.get(m)]
    if len(policy) != (3 if rule == "policy" else 0):
        raise SchemaError(
            f"{where}: rule 'policy' needs policy, choice and alternatives, another rule none of "
            f"them; found rule {rule!r} with {policy}"
        )
    ends = [name for name in SETS if name in answers["expected"]]
    if len(ends) != (len(SETS) if rule == "admissible" else 0):
        raise SchemaError(
            f"{where}: rule 'admissible' needs {', '.join(SETS)}, another rule none of them; found "
            f"rule {rule!r} with {ends}"
        )


def _members(
    value: Any,
    where: str,
    required: Mapping[str, Check],
    optional: Mapping[str, Check] | None = None,
) -> None:
    if not isinstance(value, dict):
        raise SchemaError(f"{where}: {type(value).__name__} instead of an object")
    known = {**required, **(optional or {})}
    missing = sorted(required.keys() - value.keys())
    unknown = sorted(value.keys() - known.keys())
    if missing or unknown:
        raise SchemaError(f"{where}: members missing {missing}, unknown {unknown}")
    for member, entry in value.items():
        if not known[member](entry):
            text = repr(entry)
            raise SchemaError(f"{where}: {member} cannot be {text[:80]}")


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError(f"an object with a repeated key among {[k for k, _ in pairs][:8]}")
    return value


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _line(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\n" not in value


def _link(value: Any) -> bool:
    return isinstance(value, str) and _LINK.fullmatch(value) is not None


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _list(value: Any) -> bool:
    return isinstance(value, list)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _lines(value: Any) -> bool:
    return isinstance(value, list) and all(_line(v) for v in value)


def _names(value: Any) -> bool:
    return isinstance(value, dict) and all(_line(v) for v in value.values())


def _alternatives(value: Any) -> bool:
    return isinstance(value, dict) and all(_names(v) and v for v in value.values())


def _dtype(value: Any) -> bool:
    return isinstance(value, str) and value in LOGICAL_DTYPES


def _shape(value: Any) -> bool:
    return isinstance(value, list) and all(_count(v) for v in value)


_MANIFEST: Mapping[str, Check] = {
    "schema": _text,
    "version": _line,
    "generator": _line,
    "seed": _line,
    "cases": _count,
    "families": _mapping,
    "files": _mapping,
}
_FILE: Mapping[str, Check] = {
    "sha256": lambda v: isinstance(v, str) and _SHA256.fullmatch(v) is not None,
    "bytes": _count,
}
_FAMILY: Mapping[str, Check] = {"cases": _count, "tensors": _count}
_CASE: Mapping[str, Check] = {
    "id": lambda v: isinstance(v, str) and _ID.fullmatch(v) is not None,
    "operation": lambda v: isinstance(v, str) and v in OPERATION_OUTPUTS,
    "clauses": lambda v: _lines(v) and bool(v),
    "flags": _lines,
    "comment": _line,
    "rule": lambda v: v in ("exact", "policy", "admissible", "information"),
}
_OPTIONAL: Mapping[str, Check] = {
    "spec": lambda v: isinstance(v, dict) and _line(v.get("dtype")),
    "target": lambda v: v in ("weight", "activation"),
    "arguments": _mapping,
    "inputs": _names,
    "expected": _names,
    "result": lambda v: (
        _line(v) or (isinstance(v, int) and not isinstance(v, bool)) or (_lines(v) and bool(v))
    ),
    "policy": _line,
    "choice": _line,
    "alternatives": _alternatives,
}
