"""The frame that every report shares: one file, nothing loaded, everything escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from quant_conformance.report.html import svg, words

_NOT_HTML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""Characters that HTML or its encoding has no place for."""


@dataclass(frozen=True)
class Tab:
    """A part of the report that is shown by itself where scripts run.

    Attributes:
        id: anchor of the part, unique in the page.
        title: its heading.
        tone: how it is judged, or None where nothing is judged.
        note: a few words about the verdict.
        content: what the template shows.
    """

    id: str
    title: str
    tone: words.Tone | None
    note: str
    content: Any


def render(
    template: str,
    title: str,
    tabs: Sequence[Tab],
    tone_of: Callable[[str], words.Tone],
    **context: Any,
) -> str:
    """Renders a report.

    Args:
        template: name of a template that extends ``page.html.j2`` and has a macro per tab.
        title: the page's title.
        tabs: the parts in order; the first is shown at first.
        tone_of: classes the verdicts of this report.
        context: whatever else the template needs.
    """
    environment = _environment()
    style, script = (_source(name) for name in ("style.css", "tabs.js"))
    # Only this style and this script may act, whatever a backend calls itself.
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
    policy += "base-uri 'none'; form-action 'none'"
    return environment.get_template(template).render(
        title=title,
        tabs=tabs,
        tone_of=tone_of,
        policy=policy,
        style=Markup(style),  # our own files
        script=Markup(script),
        **context,
    )


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("quant_conformance", "report/html/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    environment.filters.update(label=words.label, percent=words.percent, count=words.count)
    environment.globals.update(
        symbols=words.SYMBOLS,
        meanings=words.MEANINGS,
        bar=svg.bar,
        stacked=svg.stacked,
    )
    return environment


def _printable(value: Any) -> Any:
    """Replaces what no HTML file can hold; autoescaping comes after."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _NOT_HTML.sub("�", value)
    return value


def _source(name: str) -> str:
    """Reads a file that goes into the page as it is."""
    path = files("quant_conformance").joinpath("report", "html", "templates", name)
    return path.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
