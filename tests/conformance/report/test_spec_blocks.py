"""The generated parts of SPEC.md are what the code and the vectors have."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from quant_conformance.registry import BACKENDS
from quant_conformance.report.spec_blocks import (
    OTHER_POLICIES,
    SOURCES,
    block,
    choices,
    operations,
    replaced,
)
from quant_conformance.verdicts.clauses import spec_clauses
from quant_reference.admissible import OPERATIONS

TEXT = files("quant_reference").joinpath("SPEC.md").read_text(encoding="utf-8")


def test_the_operations_are_those_of_the_table() -> None:
    text = block(TEXT, "operations")
    assert text == operations(), "python -m quant_conformance.report.spec_blocks --operations"
    assert re.findall(r"`(\w+)\(", text) == list(OPERATIONS)
    assert "arithmetic" not in text


def test_every_policy_has_its_choices_the_reference_s_first() -> None:
    rows = {
        cells[1].strip(" `"): cells[2:]
        for cells in (line.split("|") for line in block(TEXT, "policies").splitlines()[2:])
    }
    assert list(rows) == list(choices()) == [name for name in rows if name in SOURCES]
    assert set(rows) == set(SOURCES)
    for policy, (clauses, shown, source, _) in rows.items():
        named = re.findall(r"`(\w+)`", shown)
        assert tuple(named) == choices()[policy], policy
        assert source.strip() == SOURCES[policy]
        for clause in clauses.strip().split(", "):
            assert f"`{policy}`" in spec_clauses()[clause].text
        who = {name for group in re.findall(r"\(([^)]*)\)", shown) for name in group.split(", ")}
        assert who <= {"reference", *BACKENDS}, policy


@pytest.mark.parametrize("policy", OTHER_POLICIES)
def test_the_text_names_every_choice_of_a_policy_without_cases(policy: str) -> None:
    chapter = "".join(clause.text for clause in spec_clauses().values())
    for choice in OTHER_POLICIES[policy]:
        assert f"`{choice}`" in chapter, choice


def test_a_block_is_replaced_between_its_markers() -> None:
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    assert block(replaced(text, "x", "new"), "x") == "new"
    assert replaced(replaced(text, "x", "new"), "x", "old") == text
    with pytest.raises(ValueError, match="no block 'y'"):
        block(text, "y")


def test_the_versions_are_of_the_clauses() -> None:
    """A draft may have gained clauses since; whoever adds one adds to the row."""
    rows = re.findall(r"^\| (\d+\.\d+)( \(draft\))? \| (\d+) \|", TEXT, re.M)
    version, draft, count = rows[-1]
    assert f"Version {version} of the clauses" in TEXT
    assert int(count) <= len(spec_clauses())
    assert draft or int(count) == len(spec_clauses())
