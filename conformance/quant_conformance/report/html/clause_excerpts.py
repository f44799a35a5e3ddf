"""Clauses of SPEC.md as HTML, to be read beside what breaks them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from markdown_it import MarkdownIt
from markupsafe import Markup

from quant_conformance.verdicts.clauses import spec_clauses


@dataclass(frozen=True)
class ClauseText:
    """A clause for a page.

    Attributes:
        id: its id, which is its anchor too.
        title: its heading.
        html: its text.
        broken_by: who fails a case of it, for people.
    """

    id: str
    title: str
    html: Markup
    broken_by: tuple[str, ...] = ()


def clause_texts(broken_by: Iterable[tuple[str, Iterable[str]]] = ()) -> list[ClauseText]:
    """Returns every clause in the order of SPEC.md.

    Args:
        broken_by: name of a backend or layer, and the clauses of what it fails.
    """
    names: dict[str, list[str]] = {}
    for name, clauses in broken_by:
        for clause in dict.fromkeys(clauses):
            names.setdefault(clause, []).append(name)
    return [replace(text, broken_by=tuple(names.get(text.id, ()))) for text in _rendered()]


@lru_cache(maxsize=1)
def _rendered() -> tuple[ClauseText, ...]:
    # No raw HTML, no images, and no links out of the page: the text alone.
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.disable(["link", "autolink", "image"])
    return tuple(
        ClauseText(clause.id, clause.title, _html(reader, clause.text))
        for clause in spec_clauses().values()
    )


def _html(reader: MarkdownIt, text: str) -> Markup:
    tokens = reader.parse(text)
    for token in tokens:
        token.attrs.pop("style", None)  # alignment of a column; the page allows no inline style
    return Markup(reader.renderer.render(tokens, reader.options, {}))
