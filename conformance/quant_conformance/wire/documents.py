"""Records as a JSON document, beside the tensors that a safetensors or npz file holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from quant_conformance.protocol import Array
from quant_conformance.wire.model import (
    ANSWERS_SCHEMA,
    QUESTIONS_SCHEMA,
    STATUSES,
    Contents,
    Record,
    dtype_name,
    shortened,
)

RECORDS = "records"
"""Name of the document in the file."""


def document_of(records: Sequence[Record]) -> str:
    """Returns the document of records; tensor ``x`` of record 7 is ``7/x`` in the file."""
    asked = all(record.status == "question" for record in records)
    listed = []
    for record in records:
        entry: dict[str, Any] = {"id": record.id}
        if asked:
            entry["operation"] = record.text
        else:
            entry["status"] = record.status
            if record.text:
                entry["reason"] = record.text
        entry["attributes"] = record.attributes
        entry["tensors"] = {
            name: {"dtype": dtype_name(array), "shape": list(array.shape)}
            for name, array in record.tensors.items()
        }
        listed.append(entry)
    schema = QUESTIONS_SCHEMA if asked else ANSWERS_SCHEMA
    return json.dumps({"schema": schema, RECORDS: listed}, separators=(",", ":"))


def records_of(text: str | bytes, tensor: Callable[[str, str, list[int]], Array]) -> Contents:
    """Reads a document that may hold anything.

    Args:
        text: the document.
        tensor: gives the tensor of a name, dtype and shape; raises ValueError if it is not that.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Contents(fault=f"its records are no JSON: {shortened(str(error))}")
    entries = document.get(RECORDS) if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return Contents(fault=f"its document has no list {RECORDS!r}")
    known = (QUESTIONS_SCHEMA, ANSWERS_SCHEMA)
    if document.get("schema") not in known:
        given = shortened(repr(document.get("schema")))
        return Contents(fault=f"is of schema {given}; allowed: {', '.join(known)}")
    records: list[Record] = []
    for entry in entries:
        number = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**32:
            return Contents(tuple(records), f"record {len(records)} has no id from 0 to 2³²-1")
        try:
            records.append(_record(number, entry, tensor))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            records.append(Record(number, "failed", fault=shortened(str(error))))
    return Contents(tuple(records))


def _record(number: int, entry: Any, tensor: Callable[[str, str, list[int]], Array]) -> Record:
    status = "question" if "operation" in entry else entry.get("status")
    if status not in STATUSES:
        raise ValueError(f"status {status!r} is unknown; allowed: {', '.join(STATUSES[1:])}")
    text = entry.get("operation", entry.get("reason", ""))
    attributes, named = entry.get("attributes", {}), entry.get("tensors", {})
    if not isinstance(text, str) or not isinstance(attributes, dict) or not isinstance(named, dict):
        raise ValueError("reason has to be a text, attributes and tensors have to be objects")
    tensors = {}
    for name, form in named.items():
        shape, dtype = form["shape"], form["dtype"]
        whole = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
        if not whole or not isinstance(dtype, str):
            raise ValueError(f"{name} has no dtype, or a shape of other things than integers")
        tensors[name] = tensor(f"{number}/{name}", dtype, shape)
    return Record(number, status, shortened(text), attributes, tensors)
