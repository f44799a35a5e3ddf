"""docs/findings.md and the known failures tell the same story, and the story is true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from quant_conformance.protocol import missing_packages
from quant_conformance.registry import BACKENDS
from quant_conformance.runner.loading import load_class

ROOT = Path(__file__).parents[3]
FINDINGS = ROOT / "docs" / "findings.md"
EXPECTATIONS = ROOT / "conformance" / "quant_conformance" / "verdicts" / "known"

FIELDS = ("Clauses", "Smallest input", "Effect", "Work-around")

_RUN = """
import contextlib, io, json, sys, warnings
warnings.simplefilter("ignore")
printed = []
for code in json.load(sys.stdin):
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink):
        exec(compile(code, "finding", "exec"), {"__name__": "finding"})
    printed.append(sink.getvalue())
print("@@@" + json.dumps(printed))
"""


@dataclass(frozen=True)
class Finding:
    """One section of docs/findings.md.

    Attributes:
        backend: the ``##`` heading above it.
        anchor: what a link to it ends in.
        text: the section, heading included.
        code: the reproduction, with the lines that all of a system's reproductions share.
        printed: what the section says that it prints.
    """

    backend: str
    anchor: str
    text: str
    code: str
    printed: str


def read_findings() -> list[Finding]:
    findings = []
    for part in re.split(r"(?m)^(?=## )", FINDINGS.read_text(encoding="utf-8"))[1:]:
        head, *sections = re.split(r"(?m)^(?=### )", part)
        backend = head.splitlines()[0].removeprefix("## ").strip()
        shared = _blocks(head, "python")
        for text in sections:
            title = text.splitlines()[0].removeprefix("### ").strip()
            code = "\n".join([*shared, *_blocks(text, "python")])
            printed = "".join(_blocks(text, "text"))
            findings.append(Finding(backend, _anchor(title), text, code, printed))
    return findings


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)


def _anchor(title: str) -> str:
    """Makes an anchor of a heading as the hosting site does."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def links() -> dict[str, set[str]]:
    """Reads backend to the links of its known failures."""
    found = {}
    for path in sorted(EXPECTATIONS.glob("*.toml")):
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("expect", [])
        found[path.stem] = {entry.get("link", "") for entry in entries}
    return found


ALL = read_findings()


def test_there_are_findings_and_their_anchors_are_unique() -> None:
    anchors = [finding.anchor for finding in ALL]
    assert len(anchors) > 20
    assert len(anchors) == len(set(anchors))


def test_every_known_failure_names_a_finding_of_its_backend() -> None:
    known = {(f.backend, f"docs/findings.md#{f.anchor}") for f in ALL}
    dangling = {(b, link) for b, named in links().items() for link in named} - known
    assert not dangling


def test_every_finding_has_a_known_failure_or_says_why_not() -> None:
    named = {(backend, link) for backend, group in links().items() for link in group}
    for finding in ALL:
        shown = (finding.backend, f"docs/findings.md#{finding.anchor}") in named
        assert shown != ("**Beside the vectors**" in finding.text), finding.anchor


def test_every_known_failure_is_of_a_backend_in_the_table() -> None:
    assert set(links()) <= set(BACKENDS)


@pytest.mark.parametrize("finding", ALL, ids=lambda f: f.anchor)
def test_a_finding_says_everything(finding: Finding) -> None:
    for field in FIELDS:
        assert f"**{field}**" in finding.text, field
    assert finding.anchor.startswith(finding.backend)
    assert re.search(r"(?i)expected", finding.text)
    assert re.search(r"(?i)actual", finding.text)
    assert finding.printed.strip()
    own = _blocks(finding.text, "python")
    assert len(own) == 1
    assert len([line for line in own[0].splitlines() if line.strip()]) <= 25


def test_the_clauses_exist() -> None:
    spec = (ROOT / "reference" / "quant_reference" / "SPEC.md").read_text(encoding="utf-8")
    clauses = set(re.findall(r"(?m)^### ([A-Z]+-\d+)", spec))
    for finding in ALL:
        line = next(x for x in finding.text.splitlines() if "**Clauses**" in x)
        cited = set(re.findall(r"[A-Z]+\d*-\d+", line))
        assert cited, finding.anchor
        assert cited <= clauses, finding.anchor


@pytest.mark.parametrize("finding", ALL, ids=lambda f: f.anchor)
def test_a_reproduction_uses_its_system_alone(finding: Finding) -> None:
    assert not re.search(r"quant_(reference|vectors|conformance|torch)", finding.code)


@pytest.mark.peers
@pytest.mark.parametrize("backend", sorted({f.backend for f in ALL}))
def test_reproductions_print_what_the_section_says(backend: str) -> None:
    missing = missing_packages(load_class(backend))
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    group = [finding for finding in ALL if finding.backend == backend]
    run = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=json.dumps([finding.code for finding in group]),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    printed = json.loads(run.stdout.rpartition("@@@")[2])
    for finding, lines in zip(group, printed, strict=True):
        assert lines.rstrip() == finding.printed.rstrip(), finding.anchor
