"""What an answer on the wire means to the judge."""

from __future__ import annotations

from collections.abc import Mapping

from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.wire.model import Contents, Record
from quant_vectors import OPERATION_OUTPUTS

_ENDS = ("low", "high", "likely_low", "likely_high")

MAYBE = frozenset({"zero_point", "minval", "statistics"})
"""Outputs that an answer may lack; the judge asks for those that the case has."""


def outcome_of(operation: str, record: Record) -> Outcome:
    """Turns an answer into the outcome of its case."""
    if record.fault:
        return Outcome("malformed", text=f"the answer cannot be read: {record.fault}")
    if record.status == "question":
        return Outcome("malformed", text="a question came back where an answer was due")
    if record.status == "refused":
        return Outcome("raised", text=record.text or "refused without a reason", refused=True)
    if record.status == "failed":
        return Outcome("raised", text=record.text or "the program says that it failed")
    if record.status == "unsupported":
        if not record.text.strip():
            return Outcome("malformed", text="unsupported without a reason")
        return Outcome("unsupported", text=record.text)
    return _answered(operation, record)


def _answered(operation: str, record: Record) -> Outcome:
    names = [name for name in OPERATION_OUTPUTS[operation] if name not in _ENDS]
    if not names:
        return _plain(operation, record)
    missing = [name for name in names if name not in MAYBE and name not in record.tensors]
    unknown = sorted(record.tensors.keys() - set(names))
    if missing or unknown:
        given = ", ".join(record.tensors) or "none"
        text = f"{operation} gives {', '.join(names)}; the answer has the tensors {given}"
        return Outcome("malformed", text=text[:2000])
    return Outcome("answer", outputs=dict(record.tensors))


def _plain(operation: str, record: Record) -> Outcome:
    if operation == "validate_spec":
        return Outcome("answer", outputs={"result": "accepted"})
    result = record.attributes.get("result")
    if isinstance(result, bool) or not isinstance(result, int):
        return Outcome("malformed", text="the answer has no attribute result that is an integer")
    return Outcome("answer", outputs={"result": result})


def outcomes_of(name: str, contents: Contents, asked: Mapping[int, str]) -> dict[int, Outcome]:
    """Turns a file of answers into the outcomes of what was asked, one for each question.

    Args:
        name: what messages call the file.
        contents: what is in it.
        asked: number of each question to its operation.
    """
    strangers = sorted({record.id for record in contents.records} - asked.keys())
    if strangers:
        shown = ", ".join(map(str, strangers[:5]))
        text = f"{name} answers what was not asked: {shown}"
        return {number: Outcome("malformed", text=text) for number in asked}
    found: dict[int, Outcome] = {}
    for record in contents.records:
        if record.id in found:
            found[record.id] = Outcome("malformed", text=f"{name} answers {record.id} twice")
        else:
            found[record.id] = outcome_of(asked[record.id], record)
    if contents.fault:
        rest = Outcome("malformed", text=f"{name} {contents.fault}")
    else:
        rest = Outcome("unanswered", text=f"{name} has no answer to question {{}}")
    return {n: found.get(n) or _numbered(rest, n) for n in asked}


def _numbered(outcome: Outcome, number: int) -> Outcome:
    return Outcome(outcome.kind, text=outcome.text.replace("{}", str(number)))
