"""Reads the clauses of SPEC.md, which ships beside the reference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

_HEADING = re.compile(r"#{1,6} ")
_CLAUSE = re.compile(r"#{2,6} (?P<id>[A-Z][A-Z0-9]*-\d+)[ :.–-]*(?P<title>.*)")


@dataclass(frozen=True)
class Clause:
    """One numbered rule.

    Attributes:
        id: e.g. ``Q-2``.
        title: the rest of its heading.
        text: the Markdown up to the next heading.
    """

    id: str
    title: str
    text: str


def parse_clauses(markdown: str) -> dict[str, Clause]:
    """Parses ``### Q-2 Title`` sections, in their order.

    Raises:
        ValueError: a clause id that is there twice.
    """
    found: dict[str, Clause] = {}
    heading: re.Match[str] | None = None
    body: list[str] = []
    for line in [*markdown.splitlines(), "# end"]:
        if line.startswith("<!-- "):  # a marker of what is generated
            continue
        if not _HEADING.match(line):
            body.append(line)
            continue
        if heading is not None:
            clause = Clause(heading["id"], heading["title"].strip(), "\n".join(body).strip())
            if clause.id in found:
                raise ValueError(f"clause {clause.id} is there twice")
            found[clause.id] = clause
        heading, body = _CLAUSE.fullmatch(line.rstrip()), []
    return found


@lru_cache(maxsize=1)
def spec_clauses() -> Mapping[str, Clause]:
    """Returns the clauses of the installed SPEC.md, none if the reference ships without it."""
    path = files("quant_reference").joinpath("SPEC.md")
    return parse_clauses(path.read_text(encoding="utf-8")) if path.is_file() else {}
