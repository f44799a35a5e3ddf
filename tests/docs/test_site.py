"""The site: every page is there, no link leads nowhere, and clauses and findings can be found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quant_conformance.verdicts.clauses import spec_clauses

pytest.importorskip("material")

ROOT = Path(__file__).parents[2]


def build(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    words = ["-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder)]
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(folder, ROOT / "mkdocs.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_clause_has_a_short_and_a_long_anchor(site: Path) -> None:
    text = (site / "spec.html").read_text(encoding="utf-8")
    anchors = set(re.findall(r'\bid="(.*?)"', text))
    assert set(spec_clauses()) <= anchors
    assert "qp-4-zero-point" in anchors  # as on GitHub, for links from elsewhere


def test_clauses_are_links_but_not_in_code(site: Path) -> None:
    text = (site / "quantizer.html").read_text(encoding="utf-8")
    assert '<a class="clause" href="spec.html#GRAN-7">GRAN-7</a>' in text
    code = re.findall(r"<code>(.*?)</code>", (site / "vendor.html").read_text("utf-8"), re.S)
    assert any("Q-1" in part for part in code)
    assert not any("<a class" in part for part in code)


def test_findings_are_found_by_system_and_by_clause(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    separator = re.compile(index["config"]["separator"])
    entries = [entry for entry in index["docs"] if entry["location"].startswith("findings.html#")]
    (found,) = [entry for entry in entries if entry["location"].endswith("#torch-reciprocal")]
    words = separator.split(re.sub(r"<.*?>", " ", found["title"] + " " + found["text"]))
    assert {"torch", "reciprocal", "Q", "1"} <= set(words)  # as a query for Q-1 is split


def test_files_of_the_source_tree_are_named_and_not_linked(site: Path) -> None:
    text = (site / "vendor.html").read_text(encoding="utf-8")
    assert "<code>protocol.py</code>" in text
    for page in site.glob("*.html"):
        assert not re.search(r'href="[^":]*\.(md|py)[#"]', page.read_text("utf-8")), page.name


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'<(?:script|img|iframe)[^>]* src="https?:', text), page.name
        assert not re.search(r'<link[^>]*rel="stylesheet"[^>]*href="https?:', text), page.name


def test_a_link_that_leads_nowhere_fails(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[there](index.md#nowhere)\n")
    whole = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (validation,) = re.findall(r"(?ms)^validation:.*", whole)
    (tmp_path / "mkdocs.yml").write_text(f"site_name: broken\n{validation}")
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert done.returncode != 0
    assert "nowhere" in done.stdout + done.stderr
