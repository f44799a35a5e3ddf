"""Every clause has its places, and whoever cites a clause cites one that exists."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from quant_conformance.report.clause_places import (
    EXEMPT,
    KINDS,
    Places,
    anchor,
    clause_places,
    expanded,
    findings_of,
    table,
)
from quant_conformance.verdicts.clauses import spec_clauses

ROOT = Path(__file__).parents[3]
CHAPTERS = {clause.rpartition("-")[0] for clause in spec_clauses()}
LOOKS_LIKE_A_CLAUSE = re.compile(r"(?<![\w`/.-])([A-Z][A-Z0-9]{0,9})-(\d+|\*)(?![\w-])")
OTHER_NAMES = {
    "UTF": "an encoding of text",
    "SHA": "a hash",
    "SHAKE": "a hash",
    "AVX": "instructions of a processor",
    "IEEE": "a standard",
    "MINE": "tests: a set of one's own may name clauses of its own",
    "Q-99": "tests: asking for a clause that does not exist",
}
"""What is written like a clause and is none."""


@cache
def places() -> dict[str, Places]:
    return clause_places()


@pytest.mark.parametrize("clause", list(spec_clauses()))
def test_a_clause_has_every_place_or_a_reason(clause: str) -> None:
    assert [k for k in places()[clause].missing() if (clause, k) not in EXEMPT] == []


def test_an_exemption_is_needed_and_explained() -> None:
    for (clause, kind), reason in EXEMPT.items():
        assert kind in KINDS
        assert kind in places()[clause].missing(), f"{clause} has its {kind}"
        assert len(reason) > 20


def test_only_the_oracle_is_ever_missing() -> None:
    """A clause without a function, a case or a mutant could be wrong, and nobody would notice."""
    judged = {kind for clause, kind in EXEMPT if not clause.startswith("CONV-")}
    assert judged == {"oracle"}


def rows(text: str) -> dict[str, list[str]]:
    """Id of a clause -> the cells of its row, its title first."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {
        re.split(r"[\[\]]", cells[0])[1]: [cell.strip() for cell in cells] for cells in lines[1:]
    }


def test_the_page_is_what_is_computed() -> None:
    """Cases and mutants may have been added since; nothing on the page may be gone."""
    page = rows((ROOT / "docs" / "clauses.md").read_text(encoding="utf-8"))
    findings = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    computed = rows(table(findings))
    assert page.keys() == computed.keys(), "make clauses"
    for clause, (title, functions, oracle, cases, mutants, shown) in page.items():
        found = places()[clause]
        assert title == computed[clause][0], "the anchor is that of the heading"
        assert set(shown.split(", ")) - {""} <= set(computed[clause][5].split(", ")), title
        assert set(re.findall(r"`(.+?)`", functions)) <= set(found.functions), title
        assert set(re.findall(r"`(.+?)`", oracle)) <= set(found.oracle), title
        assert bool(found.oracle) or oracle == computed[clause][2], title
        for kind, count, most in (
            ("cases", cases, found.cases),
            ("mutants", mutants, found.mutants),
        ):
            if (clause, kind) not in EXEMPT:
                assert 0 < int(count) <= most, title


def test_findings_are_read_by_their_clauses() -> None:
    text = "### one\n\n- **Clauses**: Q-1, Q-3 to Q-4.\n### two\n\n- **Clauses**: Q-1.\nQ-2\n"
    assert findings_of(text) == {"Q-1": ("one", "two"), "Q-3": ("one",), "Q-4": ("one",)}
    cited = findings_of((ROOT / "docs" / "findings.md").read_text(encoding="utf-8"))
    assert "torch reciprocal" in cited["Q-1"]
    assert anchor("Q-2 Round to nearest, ties to even") == "q-2-round-to-nearest-ties-to-even"


def test_a_place_that_is_not_there_is_missing() -> None:
    assert Places((), ("encode",), 3, 0).missing() == ["function", "mutants"]
    assert expanded("ENC-2 to ENC-4, Q-1 and DQ-2 to Q-3") == {
        "ENC-2", "ENC-3", "ENC-4", "Q-1", "DQ-2"
    }  # fmt: skip


def sources() -> list[Path]:
    folders = ("conformance", "docs", "reference", "tests", "torch_impl", "vectors")
    endings = {".py", ".md", ".toml", ".j2", ".js", ".json", ".html"}
    found = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "README.md", "Makefile")]
    for folder in folders:
        found += [
            path
            for path in (ROOT / folder).rglob("*")
            if path.suffix in endings and not any(part.startswith(".") for part in path.parts)
        ]
    return [path for path in found if path != Path(__file__)]


def test_every_clause_that_is_cited_exists() -> None:
    """In code, messages, tests, documents, cases and findings."""
    wrong = []
    for path in sources():
        for chapter, number in LOOKS_LIKE_A_CLAUSE.findall(path.read_text(encoding="utf-8")):
            exists = (
                chapter in CHAPTERS
                if number == "*"
                else f"{chapter}-{number}" in {*spec_clauses(), *OTHER_NAMES}
                or chapter in OTHER_NAMES
            )
            if not exists:
                wrong.append(f"{path.relative_to(ROOT)}: {chapter}-{number}")
    assert wrong == []
