"""The examples of SPEC.md, through everything that implements their clauses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
from tests.reference.spec_examples import PATH, Example, all_answers, evaluated, examples
from tests.reference.spec_functions import implementers

from quant_conformance.verdicts.clauses import parse_clauses

TEXT = PATH.read_text(encoding="utf-8")
CLAUSES = parse_clauses(TEXT)
EXAMPLES = list(examples(TEXT))
PARTS = ("Rule", "Dtypes", "Special values", "Refused", "Example")
WITHOUT_EXAMPLE: dict[str, str] = {}
"""Clause -> why no question with numbers shows it."""


@cache
def first_answer(call: str) -> str:
    """The answer of the first who has one."""
    for functions in implementers().values():
        try:
            return evaluated(call, functions)
        except NotImplementedError:
            continue
    raise NotImplementedError(call)


def holds(example: Example) -> bool:
    """Whether the text of an example is sound, and its answer somebody's."""
    if example.faults():
        return False
    try:
        return first_answer(example.exact) == example.answers[-1]
    except Exception:  # a call with another digit may be no call
        return False


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.clause}-{e.line}")
def test_an_example_is_everybodys_answer(example: Example) -> None:
    assert example.faults() == []
    answers = all_answers(example.exact, implementers())
    assert len(answers) >= 2, "two independent answers at least"
    assert set(answers.values()) == {example.answers[-1]}, answers


def mutated(example: Example) -> Iterator[tuple[str, Example]]:
    """The example with one digit changed, for each digit in it."""
    lines = {"decimal": example.decimal, "exact": example.exact}
    lines |= {f"{i}": line for i, line in enumerate(example.answers)}
    for name, line in lines.items():
        if name == "exact" and line == example.decimal:
            continue
        for at in (found.start() for found in re.finditer(r"\d", line)):
            other = line[:at] + str((int(line[at]) + 1) % 10) + line[at + 1 :]
            if name == "decimal" and example.exact == example.decimal:
                yield other, replace(example, decimal=other, exact=other)
            elif name in ("decimal", "exact"):
                yield other, replace(example, **{name: other})
            else:
                answers = list(example.answers)
                answers[int(name)] = other
                yield other, replace(example, answers=tuple(answers))


@pytest.mark.parametrize("clause", sorted({example.clause for example in EXAMPLES}))
def test_an_example_with_another_digit_fails(clause: str) -> None:
    found = [(example, *m) for example in EXAMPLES if example.clause == clause
             for m in mutated(example)]  # fmt: skip
    assert all(holds(example) for example, _, _ in found)
    assert [text for _, text, other in found if holds(other)] == []


@pytest.mark.parametrize("clause", list(CLAUSES))
def test_a_clause_has_the_form(clause: str) -> None:
    text = CLAUSES[clause].text
    bold = re.findall(r"^\*\*([^*]+)\.\*\*", text, re.M)
    assert bold == [part for part in PARTS if part in bold], "each part once, in this order"
    assert bold[0] == "Rule"
    assert ("Example" in bold) != (clause in WITHOUT_EXAMPLE)
    assert ("\n>>> " in text) == ("Example" in bold)


def test_no_example_is_overlooked() -> None:
    assert TEXT.count("\n>>> ") == len(EXAMPLES) > 300
    assert all(len(reason) > 20 for reason in WITHOUT_EXAMPLE.values())
    assert set(WITHOUT_EXAMPLE) <= set(CLAUSES)
