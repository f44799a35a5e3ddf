"""Plain words: those that only this project used do not come back."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIALECT = re.compile(
    r"\bmend(?:s|ed|ing)?\b|\bbears\b|\btold apart\b|\bt(?:ake|akes|ook) down\b"
    r"|\bsp(?:eak|eaks|oke) against\b",
    re.IGNORECASE,
)
"""fix, supports, distinguished, record, contradict."""

ELSEWHERE = (
    "conformance/quant_conformance/gate/",
    "conformance/quant_conformance/mutants/",
    "tests/conformance/gate/",
    "tests/conformance/mutants/",
    "reference/quant_reference/SPEC.md",
)
"""Held to plain words by those who change them."""


def texts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git checkout")
    suffixes = {".py", ".md", ".toml", ".j2", ".js", ".css", ".yml", ""}
    return [
        ROOT / name
        for name in listed.stdout.splitlines()
        if Path(name).suffix in suffixes
        and not name.startswith(ELSEWHERE)
        and (ROOT / name) != Path(__file__)
    ]


def test_words_of_the_house_are_not_used() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in texts()
        if path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if DIALECT.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("page", ["README.md", "docs/vendor.md", "docs/gate.md", "docs/layers.md"])
def test_nothing_stands_where_it_is(page: str) -> None:
    assert not re.search(r"\bstands?\b", (ROOT / page).read_text(encoding="utf-8"))
