"""Explains one case: what was asked, what is right, what came, and which clause says so."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from quant_conformance.mutants.diagnosis import diagnose, sentence
from quant_conformance.protocol import Array
from quant_conformance.report.sources import from_blocks, from_operands
from quant_conformance.rule_questions import output_of
from quant_conformance.verdicts.admissible import answer_name, beyond, code_format
from quant_conformance.verdicts.answers import answers_of
from quant_conformance.verdicts.bits import show
from quant_conformance.verdicts.clauses import spec_clauses
from quant_conformance.verdicts.exact import Rules, differing, in_order, rules_for
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.verdicts.rules import follows_rules, legal_answers, nearest
from quant_conformance.verdicts.verdict import CaseResult, Verdict
from quant_vectors import Case, VectorSet

ELEMENTS_SHOWN = 8
"""Elements of an answer that are shown."""

LAYER_ELEMENTS_SHOWN = 2
"""Elements of a layer that are shown with what they are computed from."""

LINES_SHOWN = 60
"""Lines that are shown of a traceback, and of what a backend prints."""


def explain(
    vectors: VectorSet,
    case: Case,
    outcome: Outcome | None = None,
    result: CaseResult | None = None,
) -> str:
    """Returns the whole story of a case as plain text.

    Args:
        vectors: the set that the case comes from.
        case: the case.
        outcome: what the backend did; None for the question and the right answer alone.
        result: the verdict on it.
    """
    verdict = "" if result is None else f": {_verdict(result)}"
    lines = [f"{case.id}{verdict}", f"  {case.comment}", ""]
    lines += _question(vectors, case)
    lines += ["", *_answer(vectors, case, outcome, None if result is None else result.choice)]
    if outcome is not None and result is not None and result.verdict is Verdict.WRONG:
        found = diagnose(answers_of(vectors, case, vectors.inputs(case), outcome))
        lines += [f"diagnosis  {sentence(explanation)}" for explanation in found]
    if outcome is not None:
        for title, text in (("traceback", outcome.trace), ("printed", outcome.printed)):
            lines += _quoted(title, text)
    for clause_id in case.clauses:
        clause = spec_clauses().get(clause_id)
        if clause is not None:
            lines += ["", f"{clause.id} {clause.title}"]
            lines += [f"  {line}" for line in clause.text.splitlines()]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _quoted(title: str, text: str) -> list[str]:
    """Writes text of the backend's below a title, the last lines of it."""
    found = text.rstrip().splitlines()
    if not found:
        return []
    left_out = max(0, len(found) - LINES_SHOWN)
    more = [f"  … {left_out} lines before"] if left_out else []
    return ["", title, *more, *(f"  {line}" for line in found[left_out:])]


def _verdict(result: CaseResult) -> str:
    word = result.verdict.value
    if result.choice is not None:
        word += f" ({result.policy}: {result.choice})"
    return f"{word}: {result.detail}" if result.detail else word


def _question(vectors: VectorSet, case: Case) -> Iterator[str]:
    yield f"operation  {case.operation}"
    if case.spec is not None:
        yield f"spec       {_plain(case.spec)}"
    if case.target is not None:
        yield f"target     {case.target}"
    if case.arguments:
        yield f"arguments  {_plain(case.arguments)}"
    for flag in case.flags:
        bug = vectors.flags.get(flag, {}).get("bug", "")
        yield f"flag       {flag}" + (f": {bug}" if bug else "")
    shown = {tensor.shape for tensor in vectors.expected(case).values()}
    for name, tensor in vectors.inputs(case).items():
        yield f"input      {name}: {tensor.dtype}{list(tensor.shape)}"
        if tensor.shape not in shown:  # those are shown beside the answer, element by element
            yield from _elements(tensor)


def _elements(tensor: Array) -> Iterator[str]:
    for index in itertools.islice(np.ndindex(tensor.shape), ELEMENTS_SHOWN):
        yield f"  [{', '.join(map(str, index))}]  {show(tensor, index)}"
    if tensor.size > ELEMENTS_SHOWN:
        yield f"  {tensor.size} elements, {ELEMENTS_SHOWN} shown"


def _plain(mapping: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in mapping.items() if value is not None)


def _answer(
    vectors: VectorSet, case: Case, outcome: Outcome | None, choice: str | None
) -> Iterator[str]:
    outputs: Mapping[str, Any] = {} if outcome is None else outcome.outputs
    if outcome is not None and outcome.kind != "answer":
        yield f"answer     none, {outcome.kind.replace('_', ' ')}: {outcome.text}"
    if case.result is not None:
        yield f"expected   {case.result}"
        if outcome is not None and outcome.kind == "answer":
            yield f"actual     {outputs.get('result')}"
        return
    if case.rule == "admissible":
        yield from _sets(vectors, case, outputs.get(answer_name(case)))
        return
    alternatives, inputs = vectors.alternatives(case), vectors.inputs(case)
    # A legal answer is shown beside the alternative that it follows.
    if outcome is not None and follows_rules(case) and choice is None:  # beside the nearest rule
        judged, by_rule = output_of(case), legal_answers(vectors, case)
        choice = nearest(by_rule, outputs.get(judged), judged)
        yield f"nearest    {choice}"
    expected = alternatives.pop(choice or "", None) or vectors.expected(case)
    rules = rules_for(case.operation, case.arguments, case.spec or {})
    for name, want in in_order(expected):
        yield from _output(name, want, outputs.get(name), rules, inputs)
    for other, legal in alternatives.items():
        for name, want in legal.items():
            fmt = rules.code_format if name == "codes" else None
            first = show(want, (0,) * want.ndim, fmt) if want.size else "empty"
            yield f"also legal {name} by {case.policy} = {other}: first element {first}"


def _output(
    name: str, want: Array, got: Array | None, rules: Rules, inputs: Mapping[str, Array]
) -> Iterator[str]:
    yield f"output     {name}: {want.dtype}{list(want.shape)}"
    fmt = rules.code_format if name == "codes" else None
    comparable = got is not None and (got.shape, got.dtype) == (want.shape, want.dtype)
    if got is not None and not comparable:
        yield f"  actual   {got.dtype}{list(got.shape)}"
    if got is None or not comparable:
        differs = np.zeros(want.shape, dtype=bool)
    else:
        differs = differing(name, want, got, None)
    wrong = [tuple(int(i) for i in position) for position in np.argwhere(differs)]
    right = [tuple(int(i) for i in position) for position in np.argwhere(~differs)]
    for index in (wrong or right)[:ELEMENTS_SHOWN]:
        yield f"  [{', '.join(map(str, index))}]"
        for given, tensor in inputs.items():
            if tensor.shape == want.shape:
                yield f"    {given:<10} {show(tensor, index)}"
        if wrong or index == right[0]:
            for line in from_blocks(inputs, want.shape, index):
                yield f"    {line}"
        yield f"    expected   {show(want, index, fmt)}"
        if got is not None and comparable:
            yield f"    actual     {show(got, index, fmt)}"
    shown = min(len(wrong or right), ELEMENTS_SHOWN)
    if wrong:
        yield f"  {len(wrong)} of {want.size} elements differ, {shown} shown"
    elif shown < want.size:
        yield f"  {want.size} elements, {shown} shown"


def _sets(vectors: VectorSet, case: Case, got: Array | None) -> Iterator[str]:
    """The elements outside their sets, or the first ones, beside what each may be (ADM-12)."""
    ends = vectors.expected(case)
    name, fmt, low = answer_name(case), code_format(case), ends["low"]
    yield f"output     {name}: {low.dtype}{list(low.shape)}"
    chosen = list[tuple[int, ...]]()
    if got is not None and (got.shape, got.dtype) != (low.shape, low.dtype):
        yield f"  actual   {got.dtype}{list(got.shape)}"
        got = None
    if got is not None:
        for prefix in ("", "likely_"):
            steps, nan = beyond(got, ends, prefix, fmt)
            chosen = chosen or [tuple(map(int, at)) for at in np.argwhere((steps != 0) | nan)]
    outside = len(chosen)
    for index in chosen[:ELEMENTS_SHOWN] or itertools.islice(np.ndindex(low.shape), ELEMENTS_SHOWN):
        yield f"  [{', '.join(map(str, index))}]"
        for word, prefix in (("admissible", ""), ("likely", "likely_")):
            least, greatest = (ends[f"{prefix}{end}"][index] for end in ("low", "high"))
            span = show(ends[f"{prefix}low"], index, fmt)
            if least != greatest:
                span += f" to {show(ends[f'{prefix}high'], index, fmt)}"
            yield f"    {word:<10} {span}"
        if got is not None:
            yield f"    actual     {show(got, index, fmt)}"
        if chosen and index in chosen[:LAYER_ELEMENTS_SHOWN]:
            for line in from_operands(case, vectors.inputs(case), index):
                yield f"    {line}"
    count = f"{outside} of {low.size} elements are outside" if outside else f"{low.size} elements"
    yield f"  {count}, {min(outside or low.size, ELEMENTS_SHOWN)} shown"
