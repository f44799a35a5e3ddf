"""What the site adds to the pages: texts from beside the code, links between them, and formats.

``mkdocs.yml`` names this module; ``make docs`` builds the site.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from quant_conformance.report.format_page import page as format_page
from quant_conformance.verdicts.clauses import spec_clauses

ROOT = Path(__file__).parents[2]

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "reference/quant_reference/SPEC.md": "spec.md",
    "vectors/quant_vectors/README.md": "vectors.md",
}
"""File of the repository -> page of the site; those in docs/ have their own names."""

WIDE = ("layers.md", "clauses.md", "converters.md", "zoo.md", "scoreboard.md", "formats.md")
"""Pages whose tables take the place of the table of contents."""

_SOURCE = {site: file for file, site in PAGES.items()}
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(?ms)^(```+)([^\n]*)\n.*?^\1[ ]*$")
_KEPT = re.compile(r"`[^`\n]*`|</?[a-z][^>\n]*>|(?m:^#.*$)|" + _LINK.pattern)
_CLAUSE = re.compile(r"(?<![\w/#-])([A-Z]+-\d+)(?![\w-])")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts pages that nobody has listed yet behind the results."""
    listed = set(re.findall(r"[\w-]+\.md", str(config.nav)))
    more = sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name not in listed)
    for entry in config.nav or ():
        if "Results" in entry:
            entry["Results"].extend(more)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in docs/."""
    for name, site in PAGES.items():
        files.append(
            File.generated(config, site, content=(ROOT / name).read_text(encoding="utf-8"))
        )
    files.append(File.generated(config, "formats.md", content=format_page()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turns links between files into links between pages, and clauses into links to SPEC."""
    site = page.file.src_uri
    source = _SOURCE.get(site, f"docs/{site}")
    if site == "spec.md":  # a search for a clause finds the clause first
        page.meta["search"] = {"boost": 2}
    if site in WIDE:
        page.meta["hide"] = ["toc"]

    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        return _linked(text, target, source)

    def clause(found: re.Match[str]) -> str:
        name = found[1]
        here = "" if site == "spec.md" else "spec.md"
        return f"[{name}]({here}#{name}){{ .clause }}" if name in spec_clauses() else name

    def words(text: str) -> str:
        return _between(_KEPT, text, lambda kept: _LINK.sub(link, kept), lambda plain: (
            _CLAUSE.sub(clause, plain)
        ))  # fmt: skip

    made = _between(_FENCE, markdown, _fence, words)
    if site != "spec.md":
        return made
    # Short anchors: spec.html#QP-4.
    return re.sub(r"(?m)^(#+ )([A-Z]+-\d+)( .*)$", r'\1<span id="\2"></span>\2\3', made)


def _linked(text: str, target: str, source: str) -> str:
    if re.match(r"[a-z]+:|#", target):
        return f"[{text}]({target})"
    path, _, anchor = target.partition("#")
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    site = PAGES.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
    if site is None:  # a file of the source tree, which the site does not have
        return text
    return f"[{text}]({site}{'#' if anchor else ''}{anchor})"


def _fence(text: str) -> str:
    """A fence whose language is a word of ours is plain text."""
    return re.sub(r"^(```+)(?:placement|layers)[^\n]*", r"\1text", text)


def _between(
    kept: re.Pattern[str],
    text: str,
    of_kept: Callable[[str], str],
    of_rest: Callable[[str], str],
) -> str:
    """Two functions, one for what matches and one for what lies between."""
    parts, end = [], 0
    for found in kept.finditer(text):
        parts += [of_rest(text[end : found.start()]), of_kept(found[0])]
        end = found.end()
    return "".join([*parts, of_rest(text[end:])])
